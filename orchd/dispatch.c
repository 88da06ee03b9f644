#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/orchd.h"
#include "proto/net.h"

/* --- mewsd --- */

static int
on_peer(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;
	struct boot_peer p;

	(void)c;
	memcpy(&p, m->data, sizeof(p));
	orchd_peer(arg, p.room, m->fd);
	o->life[p.room] = p.life; /* after the old one's gone() */
	m->fd = -1;
	return 0;
}

static int
on_listener(void *arg, struct chan *c, struct msg *m)
{
	(void)c;
	conn_listen(arg, m->fd);
	m->fd = -1;
	return 0;
}

static int
on_stop(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;

	(void)c;
	(void)m;
	(void)event_base_loopexit(o->base, NULL);
	return 0;
}

static void
on_boot_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct orchd *o = arg;

	(void)end;
	(void)c;
	log_info("mewsd: %s", why);
	(void)event_base_loopbreak(o->base);
}

static const struct msg_handler boot_handlers[] = {
	{ BOOT_PEER, sizeof(struct boot_peer), 0, 1, PH_ANY, boot_peer_check,
	    on_peer },
	{ BOOT_LISTENER, 0, 0, 1, PH_ANY, NULL, on_listener },
	{ BOOT_STOP, 0, 0, 0, PH_ANY, NULL, on_stop },
};
const struct chan_ops boot_ops = { boot_handlers, nitems(boot_handlers),
	on_boot_gone };

/* --- the apids --- */

static void
on_api_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct orchd *o = arg;
	size_t i;

	for (i = 0; i < nitems(o->api); i++) {
		const uint32_t room = i == 0 ? ROOM_API : ROOM_API_ADMIN;

		if (o->api[i] != c)
			continue;
		log_warn("%s: %s", chan_peer(c), why);
		boot_ended(o->parent, room, o->life[room], end);
		chan_free(c);
		o->api[i] = NULL;
		conn_end_room(o, room);
	}
	conn_accept(o);
}

/* Only where a document belongs may a descriptor bring it. */
#define API_ROW(type, tail)                                                    \
	{                                                                      \
		(type), sizeof(struct api_req), (tail),                        \
		    (tail) > 0 ? FD_OPT : 0, PH_ANY, api_req_check, on_api_req \
	}

/* All an apid may say: a connection is done with, or a verb for one. */
static const struct msg_handler api_handlers[] = {
	{ API_CLOSED, sizeof(struct api_conn), 0, 0, PH_ANY, api_conn_check,
	    on_api_closed },
	API_ROW(API_VM_LIST, API_TAIL_MAX),
	API_ROW(API_VM_GET, 0),
	API_ROW(API_VM_CREATE, API_TAIL_MAX),
	API_ROW(API_VM_DELETE, 0),
	API_ROW(API_VM_START, 0),
	API_ROW(API_VM_STOP, 0),
	API_ROW(API_STREAM, 0),
	API_ROW(API_EVENTS, 0),
	API_ROW(API_DOCTOR, 0),
};
static const struct chan_ops api_ops = { api_handlers, nitems(api_handlers),
	on_api_gone };

static void
peer_api(struct orchd *o, uint32_t room, int sock)
{
	const size_t i = room == ROOM_API ? 0 : 1;

	if (o->api[i] != NULL) {
		chan_free(o->api[i]);
		conn_end_room(o, room);
	}
	o->api[i] = chan_new(o->base, sock, room_name(room), &api_ops, o);
	conn_accept(o);
}

static void
peer_helper(struct orchd *o, struct helper *h, uint32_t room, int sock,
    const struct chan_ops *ops, uint32_t list)
{
	struct chan *old = h->chan;

	if (old != NULL)
		ops->gone(o, old, CHAN_REPLACED, "replaced");
	h->listed = false;
	h->chan = chan_new(o->base, sock, room_name(room), ops, o);
	if (h->chan == NULL ||
	    chan_send(h->chan, list, ++o->last_ask, NULL, 0, -1) < 0)
		log_error("%s: no channel", room_name(room));
}

/* What a helper holds is learned anew with each life of it. */
static void
forget_held(struct orchd *o, bool net)
{
	struct vm *vm;

	TAILQ_FOREACH (vm, &o->vms, entry) {
		if (net) {
			vm->tap = TAP_NONE;
			vm->adopt = false;
		} else {
			vm->hv = HV_NONE;
			vm->stop_sent = false;
		}
	}
}

void
orchd_peer(struct orchd *o, uint32_t room, int sock)
{
	switch ((enum room)room) {
	case ROOM_API:
	case ROOM_API_ADMIN:
		peer_api(o, room, sock);
		return;
	case ROOM_NETD:
		forget_held(o, true);
		peer_helper(o, &o->net, room, sock, &net_ops, NET_LIST);
		return;
	case ROOM_LAUNCHD:
		forget_held(o, false);
		peer_helper(
		    o, &o->launch, room, sock, &launch_ops, LAUNCH_LIST);
		return;
	case ROOM_MEWSD:
	case ROOM_ORCHD:
	case ROOM_SPAWNER:
	case ROOM_MAX:
		break;
	}
	log_error("a channel to %s makes no sense", room_name(room));
	close_fd(&sock);
}
