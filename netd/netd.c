#include <bsd/unistd.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/fds.h"
#include "common/util.h"
#include "netd/link.h"
#include "netd/netd.h"

/* How often a list of links may change under the question. */
#define WALK_TRIES 16

void
netd_title(const struct netd *nd)
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < nitems(nd->taps); i++)
		n += nd->taps[i].ifindex != 0;
	setproctitle("-mews: netd [%u taps]", n);
}

struct scan {
	const struct netd *nd;
	struct tap *taps; /* as netd.taps */
};

/* A tap is held when its name and its alias are of our making and its
 * numbers are within today's policy; whatever else is named mw* gets no
 * elements, so all it says is dropped. */
static void
on_link(const struct link *l, void *arg)
{
	struct scan *s = arg;
	struct tap t = { .ifindex = l->ifindex };

	if (strcmp(l->kind, "tun") != 0 || tap_slot(l->name, &t.id.slot) < 0 ||
	    tap_unalias(l->alias, &t.id) < 0 ||
	    policy_tap(&s->nd->conf, &t.id, NULL) < 0 ||
	    policy_free(s->taps, NET_TAPS_MAX, &t.id, NULL) < 0)
		return;
	s->taps[t.id.slot] = t;
}

int
netd_sync(struct netd *nd, struct err *e)
{
	struct scan s = { .nd = nd };
	int i, r = -EAGAIN;

	s.taps = calloc(NET_TAPS_MAX, sizeof(*s.taps));
	if (s.taps == NULL)
		return err_set(e, -ENOMEM, "list of taps");
	/* a list that changed while the kernel told it is asked for again */
	for (i = 0; i < WALK_TRIES && r == -EAGAIN; i++) {
		memset(s.taps, 0, NET_TAPS_MAX * sizeof(*s.taps));
		r = link_walk(nd->rt, on_link, &s);
	}
	if (r < 0) {
		free(s.taps);
		return err_errno(e, r, "list of links");
	}
	nd->is_stale |= memcmp(nd->taps, s.taps, sizeof(nd->taps)) != 0;
	memcpy(nd->taps, s.taps, sizeof(nd->taps));
	free(s.taps);
	netd_title(nd);
	return 0;
}

/* The same for one slot, whose link has a name: what the walk costs grows
 * with the links of the host. */
static int
netd_look(struct netd *nd, uint16_t slot, struct err *e)
{
	struct scan s = { .nd = nd, .taps = nd->taps };
	const struct tap was = nd->taps[slot];
	char name[NET_IFNAME];
	struct link l;
	int r;

	tap_name(slot, name);
	r = link_find(nd->rt, name, &l);
	if (r < 0 && r != -ENODEV)
		return err_errno(e, r, "tap %s", name);
	memset(&nd->taps[slot], 0, sizeof(was));
	if (r == 0)
		on_link(&l, &s);
	nd->is_stale |= memcmp(&was, &nd->taps[slot], sizeof(was)) != 0;
	netd_title(nd);
	return 0;
}

/* The uplink and all rules.  A missing uplink takes nothing else down with
 * it: *up is what it says, and the rules stand as if it were there. */
static int
rules_ensure(struct netd *nd, int *up, struct err *e)
{
	bool guard = false;
	int r;

	if ((*up = uplink_ensure(nd, &guard, e)) < 0)
		guard = true;
	if ((r = nft_rebuild(nd, guard, e)) == 0)
		nd->is_stale = false;
	return r;
}

int
netd_refresh(struct netd *nd, struct err *e)
{
	int r, up;

	if ((r = netd_sync(nd, e)) < 0 || !nd->is_stale)
		return r;
	return rules_ensure(nd, &up, e);
}

/* Rules before ports: what comes up is already watched. */
int
netd_ensure(struct netd *nd, bool *only_uplink, struct err *e)
{
	int bridge = 0, r, up;
	size_t i;

	*only_uplink = false;
	if ((r = bridge_find(nd, &bridge, e)) < 0 && r != -ENODEV)
		return r;
	if ((r = netd_sync(nd, e)) < 0 || (r = rules_ensure(nd, &up, e)) < 0 ||
	    (r = bridge_ensure(nd, &bridge, e)) < 0)
		return r;
	for (i = 0; i < nitems(nd->taps); i++) {
		const struct tap *t = &nd->taps[i];

		if (t->ifindex == 0)
			continue;
		if ((r = bridge_port(nd, t, bridge, e)) < 0 ||
		    (r = bridge_port_up(nd, t, e)) < 0)
			return r;
	}
	*only_uplink = up < 0;
	return up;
}

/* Taps die with their hypervisor, without a word to netd: what conflicts
 * with the copy may be gone, so the kernel is asked before saying no. */
static int
check_free(struct netd *nd, const struct net_tap *id, struct err *e)
{
	int r;

	r = policy_free(nd->taps, nitems(nd->taps), id, e);
	if (r == 0)
		return 0;
	if ((r = netd_refresh(nd, e)) < 0)
		return r;
	return policy_free(nd->taps, nitems(nd->taps), id, e);
}

/* Everything between a bare link and one that may speak; up comes last. */
static int
tap_plug(struct netd *nd, const struct tap *t, struct err *e)
{
	int bridge = 0, r;

	if ((r = bridge_find(nd, &bridge, e)) < 0)
		return r;
	if ((r = bridge_port(nd, t, bridge, e)) < 0 ||
	    (r = nft_tap_add(nd, t, e)) < 0)
		return r;
	return bridge_port_up(nd, t, e);
}

static int
tap_adopt(
    struct netd *nd, const struct net_tap *id, int *ifindex, struct err *e)
{
	struct tap *t = &nd->taps[id->slot];
	int r, up;

	if ((r = netd_look(nd, id->slot, e)) < 0 ||
	    (nd->is_stale && (r = rules_ensure(nd, &up, e)) < 0))
		return r;
	if (t->ifindex == 0)
		return err_set(e, -ENOENT, "slot %u has no tap", id->slot);
	if (!tap_same(&t->id, id))
		return err_set(
		    e, -EEXIST, "slot %u is held with other numbers", id->slot);
	if ((r = tap_plug(nd, t, e)) < 0)
		return r;
	*ifindex = t->ifindex;
	return 0;
}

static int
tap_make(struct netd *nd, const struct net_tap *id, int *ifindex, int *fd,
    struct err *e)
{
	struct tap t = { .id = *id };
	char name[NET_IFNAME];
	struct link l;
	int tun = -1, r;

	if ((r = check_free(nd, id, e)) < 0)
		return r;
	if ((tun = tap_create(nd->devfd, id->slot, e)) < 0)
		return tun;
	tap_name(id->slot, name);
	if ((r = link_find(nd->rt, name, &l)) < 0) {
		(void)err_errno(e, r, "tap %s", name);
		goto out;
	}
	t.ifindex = l.ifindex;
	if ((r = tap_plug(nd, &t, e)) < 0) {
		/* the link goes first: closing a live tap takes 20 ms */
		(void)link_del(nd->rt, t.ifindex);
		(void)nft_tap_del(nd, &t, NULL);
		goto out;
	}
	nd->taps[id->slot] = t;
	netd_title(nd);
	*ifindex = t.ifindex;
	*fd = tun;
	tun = -1; /* the caller owns it now */
out:
	fd_close(&tun);
	return r;
}

int
netd_open(struct netd *nd, const struct net_tap *req, int *ifindex, int *fd,
    struct err *e)
{
	struct net_tap id = *req;
	int r;

	id.flags = 0;
	*fd = -1;
	if ((r = policy_tap(&nd->conf, &id, e)) < 0)
		return r;
	if ((req->flags & NET_ADOPT) != 0)
		return tap_adopt(nd, &id, ifindex, e);
	return tap_make(nd, &id, ifindex, fd, e);
}

int
netd_close(struct netd *nd, const struct net_tap_close *req, struct err *e)
{
	struct tap *t;
	bool is_there;
	int r;

	if (req->vm == 0 || req->slot >= nitems(nd->taps) || req->nic != 0)
		return err_set(e, -EINVAL, "no such slot or NIC");
	t = &nd->taps[req->slot];
	if (t->ifindex == 0)
		return 0;
	if (RULE(NET_CLOSE_OWNER) && t->id.vm != req->vm)
		return err_set(e, -EPERM, "slot %u is another VM's", req->slot);
	/* by netlink: what a hypervisor still holds is dead afterwards */
	is_there = (r = port_doom(nd, t)) == 0;
	if (r < 0 && r != -ENODEV)
		return err_errno(e, r, "remove the tap of slot %u", req->slot);
	if ((r = nft_tap_del(nd, t, e)) < 0)
		return r;
	memset(t, 0, sizeof(*t));
	netd_title(nd);
	nd->is_closing |= is_there;
	return is_there;
}

int
netd_reap(struct netd *nd, struct err *e)
{
	if (!nd->is_closing)
		return 0;
	nd->is_closing = false;
	return port_reap(nd, e);
}

int
netd_teardown(struct netd *nd, struct err *e)
{
	size_t i;
	int r;

	if ((r = netd_sync(nd, e)) < 0)
		return r;
	for (i = 0; i < nitems(nd->taps); i++) {
		if (nd->taps[i].ifindex != 0)
			return err_set(e, -EBUSY, "slot %zu has a tap", i);
	}
	/* bridge first: while it is there, its rules are */
	if ((r = bridge_remove(nd, e)) < 0 || (r = uplink_restore(nd, e)) < 0)
		return r;
	return nft_remove(nd, e);
}
