#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "common/err.h"
#include "common/util.h"
#include "netd/policy.h"
#include "proto/net.h"
#include "tests/suite/t.h"

/* Network order, as a constant: htonl() is none. */
#define IP(a, b, c, d)                                              \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | \
	    (uint32_t)(d) << 24)

static const struct net_conf good_conf = { .bridge = "mewsbr0",
	.uplink = "eth0",
	.subnet = IP(10, 77, 0, 0),
	.gateway = IP(10, 77, 0, 1),
	.max_taps = 16,
	.prefix = 24 };

static const struct net_tap good_tap = { .vm = 0xabcdef0123456789,
	.slot = 3,
	.ipv4 = IP(10, 77, 0, 13),
	.mac = { 0x52, 0x54, 0, 0, 1, 3 } };

static void
test_conf_names(void)
{
	static const struct {
		const char *name, *bridge, *uplink;
		int r;
	} rows[] = {
		{ "as is", "mewsbr0", "eth0", 0 },
		{ "no uplink", "mewsbr0", "", 0 },
		{ "no bridge", "", "eth0", -EINVAL },
		{ "all letters that may be", "a.B-c_9", "eth0.7", 0 },
		{ "the longest name", "abcdefghijklmno", "eth0", 0 },
		{ "no NUL", "abcdefghijklmnop", "eth0", -EINVAL },
		{ "quote", "a\"b", "eth0", -EINVAL },
		{ "wildcard", "mewsbr*", "eth0", -EINVAL },
		{ "space", "a b", "eth0", -EINVAL },
		{ "newline", "a\nb", "eth0", -EINVAL },
		{ "slash", "mewsbr0", "a/b", -EINVAL },
		{ "dots", "mewsbr0", "..", -EINVAL },
		{ "option", "-all", "eth0", -EINVAL },
		{ "high bit", "br\xc3\xb6", "eth0", -EINVAL },
		{ "bridge named like a tap", "mw0", "eth0", -EINVAL },
		{ "uplink named like a tap", "br0", "mwx", -EINVAL },
		{ "one name for both", "eth0", "eth0", -EINVAL },
	};

	for (size_t i = 0; i < nitems(rows); i++) {
		struct net_conf c = good_conf;
		struct err e = { 0 };

		memset(c.bridge, 0, sizeof(c.bridge));
		memset(c.uplink, 0, sizeof(c.uplink));
		memcpy(c.bridge, rows[i].bridge, strlen(rows[i].bridge));
		memcpy(c.uplink, rows[i].uplink, strlen(rows[i].uplink));
		t_row(rows[i].name);
		t_eq(policy_conf(&c, &e), rows[i].r);
		t_eq(e.msg[0] != '\0', rows[i].r != 0);
	}
}

static void
test_conf_numbers(void)
{
	static const struct {
		const char *name;
		uint32_t subnet, gateway;
		uint8_t prefix;
		uint16_t taps;
		int r;
	} rows[] = {
		{ "the widest", IP(10, 0, 0, 0), IP(10, 0, 0, 1), 8, 1, 0 },
		{ "wider", IP(10, 0, 0, 0), IP(10, 0, 0, 1), 7, 1, -ERANGE },
		{ "none", 0, IP(10, 0, 0, 1), 0, 1, -ERANGE },
		{ "the narrowest", IP(10, 0, 0, 4), IP(10, 0, 0, 5), 30, 1, 0 },
		{ "narrower", IP(10, 0, 0, 4), IP(10, 0, 0, 5), 31, 1,
		    -ERANGE },
		{ "past 32", IP(10, 0, 0, 4), IP(10, 0, 0, 5), 33, 1, -ERANGE },
		{ "host bits", IP(10, 0, 0, 1), IP(10, 0, 0, 2), 24, 1,
		    -EINVAL },
		{ "gateway outside", IP(10, 0, 0, 0), IP(10, 0, 1, 1), 24, 1,
		    -EINVAL },
		{ "gateway is the net", IP(10, 0, 0, 0), IP(10, 0, 0, 0), 24, 1,
		    -EINVAL },
		{ "gateway is broadcast", IP(10, 0, 0, 0), IP(10, 0, 0, 255),
		    24, 1, -EINVAL },
		{ "gateway is the last host", IP(10, 0, 0, 0),
		    IP(10, 0, 0, 254), 24, 1, 0 },
		{ "no taps", IP(10, 0, 0, 0), IP(10, 0, 0, 1), 24, 0, -ERANGE },
		{ "all taps", IP(10, 0, 0, 0), IP(10, 0, 0, 1), 24, 1023, 0 },
		{ "a tap more", IP(10, 0, 0, 0), IP(10, 0, 0, 1), 24, 1024,
		    -ERANGE },
	};

	for (size_t i = 0; i < nitems(rows); i++) {
		struct net_conf c = good_conf;

		c.subnet = rows[i].subnet;
		c.gateway = rows[i].gateway;
		c.prefix = rows[i].prefix;
		c.max_taps = rows[i].taps;
		t_row(rows[i].name);
		t_eq(policy_conf(&c, NULL), rows[i].r);
	}
}

static void
test_tap_numbers(void)
{
	static const struct {
		const char *name;
		uint64_t uid;
		uint16_t slot, nic;
		uint32_t ipv4;
		int r;
	} rows[] = {
		{ "as is", 1, 3, 0, IP(10, 77, 0, 13), 0 },
		{ "largest uid", UINT64_MAX, 0, 0, IP(10, 77, 0, 13), 0 },
		{ "no VM", 0, 3, 0, IP(10, 77, 0, 13), -EINVAL },
		{ "last slot", 1, 15, 0, IP(10, 77, 0, 13), 0 },
		{ "past the last slot", 1, 16, 0, IP(10, 77, 0, 13), -EPERM },
		{ "largest slot", 1, 65535, 0, IP(10, 77, 0, 13), -EPERM },
		{ "second NIC", 1, 3, 1, IP(10, 77, 0, 13), -EPERM },
		{ "first host", 1, 3, 0, IP(10, 77, 0, 2), 0 },
		{ "last host", 1, 3, 0, IP(10, 77, 0, 254), 0 },
		{ "the gateway", 1, 3, 0, IP(10, 77, 0, 1), -EPERM },
		{ "the network", 1, 3, 0, IP(10, 77, 0, 0), -EPERM },
		{ "broadcast", 1, 3, 0, IP(10, 77, 0, 255), -EPERM },
		{ "below the subnet", 1, 3, 0, IP(10, 76, 255, 254), -EPERM },
		{ "above the subnet", 1, 3, 0, IP(10, 77, 1, 1), -EPERM },
		{ "any", 1, 3, 0, 0, -EPERM },
		{ "loopback", 1, 3, 0, IP(127, 0, 0, 1), -EPERM },
		{ "everybody", 1, 3, 0, UINT32_MAX, -EPERM },
		{ "other byte order", 1, 3, 0, IP(13, 0, 77, 10), -EPERM },
	};

	for (size_t i = 0; i < nitems(rows); i++) {
		struct net_tap t = good_tap;
		struct err e = { 0 };

		t.vm = rows[i].uid;
		t.slot = rows[i].slot;
		t.nic = rows[i].nic;
		t.ipv4 = rows[i].ipv4;
		t_row(rows[i].name);
		t_eq(policy_tap(&good_conf, &t, &e), rows[i].r);
		t_eq(e.msg[0] != '\0', rows[i].r != 0);
	}
}

static void
test_tap_mac(void)
{
	static const struct {
		const char *name;
		uint8_t mac[6];
		int r;
	} rows[] = {
		{ "local unicast", { 0x52, 0x54, 0, 0, 0, 1 }, 0 },
		{ "smallest of that kind", { 2, 0, 0, 0, 0, 0 }, 0 },
		{ "largest of that kind", { 0xfe, 255, 255, 255, 255, 255 },
		    0 },
		{ "a vendor's", { 0x00, 0x16, 0x3e, 0, 0, 1 }, -EPERM },
		{ "local multicast", { 0x53, 0x54, 0, 0, 0, 1 }, -EPERM },
		{ "multicast", { 0x01, 0x80, 0xc2, 0, 0, 0 }, -EPERM },
		{ "broadcast", { 255, 255, 255, 255, 255, 255 }, -EPERM },
		{ "none", { 0 }, -EPERM },
		{ "the bridge's", { 2, 'm', 10, 77, 0, 1 }, -EPERM },
		{ "beside the bridge's", { 2, 'm', 10, 77, 0, 2 }, 0 },
	};

	for (size_t i = 0; i < nitems(rows); i++) {
		struct net_tap t = good_tap;

		memcpy(t.mac, rows[i].mac, sizeof(t.mac));
		t_row(rows[i].name);
		t_eq(policy_tap(&good_conf, &t, NULL), rows[i].r);
	}
}

static void
test_free(void)
{
	static const struct {
		const char *name;
		uint64_t uid;
		uint16_t slot;
		uint8_t host, mac;
		int r;
	} rows[] = {
		{ "nothing in common", 9, 5, 99, 99, 0 },
		{ "the very same", 1, 3, 13, 3, -EBUSY },
		{ "slot", 9, 3, 99, 99, -EEXIST },
		{ "address", 9, 5, 13, 99, -EEXIST },
		{ "MAC", 9, 5, 99, 3, -EEXIST },
		{ "same VM, another address", 1, 3, 14, 3, -EEXIST },
		{ "same VM, another slot", 1, 5, 99, 99, 0 },
		{ "what a free place still shows", 9, 4, 44, 44, 0 },
	};
	struct tap taps[8] = { 0 };

	taps[3].ifindex = 7;
	taps[3].id = good_tap;
	taps[3].id.vm = 1;
	taps[4].id = good_tap; /* ifindex 0: nobody's */
	taps[4].id.slot = 4;
	taps[4].id.ipv4 = IP(10, 77, 0, 44);
	taps[4].id.mac[5] = 44;
	for (size_t i = 0; i < nitems(rows); i++) {
		struct net_tap t = good_tap;

		t.vm = rows[i].uid;
		t.slot = rows[i].slot;
		t.ipv4 = IP(10, 77, 0, rows[i].host);
		t.mac[5] = rows[i].mac;
		t_row(rows[i].name);
		t_eq(policy_free(taps, nitems(taps), &t, NULL), rows[i].r);
	}
}

static void
test_names(void)
{
	static const struct {
		const char *name;
		int r;
	} rows[] = {
		{ "mw0", 0 },
		{ "mw1022", 0 },
		{ "mw1023", -EINVAL },
		{ "mw", -EINVAL },
		{ "mw-1", -EINVAL },
		{ "mw-0", -EINVAL },
		{ "mw01", -EINVAL },
		{ "mw 1", -EINVAL },
		{ "mw1x", -EINVAL },
		{ "MW1", -EINVAL },
		{ "eth0", -EINVAL },
		{ "", -EINVAL },
		{ "mw99999999999", -EINVAL },
	};
	char name[NET_IFNAME];

	for (size_t i = 0; i < nitems(rows); i++) {
		uint16_t slot = 4711;

		t_row(rows[i].name);
		t_eq(tap_slot(rows[i].name, &slot), rows[i].r);
		if (rows[i].r < 0) {
			t_eq(slot, 4711);
			continue;
		}
		tap_name(slot, name);
		t_str(name, rows[i].name);
	}
}

static void
test_alias(void)
{
	static const struct {
		const char *name, *alias;
		int r;
	} rows[] = {
		{ "ours", "mews1 abcdef0123456789 0000 0a4d000d 525400000103",
		    0 },
		{ "empty", "", -EINVAL },
		{ "a word", "uplink of the lab", -EINVAL },
		{ "other version",
		    "mews2 abcdef0123456789 0000 0a4d000d 525400000103",
		    -EINVAL },
		{ "upper case",
		    "mews1 ABCDEF0123456789 0000 0a4d000d 525400000103",
		    -EINVAL },
		{ "no hex", "mews1 abcdef012345678g 0000 0a4d000d 525400000103",
		    -EINVAL },
		{ "short", "mews1 abcdef0123456789 0000 0a4d000d 52540000010",
		    -EINVAL },
		{ "long", "mews1 abcdef0123456789 0000 0a4d000d 5254000001030",
		    -EINVAL },
		{ "other spaces",
		    "mews1_abcdef0123456789 0000 0a4d000d 525400000103",
		    -EINVAL },
	};
	char alias[TAP_ALIAS];

	tap_alias(&good_tap, alias);
	t_str(alias, rows[0].alias);
	for (size_t i = 0; i < nitems(rows); i++) {
		struct net_tap t = { .slot = 3 };

		t_row(rows[i].name);
		t_eq(tap_unalias(rows[i].alias, &t), rows[i].r);
		t_eq(tap_same(&t, &good_tap), rows[i].r == 0);
	}
}

static void
test_wire(void)
{
	struct net_tap t = good_tap;
	struct net_tap_close c = { .vm = 1 };
	struct net_tap_ready r = { .vm = 1 };
	struct net_list_end l = { .count = NET_TAPS_MAX };
	struct net_err e = { .code = -EBUSY };

	t_eq(net_tap_check(&t), 0);
	t.flags = NET_ADOPT;
	t_eq(net_tap_check(&t), 0);
	t.flags = 2;
	t_eq(net_tap_check(&t), -EBADMSG);
	t.flags = 0x8001;
	t_eq(net_tap_check(&t), -EBADMSG);
	t_eq(net_tap_close_check(&c), 0);
	c.pad = 1;
	t_eq(net_tap_close_check(&c), -EBADMSG);
	t_eq(net_tap_ready_check(&r), 0);
	r.pad = 1;
	t_eq(net_tap_ready_check(&r), -EBADMSG);
	t_eq(net_list_end_check(&l), 0);
	l.count++;
	t_eq(net_list_end_check(&l), -EBADMSG);
	t_eq(net_err_check(&e), 0);
	e.code = 0;
	t_eq(net_err_check(&e), -EBADMSG);
	e.code = -EBUSY;
	memset(e.msg, 'x', sizeof(e.msg));
	t_eq(net_err_check(&e), -EBADMSG);
	e.msg[sizeof(e.msg) - 1] = '\0';
	t_eq(net_err_check(&e), 0);
}

static void
test_held(void)
{
	static const struct {
		const char *name;
		size_t len;
		int n;
	} rows[] = {
		{ "nothing", 0, -EBADMSG },
		{ "half a tap", 12, -EBADMSG },
		{ "one", 24, 1 },
		{ "one and a byte", 25, -EBADMSG },
		{ "the most", 24UL * NET_HELD_MAX, NET_HELD_MAX },
		{ "one more", 24UL * (NET_HELD_MAX + 1), -EBADMSG },
	};

	for (size_t i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		t_eq(net_held_count(rows[i].len), rows[i].n);
	}
}

const struct t_case t_cases[] = { { "conf-names", test_conf_names },
	{ "conf-numbers", test_conf_numbers },
	{ "tap-numbers", test_tap_numbers }, { "tap-mac", test_tap_mac },
	{ "tap-free", test_free }, { "tap-names", test_names },
	{ "tap-alias", test_alias }, { "wire", test_wire },
	{ "held", test_held }, { NULL, NULL } };
