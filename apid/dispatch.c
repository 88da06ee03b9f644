#include <event2/event.h>
#include <inttypes.h>
#include <string.h>

#include "apid/apid.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/chan.h"

/* --- mewsd --- */

static int
on_peer(void *arg, const struct boot_peer *p, int sock)
{
	struct apid *a = arg;

	if (p->room != ROOM_ORCHD) { /* an apid has one neighbour */
		fd_close(&sock);
		return -1;
	}
	/* orchd is born again: who its callers were died with it */
	client_drop_all(a);
	chan_free(a->orchd);
	a->orchd = chan_new(a->base, sock, "orchd", &orchd_ops, a);
	if (a->orchd == NULL)
		return -1;
	(void)event_del(a->alone);
	return 0;
}

const struct boot_calls boot_calls = { .peer = on_peer };

/* --- orchd --- */

static int
on_conn(void *arg, struct chan *chan, struct msg *m)
{
	struct apid *a = arg;
	struct api_caller msg;
	struct api_conn closed;
	int fd = m->fd;

	memcpy(&msg, m->data, sizeof(msg));
	if (client_find(a, msg.conn) != NULL)
		return -1; /* an id is never used twice */
	m->fd = -1;
	if (client_new(a, &msg, fd) < 0) {
		log_warn("conn %016" PRIx64 ": no room", msg.conn);
		closed.conn = msg.conn;
		(void)chan_send(
		    chan, API_CLOSED, 0, &closed, sizeof(closed), -1);
	}
	return 0;
}

static int
on_gone(void *arg, struct chan *chan, struct msg *m)
{
	struct apid *a = arg;
	struct api_conn msg;
	struct client *c;

	(void)chan;
	memcpy(&msg, m->data, sizeof(msg));
	if ((c = client_find(a, msg.conn)) != NULL)
		client_drop(c, false);
	return 0;
}

/*
 * Closed: it restarts, and mewsd brings the new channel.  Anything else is
 * an orchd that says what it may not: this process ends too, so that mewsd
 * plumbs both anew.
 */
static void
on_orchd_gone(void *arg, struct chan *chan, enum chan_end end, const char *why)
{
	const struct timeval tv = { .tv_sec = ALONE_MS / 1000 };
	struct apid *a = arg;

	log_warn("orchd: %s", why);
	chan_free(chan);
	a->orchd = NULL;
	client_drop_all(a);
	if (end == CHAN_CLOSED) {
		(void)event_add(a->alone, &tv);
		return;
	}
	a->status = 1;
	(void)event_base_loopbreak(a->base);
}

void
dispatch_on_alone(int fd, short what, void *arg)
{
	struct apid *a = arg;

	(void)fd;
	(void)what;
	log_warn("no orchd for %d s", ALONE_MS / 1000);
	a->status = 1;
	(void)event_base_loopbreak(a->base);
}

static const struct msg_handler orchd_handlers[] = {
	{ API_CONN, sizeof(struct api_caller), 0, 1, PH_ANY, api_caller_check,
	    on_conn },
	{ API_GONE, sizeof(struct api_conn), 0, 0, PH_ANY, api_conn_check,
	    on_gone },
	{ API_RES, sizeof(struct api_res), API_TAIL_MAX, FD_OPT, PH_ANY,
	    api_res_check, ask_on_res },
};
const struct chan_ops orchd_ops = { orchd_handlers, nitems(orchd_handlers),
	on_orchd_gone };
