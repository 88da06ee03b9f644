#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "common/fds.h"
#include "common/log.h"
#include "launchd/budget.h"
#include "launchd/launchd.h"
#include "launchd/streams.h"
#include "launchd/vm.h"
#include "proto/chan.h"

#define STREAMS_AGAIN_MS 5L

struct waiting {
	STAILQ_ENTRY(waiting) entry;
	struct launch_stream s;
	int fd;
};

static struct waiting *
pop(struct vm *v)
{
	struct waiting *w = STAILQ_FIRST(&v->streams);

	STAILQ_REMOVE_HEAD(&v->streams, entry);
	v->nstreams--;
	v->ld->nwaiting--;
	return w;
}

void
streams_clear(struct vm *v)
{
	struct waiting *w;

	while (!STAILQ_EMPTY(&v->streams)) {
		w = pop(v);
		fd_close(&w->fd);
		free(w);
	}
	if (v->streams_timer != NULL)
		event_free(v->streams_timer);
	v->streams_timer = NULL;
}

/* False: not yet. */
static bool
send_one(struct vm *v, const struct launch_stream *s, int fd)
{
	if (!budget_fd(v))
		return false;
	/* sent or closed: a channel that is no more ends the stream */
	(void)chan_send(v->ward.chan, WARD_STREAM, 0, s, sizeof(*s), fd);
	return true;
}

static void
again(struct vm *v)
{
	static const struct timeval tv = { .tv_usec = STREAMS_AGAIN_MS * 1000 };

	(void)event_add(v->streams_timer, &tv);
}

static void
on_again(int fd, short what, void *arg)
{
	struct vm *v = arg;
	struct waiting *w;

	(void)fd;
	(void)what;
	if (v->ward.phase != LINK_UP || budget_is_stalled(v)) {
		log_warn("vm %s: its warden does not read: %u streams closed",
		    v->name, v->nstreams);
		while (!STAILQ_EMPTY(&v->streams)) {
			w = pop(v);
			fd_close(&w->fd);
			free(w);
		}
		return;
	}
	while ((w = STAILQ_FIRST(&v->streams)) != NULL &&
	    send_one(v, &w->s, w->fd))
		free(pop(v));
	if (w != NULL)
		again(v);
}

/* Those that wait are descriptors of ours. */
static int
wait_for(struct vm *v, const struct launch_stream *s, int fd)
{
	struct launchd *ld = v->ld;
	struct waiting *w;

	if (budget_is_stalled(v) || v->nstreams >= STREAMS_MAX ||
	    ld->nwaiting >= ld->boot.nofile / 8)
		return -EAGAIN;
	if (v->streams_timer == NULL)
		v->streams_timer = event_new(ld->base, -1, 0, on_again, v);
	if (v->streams_timer == NULL || (w = malloc(sizeof(*w))) == NULL)
		return -EAGAIN;
	w->s = *s;
	w->fd = fd;
	STAILQ_INSERT_TAIL(&v->streams, w, entry);
	v->nstreams++;
	ld->nwaiting++;
	again(v);
	return 0;
}

int
streams_add(struct vm *v, const struct launch_stream *s, int fd)
{
	if (STAILQ_EMPTY(&v->streams) && send_one(v, s, fd))
		return 0;
	if (wait_for(v, s, fd) == 0)
		return 0;
	fd_close(&fd);
	return -EAGAIN;
}
