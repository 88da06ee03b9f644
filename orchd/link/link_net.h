#ifndef MEWS_LINK_NET_H
#define MEWS_LINK_NET_H

#include <stdbool.h>
#include <stdint.h>

struct link_row;
struct orchd;
struct part_kind;

extern const struct link_row link_net;
/* A tap: netd makes it, its descriptor goes to the jail. */
extern const struct part_kind link_net_tap;
/* What netd's last look at bridge, uplink and rules came to. */
struct net_look {
	uint64_t ask; /* of the look that is under way; 0: none is */
	int64_t asked_ms; /* when, clock_ms() */
	int64_t took_ms; /* the last one that was answered */
	bool is_known; /* the netd of now has answered one */
	bool is_wrong, is_uplink; /* the uplink alone */
	char why[192];
};

/* Asks netd to look at its bridge and rules, now and every few minutes. */
void link_net_ensure(struct orchd *o);

#endif
