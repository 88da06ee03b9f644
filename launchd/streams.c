#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
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

static void
drop(struct vm *v, struct waiting *w)
{
	STAILQ_REMOVE(&v->streams, w, waiting, entry);
	v->nstreams--;
	v->ld->nwaiting--;
	fd_close(&w->fd);
	free(w);
}

static void
drop_all(struct vm *v)
{
	while (!STAILQ_EMPTY(&v->streams))
		drop(v, STAILQ_FIRST(&v->streams));
}

/* Those whose callers have gone. */
static void
drop_ended(struct vm *v)
{
	struct waiting *w, *next;

	if (!RULE(STREAM_ENDED))
		return;
	for (w = STAILQ_FIRST(&v->streams); w != NULL; w = next) {
		next = STAILQ_NEXT(w, entry);
		if (fd_is_hung_up(w->fd))
			drop(v, w);
	}
}

void
streams_clear(struct vm *v)
{
	drop_all(v);
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
		drop_all(v);
		return;
	}
	drop_ended(v);
	while ((w = STAILQ_FIRST(&v->streams)) != NULL &&
	    send_one(v, &w->s, w->fd)) {
		w->fd = -1;
		drop(v, w);
	}
	if (w != NULL)
		again(v);
}

static bool
is_full(const struct vm *v)
{
	return v->nstreams >= STREAMS_MAX ||
	    v->ld->nwaiting >= v->ld->boot.nofile / 8;
}

/* Those that wait are descriptors of ours. */
static int
wait_for(struct vm *v, const struct launch_stream *s, int fd)
{
	struct launchd *ld = v->ld;
	struct waiting *w;

	if (is_full(v))
		drop_ended(v);
	if (is_full(v) || budget_is_stalled(v))
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
