#ifndef NETD_POLICY_H
#define NETD_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "proto/net.h"

struct err;

/*
 * What netd allows, whoever asks: orchd may be taken over, so nothing here
 * leans on what orchd has checked.  Pure functions over numbers.
 */

/* A tap that the kernel holds; ifindex 0 marks a free place. */
struct tap {
	struct net_tap id; /* flags are 0 */
	int ifindex;
	uint32_t pad; /* 0: netd_sync() compares bytes */
};

/* The boot config: names are safe to quote, numbers fit together. */
int policy_conf(const struct net_conf *c, struct err *e);
/* One request against host policy. */
int policy_tap(
    const struct net_conf *c, const struct net_tap *t, struct err *e);
/*
 * Against the taps that are held (n places, indexed by slot): -EBUSY when
 * exactly this one is, -EEXIST when slot, MAC or address is another's.
 */
int policy_free(
    const struct tap *taps, size_t n, const struct net_tap *t, struct err *e);

/* Same VM, slot, NIC, address and MAC. */
int tap_same(const struct net_tap *a, const struct net_tap *b);

/* The bridge's MAC follows from its address, so it marks a bridge as ours. */
void policy_bridge_mac(const struct net_conf *c, uint8_t mac[6]);

/* The tap's name, and its slot back from a name: -EINVAL if it is not one. */
void tap_name(uint16_t slot, char name[NET_IFNAME]);
int tap_slot(const char *name, uint16_t *slot);

/*
 * The numbers of a tap as its alias in the kernel: there they outlive netd.
 * "mews1 VMUID NIC IPV4 MAC", all hex.
 */
#define TAP_ALIAS 64
void tap_alias(const struct net_tap *t, char alias[TAP_ALIAS]);
int tap_unalias(const char *alias, struct net_tap *t);

#endif
