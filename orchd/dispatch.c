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
	fd_close(&sock);
}

/* --- mewsd --- */

static int
on_peer(void *arg, const struct boot_peer *p, int sock)
{
	struct orchd *o = arg;

	peer(o, p->room, sock);
	o->life[p->room] = p->life; /* after the old one's gone() */
	return 0;
}

static int
on_listener(void *arg, int sock)
{
	conn_listen(arg, sock);
	return 0;
}

const struct boot_calls dispatch_calls = { .peer = on_peer,
	.listener = on_listener };
