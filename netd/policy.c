#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/num.h"
#include "common/util.h"
#include "netd/policy.h"

#define TAP_PREFIX "mw"

static uint32_t
netmask(uint8_t prefix)
{
	return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

/*
 * Names end up quoted in rules, so the alphabet is small; they must not look
 * like a tap, which rules treat as hostile.
 */
static bool
is_ifname(const char name[NET_IFNAME])
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t len = strnlen(name, NET_IFNAME);

	if (len == 0 || len == NET_IFNAME || strspn(name, ok) != len)
		return false;
	if (name[0] == '.' || name[0] == '-')
		return false;
	return strncmp(name, TAP_PREFIX, strlen(TAP_PREFIX)) != 0;
}

int
policy_conf(const struct net_conf *c, struct err *e)
{
	uint32_t mask, net, gw;

	if (!is_ifname(c->bridge))
		return err_set(e, -EINVAL, "the bridge's name will not do");
	if (c->uplink[0] != '\0' && !is_ifname(c->uplink))
		return err_set(e, -EINVAL, "the uplink's name will not do");
	if (strcmp(c->bridge, c->uplink) == 0)
		return err_set(e, -EINVAL, "bridge and uplink are the same");
	if (c->prefix < 8 || c->prefix > 30)
		return err_set(e, -ERANGE, "subnet prefix is not in 8..30");
	if (c->max_taps == 0 || c->max_taps > NET_TAPS_MAX)
		return err_set(
		    e, -ERANGE, "max taps is not in 1..%d", NET_TAPS_MAX);
	mask = netmask(c->prefix);
	net = ntohl(c->subnet);
	gw = ntohl(c->gateway);
	if ((net & ~mask) != 0)
		return err_set(e, -EINVAL, "subnet has host bits set");
	if ((gw & mask) != net || (gw & ~mask) == 0 ||
	    (gw | mask) == UINT32_MAX)
		return err_set(e, -EINVAL, "gateway is no host of the subnet");
	return 0;
}

static int
policy_address(const struct net_conf *c, uint32_t ipv4, struct err *e)
{
	uint32_t a = ntohl(ipv4), mask = netmask(c->prefix);

	if (!RULE(NET_SUBNET))
		return 0;
	if ((a & mask) != ntohl(c->subnet))
		return err_set(e, -EPERM, "address is outside the subnet");
	if ((a & ~mask) == 0 || (a | mask) == UINT32_MAX)
		return err_set(e, -EPERM, "address is the subnet's own");
	if (ipv4 == c->gateway)
		return err_set(e, -EPERM, "address is the gateway's");
	return 0;
}

int
policy_tap(const struct net_conf *c, const struct net_tap *t, struct err *e)
{
	uint8_t bridge[6];

	if (t->vm == 0)
		return err_set(e, -EINVAL, "no VM");
	if (RULE(NET_SLOT) && t->slot >= c->max_taps)
		return err_set(
		    e, -EPERM, "slot %u is not below %u", t->slot, c->max_taps);
	if (t->slot >= NET_TAPS_MAX)
		return err_set(e, -EPERM, "slot %u", t->slot);
	if (t->nic != 0)
		return err_set(e, -EPERM, "NIC %u: a VM has one", t->nic);
	/* bit 0: group, bit 1: locally administered (IEEE 802, section 8) */
	if (RULE(NET_MAC) && (t->mac[0] & 3) != 2)
		return err_set(
		    e, -EPERM, "MAC is not locally administered unicast");
	policy_bridge_mac(c, bridge);
	if (memcmp(t->mac, bridge, sizeof(bridge)) == 0)
		return err_set(e, -EPERM, "MAC is the gateway's");
	return policy_address(c, t->ipv4, e);
}

int
tap_same(const struct net_tap *a, const struct net_tap *b)
{
	return a->vm == b->vm && a->slot == b->slot && a->nic == b->nic &&
	    a->ipv4 == b->ipv4 && memcmp(a->mac, b->mac, sizeof(a->mac)) == 0;
}

int
policy_free(
    const struct tap *taps, size_t n, const struct net_tap *t, struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++) {
		const struct net_tap *h = &taps[i].id;

		if (taps[i].ifindex == 0)
			continue;
		if (tap_same(h, t))
			return err_set(e, -EBUSY, "tap is held");
		if (h->slot == t->slot)
			return err_set(e, -EEXIST, "slot is another VM's");
		if (RULE(NET_DUPLICATE) && h->ipv4 == t->ipv4)
			return err_set(e, -EEXIST, "address is another VM's");
		if (RULE(NET_DUPLICATE) &&
		    memcmp(h->mac, t->mac, sizeof(h->mac)) == 0)
			return err_set(e, -EEXIST, "MAC is another VM's");
	}
	return 0;
}

void
policy_bridge_mac(const struct net_conf *c, uint8_t mac[6])
{
	mac[0] = 0x02;
	mac[1] = 'm';
	memcpy(mac + 2, &c->gateway, sizeof(c->gateway));
}

void
tap_name(uint16_t slot, char name[NET_IFNAME])
{
	(void)snprintf(name, NET_IFNAME, TAP_PREFIX "%u", slot);
}

int
tap_slot(const char *name, uint16_t *slot)
{
	char again[NET_IFNAME];
	long long v;

	if (strncmp(name, TAP_PREFIX, strlen(TAP_PREFIX)) != 0 ||
	    num_parse(name + strlen(TAP_PREFIX), 0, NET_TAPS_MAX - 1, &v) < 0)
		return -EINVAL;
	tap_name((uint16_t)v, again);
	if (strcmp(name, again) != 0) /* mw01 is not ours */
		return -EINVAL;
	*slot = (uint16_t)v;
	return 0;
}

void
tap_alias(const struct net_tap *t, char alias[TAP_ALIAS])
{
	char uid[HEX64_LEN + 1];

	num_format_hex64(t->vm, uid);
	(void)snprintf(alias, TAP_ALIAS,
	    "mews1 %s %04x %08x %02x%02x%02x%02x%02x%02x", uid, t->nic,
	    ntohl(t->ipv4), t->mac[0], t->mac[1], t->mac[2], t->mac[3],
	    t->mac[4], t->mac[5]);
}

/* n hex digits, n at most 16, by way of the one parser that exists. */
static int
hex(const char *s, size_t n, uint64_t *v)
{
	char all[HEX64_LEN + 1] = "0000000000000000";

	memcpy(all + HEX64_LEN - n, s, n);
	return num_parse_hex64(all, v);
}

int
tap_unalias(const char *alias, struct net_tap *t)
{
	/* where the fields begin, and how many digits they have */
	static const struct {
		uint8_t at, len;
	} f[] = { { 6, 16 }, { 23, 4 }, { 28, 8 }, { 37, 12 } };
	char again[TAP_ALIAS];
	struct net_tap got = { .slot = t->slot };
	uint64_t v[nitems(f)];
	size_t i;

	if (strlen(alias) != 49)
		return -EINVAL;
	for (i = 0; i < nitems(f); i++) {
		if (hex(alias + f[i].at, f[i].len, &v[i]) < 0)
			return -EINVAL;
	}
	got.vm = v[0];
	got.nic = (uint16_t)v[1];
	got.ipv4 = htonl((uint32_t)v[2]);
	for (i = 0; i < sizeof(got.mac); i++)
		got.mac[i] = (uint8_t)(v[3] >> (40 - 8 * i));
	/* only what we would have written ourselves */
	tap_alias(&got, again);
	if (strcmp(alias, again) != 0)
		return -EINVAL;
	*t = got;
	return 0;
}
