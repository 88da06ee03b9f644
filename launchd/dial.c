#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "launchd/budget.h"
#include "launchd/dial.h"
#include "launchd/guestsock.h"
#include "launchd/launchd.h"
#include "launchd/vm.h"

/*
 * A warden asks, we connect: to a port of that VM's own guest, whose address
 * is in the spawner's record.  The socket goes down unread: no byte of a
 * guest is heard out here (I5, I6).
 */
#define DIAL_S 2

struct dial {
	LIST_ENTRY(dial) link;
	struct vm *v;
	uint64_t id; /* the warden's question */
	uint32_t port;
	int fd;
	struct event *ev; /* connected, or the deadline */
};

static void
dial_free(struct dial *d)
{
	if (d == NULL)
		return;
	if (d->ev != NULL)
		event_free(d->ev);
	fd_close(&d->fd);
	free(d);
}

/*
 * A descriptor that was sent and not received counts as ours, so a warden
 * that asks and does not read would use up what all VMs' dials need (I9).
 * That it has read it shows by a number it cannot guess.
 */
static void
seen(struct vm *v, uint32_t cookie)
{
	unsigned int i;

	for (i = 0; i < v->nunread && v->dial_cookies[i] != cookie; i++)
		;
	if (i == v->nunread)
		return;
	v->nunread -= i + 1; /* and all before it */
	memmove(v->dial_cookies, v->dial_cookies + i + 1,
	    v->nunread * sizeof(v->dial_cookies[0]));
}

static int
make_cookie(struct vm *v, uint32_t *ret)
{
	if (getrandom(ret, sizeof(*ret), GRND_NONBLOCK) != sizeof(*ret))
		return -EAGAIN;
	*ret |= 1; /* 0 is none */
	if (v->nunread < WARD_DIALS_MAX)
		v->dial_cookies[v->nunread++] = *ret;
	return 0;
}

static void
answer(struct vm *v, uint64_t id, int code, int fd)
{
	struct ward_dialled a = { .code = code };

	if (v->ward.phase != LINK_UP) {
		fd_close(&fd);
		return;
	}
	if (fd >= 0 && (!budget_fd(v) || make_cookie(v, &a.cookie) < 0)) {
		fd_close(&fd);
		a.code = -EAGAIN;
	}
	(void)chan_send(v->ward.chan, WARD_DIALLED, id, &a, sizeof(a), fd);
}

/* What the kernel says of the connection: 0, or -errno. */
static int
outcome(const struct dial *d)
{
	uint32_t cid = 0, port = 0;
	int err = 0, r;
	socklen_t len = sizeof(err);

	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	if (err != 0)
		return -err;
	if ((r = guestsock_peer(d->fd, &cid, &port)) < 0)
		return r;
	return RULE(DIAL_PEER) && (cid != d->v->cid || port != d->port) ? -EPERM
									: 0;
}

static void
on_event(int fd, short what, void *arg)
{
	struct dial *d = arg;
	struct vm *v = d->v;
	int r = (what & EV_TIMEOUT) != 0 ? -ETIMEDOUT : outcome(d);

	(void)fd;
	if (r < 0)
		log_info("vm %s: dial %u: %s", v->name, d->port,
		    strerrordesc_np(-r));
	else
		log_debug("vm %s: dial %u: cid %u", v->name, d->port, v->cid);
	answer(v, d->id, r, r == 0 ? d->fd : -1);
	if (r == 0)
		d->fd = -1;
	LIST_REMOVE(d, link);
	v->ndials--;
	dial_free(d);
}

static int
dial_start(struct vm *v, uint64_t id, uint32_t port)
{
	const struct timeval tv = { .tv_sec = DIAL_S };
	struct dial *d;
	int r;

	if (v->cid == 0)
		return -ENODEV;
	/* what a warden can reach is what an agent serves, nothing else of
	 * what may listen in its guest */
	if (RULE(DIAL_PORT) && port != AGENT_PORT_HTTP)
		return -EACCES;
	if (RULE(DIAL_MAX) && v->ndials + v->nunread >= WARD_DIALS_MAX)
		return -EBUSY;
	if ((d = calloc(1, sizeof(*d))) == NULL)
		return -ENOMEM;
	d->v = v;
	d->id = id;
	d->port = port;
	d->fd = r = guestsock_open();
	if (r < 0 || (r = guestsock_connect(d->fd, v->cid, port)) < 0)
		goto fail;
	d->ev =
	    event_new(v->ld->base, d->fd, EV_WRITE | EV_TIMEOUT, on_event, d);
	if (d->ev == NULL || event_add(d->ev, &tv) < 0) {
		r = -ENOMEM;
		goto fail;
	}
	LIST_INSERT_HEAD(&v->dials, d, link);
	v->ndials++;
	return 0;
fail:
	dial_free(d);
	return r;
}

void
dial_ask(struct vm *v, uint64_t id, const struct ward_dial *ask)
{
	int r;

	seen(v, ask->seen);
	if ((r = dial_start(v, id, ask->port)) < 0) {
		log_info("vm %s: dial %u: %s", v->name, ask->port,
		    strerrordesc_np(-r));
		answer(v, id, r, -1);
	}
}

void
dial_clear(struct vm *v)
{
	struct dial *d;

	while ((d = LIST_FIRST(&v->dials)) != NULL) {
		LIST_REMOVE(d, link);
		dial_free(d);
	}
	v->ndials = v->nunread = 0;
}
