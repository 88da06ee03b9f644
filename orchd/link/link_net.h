#ifndef MEWS_LINK_NET_H
#define MEWS_LINK_NET_H

struct link_row;
struct orchd;
struct part_kind;

extern const struct link_row link_net;
/* A tap: netd makes it, its descriptor goes to the jail. */
extern const struct part_kind link_net_tap;
/* Asks netd to look at its bridge and rules, now and every few minutes. */
void link_net_ensure(struct orchd *o);

#endif
