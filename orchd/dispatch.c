#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/api/conn.h"
#include "orchd/api/verbs.h"
#include "orchd/link/link.h"
#include "orchd/orchd.h"

/* --- the apids --- */

static void
peer_api(struct orchd *o, uint32_t room, int sock)
{
	const size_t i = room == ROOM_API ? 0 : 1;

	if (o->api[i] != NULL) {
		chan_free(o->api[i]);
		conn_end_room(o, room);
	}
	o->api[i] = chan_new(o->base, sock, room_name(room), &verbs_ops, o);
	conn_accept(o);
}

static void
peer(struct orchd *o, uint32_t room, int sock)
{
	size_t i;

	if (room == ROOM_API || room == ROOM_API_ADMIN) {
		peer_api(o, room, sock);
		return;
	}
	for (i = 0; i < nitems(o->link); i++) {
		if (o->link[i].row->room == room) {
			link_open(o, &o->link[i], sock);
			return;
		}
	}
	log_error("a channel to %s makes no sense", room_name(room));
	close_fd(&sock);
}

/* --- mewsd --- */

static int
on_peer(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;
	struct boot_peer p;

	(void)c;
	memcpy(&p, m->data, sizeof(p));
	peer(o, p.room, m->fd);
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
const struct chan_ops dispatch_ops = { boot_handlers, nitems(boot_handlers),
	on_boot_gone };
