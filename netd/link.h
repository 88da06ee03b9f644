#ifndef NETD_LINK_H
#define NETD_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/net.h"

struct nl_msg;
struct nl_sock;

/* rtnetlink(7) in the few words netd needs.  Negative errnos all over. */

struct link {
	int ifindex;
	unsigned int flags; /* IFF_* */
	int master; /* ifindex, 0: none */
	uint8_t mac[6];
	bool forwarding; /* IPv4 */
	char name[NET_IFNAME];
	char kind[16]; /* "bridge", "tun", "" */
	char alias[64]; /* cut off when longer */
};

/* -ENODEV when there is none. */
int link_find(struct nl_sock *rt, const char *name, struct link *ret);
/* Calls fn for every link.  0 or a negative errno. */
int link_walk(
    struct nl_sock *rt, void (*fn)(const struct link *, void *), void *arg);
/* -ENODEV when it is not there. */
int link_del(struct nl_sock *rt, int ifindex);
/* The global IPv4 forwarding switch, ip_forward. */
int link_all_forwarding(struct nl_sock *rt, bool *ret);

/*
 * A request about one link, for the caller to fill; NULL: no memory.
 * The bits in up (IFF_*) are set, the others stay.
 */
struct nl_msg *link_msg(
    int type, int flags, int family, int ifindex, unsigned int up);
/* Sends m, waits for the kernel's word, frees m (NULL: -ENOMEM). */
int link_talk(struct nl_sock *rt, struct nl_msg *m);

#endif
