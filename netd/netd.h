#ifndef NETD_NETD_H
#define NETD_NETD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netd/policy.h"
#include "proto/boot_room.h"
#include "proto/net.h"

struct chan;
struct err;
struct event;
struct event_base;
struct nft_ctx;
struct nl_sock;

/*
 * The network room: one bridge, a tap per VM, three nf_tables tables named
 * `mews`.  What it holds lives in the kernel; taps[] is the copy that
 * netd_sync() makes of it, so netd may die at any instant.
 */
struct netd {
	struct net_conf conf;
	struct tap taps[NET_TAPS_MAX]; /* by slot */
	int devfd; /* directory with the private tun node */
	struct nl_sock *rt; /* rtnetlink */
	struct nft_ctx *nft;
	struct event_base *base;
	struct boot_room mewsd; /* descriptor 3 */
	struct chan *parent; /* its channel */
	uint32_t orchd_life; /* which orchd it is */
	struct chan *orchd; /* NULL while orchd is away */
	struct event *reap; /* runs when the messages at hand are done */
	uint64_t closing[NET_TAPS_MAX]; /* orchd's requests it will answer */
	size_t nclosing;
	bool is_stale; /* taps[] has changed, the rules have not */
	bool is_closing; /* links wait for netd_reap() */
};

/* What ps shows. */
void netd_title(const struct netd *nd);

/* netd.c: what messages do.  0 or a negative errno, told in e. */

/* Takes taps[] from the kernel; the rules may be stale afterwards. */
int netd_sync(struct netd *nd, struct err *e);
/* The same, and rules without what is gone. */
int netd_refresh(struct netd *nd, struct err *e);
/* Bridge, uplink, ports and rules as they should be; idempotent.  *only_uplink:
 * all the rest is. */
int netd_ensure(struct netd *nd, bool *only_uplink, struct err *e);
/* *fd is the tap's descriptor, the caller's to close; -1 with NET_ADOPT. */
int netd_open(struct netd *nd, const struct net_tap *req, int *ifindex, int *fd,
    struct err *e);
/*
 * 0: it is gone.  1: its rules are, and its link goes with netd_reap(), which
 * takes 16 to 20 ms in the kernel, for one tap or for sixty alike.
 */
int netd_close(struct netd *nd, const struct net_tap_close *req, struct err *e);
int netd_reap(struct netd *nd, struct err *e);
/* Removes everything; -EBUSY while a tap is held. */
int netd_teardown(struct netd *nd, struct err *e);

/* tap.c: the tun device. */

/* Opens the private node and makes mw<slot>. A descriptor or -errno. */
int tap_create(int devfd, uint16_t slot, struct err *e);
/* Makes the directory with the node and moves this process's root there. */
void tap_room(uint32_t uid, uint32_t gid);

/* bridge.c: bridge, ports, uplink; over netlink. */

/* -ENODEV when it is not there, -EEXIST when the name is somebody else's:
 * then nothing of ours, port or rule, may touch it. */
int bridge_find(struct netd *nd, int *ifindex, struct err *e);
int bridge_ensure(struct netd *nd, int *ifindex, struct err *e);
int bridge_remove(struct netd *nd, struct err *e);
/* The tap's alias first, port settings second: still down afterwards. */
int bridge_port(
    struct netd *nd, const struct tap *t, int bridge, struct err *e);
/* Marks the tap's link for port_reap(), which removes all that are. */
int port_doom(struct netd *nd, const struct tap *t);
int port_reap(struct netd *nd, struct err *e);
int bridge_port_up(struct netd *nd, const struct tap *t, struct err *e);
/* Forwarding on the uplink; *guard: the host is no router otherwise. */
int uplink_ensure(struct netd *nd, bool *guard, struct err *e);
int uplink_restore(struct netd *nd, struct err *e);

/* nft.c: the rules. */

/* One transaction: both tables anew, with the elements of all taps. */
int nft_rebuild(struct netd *nd, bool guard, struct err *e);
/* One transaction: the elements of one tap. */
int nft_tap_add(struct netd *nd, const struct tap *t, struct err *e);
int nft_tap_del(struct netd *nd, const struct tap *t, struct err *e);
int nft_remove(struct netd *nd, struct err *e);

#endif
