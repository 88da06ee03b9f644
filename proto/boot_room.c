#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "common/log.h"
#include "common/util.h"
#include "proto/boot_room.h"

static int
on_peer(void *arg, struct chan *c, struct msg *m)
{
	struct boot_room *r = arg;
	struct boot_peer p;
	int fd = m->fd;

	(void)c;
	memcpy(&p, m->data, sizeof(p));
	m->fd = -1;
	return r->calls->peer(r->arg, &p, fd);
}

static int
on_listener(void *arg, struct chan *c, struct msg *m)
{
	struct boot_room *r = arg;
	int fd = m->fd;

	(void)c;
	if (r->calls->listener == NULL)
		return -EPERM;
	m->fd = -1;
	return r->calls->listener(r->arg, fd);
}

static int
on_stop(void *arg, struct chan *c, struct msg *m)
{
	struct boot_room *r = arg;

	(void)m;
	if (r->calls->stop != NULL)
		r->calls->stop(r->arg);
	chan_flush(c);
	(void)event_base_loopexit(r->base, NULL);
	return 0;
}

static int
on_ping(void *arg, struct chan *c, struct msg *m)
{
	(void)arg;
	return chan_send(c, BOOT_PONG, m->id, NULL, 0, -1);
}

/* The room's own rows are in a table whose handlers get this struct. */
static int
on_own(void *arg, struct chan *c, struct msg *m)
{
	struct boot_room *r = arg;
	size_t i;

	for (i = 0; i < r->calls->nown; i++) {
		if (r->calls->own[i].type == m->type)
			return r->calls->own[i].fn(r->arg, c, m);
	}
	return -EINVAL;
}

static void
on_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct boot_room *r = arg;

	(void)c;
	(void)end;
	log_info("mewsd: %s", why);
	(void)event_base_loopbreak(r->base);
}

static const struct msg_handler handlers[] = {
	{ BOOT_PEER, sizeof(struct boot_peer), 0, 1, PH_ANY, boot_peer_check,
	    on_peer },
	{ BOOT_LISTENER, 0, 0, 1, PH_ANY, NULL, on_listener },
	{ BOOT_STOP, 0, 0, 0, PH_ANY, NULL, on_stop },
	{ BOOT_PING, 0, 0, 0, PH_ANY, NULL, on_ping },
};

struct chan *
boot_room_open(struct boot_room *r, struct event_base *base,
    const struct boot_calls *calls, void *arg)
{
	size_t i, n = nitems(handlers);

	assert(n + calls->nown <= nitems(r->tab));
	memcpy(r->tab, handlers, sizeof(handlers));
	for (i = 0; i < calls->nown; i++) {
		r->tab[n] = calls->own[i];
		r->tab[n++].fn = on_own;
	}
	r->ops = (struct chan_ops){ .tab = r->tab, .ntab = n, .gone = on_gone };
	r->calls = calls;
	r->arg = arg;
	r->base = base;
	return chan_new(base, BOOT_FD, "mewsd", &r->ops, r);
}

void
boot_fault(struct chan *mewsd, uint32_t room, uint32_t life, enum chan_end end)
{
	const struct boot_peer p = { .room = room, .life = life };

	if (end == CHAN_REFUSED || end == CHAN_STALLED)
		(void)chan_send(mewsd, BOOT_FAULT, 0, &p, sizeof(p), -1);
}

void
boot_ended(struct chan *mewsd, uint32_t room, uint32_t life, enum chan_end end)
{
	const struct boot_peer p = { .room = room, .life = life };

	boot_fault(mewsd, room, life, end);
	if (end == CHAN_CLOSED)
		(void)chan_send(mewsd, BOOT_ENDED, 0, &p, sizeof(p), -1);
}
