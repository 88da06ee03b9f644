#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "netd/dispatch.h"
#include "netd/netd.h"
#include "proto/chan.h"
#include "proto/net.h"

/* All that netd can be asked is in the two tables at the end. */

static int
answer_done(struct chan *c, uint64_t id)
{
	return chan_send(c, NET_DONE, id, NULL, 0, -1);
}

static int
answer_flags(
    struct chan *c, uint64_t id, int code, uint32_t flags, const struct err *e)
{
	struct net_err ne = { .code = code, .flags = flags };

	(void)snprintf(
	    ne.msg, sizeof(ne.msg), "%.*s", (int)sizeof(ne.msg) - 1, e->msg);
	log_warn("%s: %s", chan_peer(c), ne.msg);
	return chan_send(c, NET_ERR, id, &ne, sizeof(ne), -1);
}

static int
answer_err(struct chan *c, uint64_t id, int code, const struct err *e)
{
	return answer_flags(c, id, code, 0, e);
}

static int
answer(struct chan *c, uint64_t id, int r, const struct err *e)
{
	return r < 0 ? answer_err(c, id, r, e) : answer_done(c, id);
}

/* Links that were closed go, and the closes are answered.  Whatever else is
 * asked waits for that, so a request never sees a half-closed tap. */
static void
reap(struct netd *nd)
{
	struct err e = { 0 };
	size_t i, n = nd->nclosing;
	int r = netd_reap(nd, &e);

	nd->nclosing = 0;
	for (i = 0; i < n && nd->orchd != NULL; i++)
		(void)answer(nd->orchd, nd->closing[i], r, &e);
}

static void
on_reap(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	reap(arg);
}

static int
on_tap_open(void *arg, struct chan *c, struct msg *m)
{
	struct netd *nd = arg;
	struct net_tap req;
	struct net_tap_ready ready = { 0 };
	struct err e = { 0 };
	int fd = -1, ifindex = 0, r;

	reap(nd);
	memcpy(&req, m->data, sizeof(req));
	if ((r = netd_open(nd, &req, &ifindex, &fd, &e)) < 0)
		return answer_err(c, m->id, r, &e);
	ready.vm = req.vm;
	ready.ifindex = (uint32_t)ifindex;
	return chan_send(c, NET_TAP_READY, m->id, &ready, sizeof(ready), fd);
}

static int
on_tap_close(void *arg, struct chan *c, struct msg *m)
{
	struct netd *nd = arg;
	struct net_tap_close req;
	struct err e = { 0 };
	int r;

	if (nd->nclosing == nitems(nd->closing))
		reap(nd);
	memcpy(&req, m->data, sizeof(req));
	if ((r = netd_close(nd, &req, &e)) <= 0)
		return answer(c, m->id, r, &e);
	nd->closing[nd->nclosing++] = m->id;
	event_active(nd->reap, EV_TIMEOUT, 0);
	return 0;
}

static int
on_list(void *arg, struct chan *c, struct msg *m)
{
	struct netd *nd = arg;
	struct net_tap held[NET_HELD_MAX];
	struct net_list_end end = { 0 };
	struct err e = { 0 };
	size_t i, n = 0;
	int r;

	reap(nd);
	if ((r = netd_sync(nd, &e)) < 0)
		return answer_err(c, m->id, r, &e);
	/* told all the same: rules that are stale stay marked as that */
	if (netd_refresh(nd, &e) < 0)
		log_warn("%s: %s", chan_peer(c), e.msg);
	for (i = 0; i < nitems(nd->taps); i++) {
		if (nd->taps[i].ifindex != 0) {
			held[n++] = nd->taps[i].id;
			end.count++;
		}
		if (n == 0 || (n < nitems(held) && i + 1 < nitems(nd->taps)))
			continue;
		r = chan_send(
		    c, NET_HELD, m->id, held, n * sizeof(held[0]), -1);
		if (r < 0)
			return r;
		n = 0;
	}
	return chan_send(c, NET_LIST_END, m->id, &end, sizeof(end), -1);
}

static int
on_ensure(void *arg, struct chan *c, struct msg *m)
{
	struct err e = { 0 };
	bool only_uplink;
	int r;

	reap(arg);
	r = netd_ensure(arg, &only_uplink, &e);
	return r == 0
	    ? answer_done(c, m->id)
	    : answer_flags(c, m->id, r, only_uplink ? NET_ERR_UPLINK : 0, &e);
}

static int
on_teardown(void *arg, struct chan *c, struct msg *m)
{
	struct err e = { 0 };

	reap(arg);
	return answer(c, m->id, netd_teardown(arg, &e), &e);
}

static void
on_stop(void *arg)
{
	struct netd *nd = arg;

	reap(nd);
	if (nd->orchd != NULL)
		chan_flush(nd->orchd);
}

#define REQUEST(type, payload, check, fn)                      \
	{                                                      \
		type, sizeof(payload), 0, 0, PH_ANY, check, fn \
	}
#define BARE(type, fn)                          \
	{                                       \
		type, 0, 0, 0, PH_ANY, NULL, fn \
	}

static const struct msg_handler from_orchd[] = {
	REQUEST(NET_TAP_OPEN, struct net_tap, net_tap_check, on_tap_open),
	REQUEST(NET_TAP_CLOSE, struct net_tap_close, net_tap_close_check,
	    on_tap_close),
	BARE(NET_LIST, on_list),
	BARE(NET_ENSURE, on_ensure),
};

static const struct msg_handler from_mewsd[] = {
	BARE(NET_ENSURE, on_ensure),
	BARE(NET_TEARDOWN, on_teardown),
};

static void
orchd_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct netd *nd = arg;

	log_warn("orchd: %s", why);
	if (nd->orchd == c) {
		boot_fault(nd->parent, ROOM_ORCHD, nd->orchd_life, end);
		nd->orchd = NULL;
		nd->nclosing = 0; /* nobody is left to hear it */
	}
	chan_free(c);
}

static const struct chan_ops orchd_ops = { from_orchd, nitems(from_orchd),
	orchd_gone };
/* A new channel takes the old one's place: orchd was started anew. */
static int
on_peer(void *arg, const struct boot_peer *p, int sock)
{
	struct netd *nd = arg;

	if (p->room != ROOM_ORCHD) {
		fd_close(&sock);
		return -EPERM;
	}
	chan_free(nd->orchd);
	nd->nclosing = 0;
	nd->orchd_life = p->life;
	nd->orchd = chan_new(nd->base, sock, "orchd", &orchd_ops, nd);
	return nd->orchd != NULL ? 0 : -ENOMEM;
}

static const struct boot_calls boot_calls = { .peer = on_peer,
	.stop = on_stop,
	.own = from_mewsd,
	.nown = nitems(from_mewsd) };

int
dispatch_start(struct netd *nd)
{
	nd->reap = event_new(nd->base, -1, 0, on_reap, nd);
	if (nd->reap == NULL)
		return -ENOMEM;
	nd->parent = boot_room_open(&nd->mewsd, nd->base, &boot_calls, nd);
	return nd->parent != NULL ? 0 : -ENOMEM;
}

void
dispatch_stop(struct netd *nd)
{
	chan_free(nd->orchd);
	nd->orchd = NULL;
	chan_free(nd->parent);
	nd->parent = NULL;
	if (nd->reap != NULL)
		event_free(nd->reap);
	nd->reap = NULL;
}
