#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/util.h"
#include "netd/link.h"
#include "netd/netd.h"

/* IFLA_INET6_ADDR_GEN_MODE: no link-local address, so no IPv6 of ours. */
#define GEN_MODE_NONE 1

struct devconf {
	int what; /* IPV4_DEVCONF_* */
	uint32_t value;
};

/* IPv4 on the bridge: route, and answer for the gateway address alone. */
static const struct devconf bridge_conf[] = {
	{ IPV4_DEVCONF_FORWARDING, 1 },
	{ IPV4_DEVCONF_ROUTE_LOCALNET, 0 },
	{ IPV4_DEVCONF_PROXY_ARP, 0 },
	{ IPV4_DEVCONF_ARP_IGNORE, 1 },
	{ IPV4_DEVCONF_RP_FILTER, 1 },
	{ IPV4_DEVCONF_ACCEPT_REDIRECTS, 0 },
	{ IPV4_DEVCONF_SECURE_REDIRECTS, 0 },
	{ IPV4_DEVCONF_SEND_REDIRECTS, 0 },
	{ IPV4_DEVCONF_ACCEPT_SOURCE_ROUTE, 0 },
};

/* A tap's port.  What a guest sends teaches the bridge nothing: its MAC has
 * a static entry instead, so it can neither take another's traffic nor see
 * what is flooded.  Broadcast stays, ARP needs it. */
static const struct {
	int attr;
	uint8_t value;
} port_conf[] = {
	{ IFLA_BRPORT_ISOLATED, RULE(NET_ISOLATE) },
	{ IFLA_BRPORT_LEARNING, 0 }, { IFLA_BRPORT_UNICAST_FLOOD, 0 },
	{ IFLA_BRPORT_MCAST_FLOOD, 0 }, { IFLA_BRPORT_GUARD, 1 },
	{ IFLA_BRPORT_MODE, 0 }, /* no hairpin */
};

/* Sends m, or frees it when building it ran out of room. */
static int
talk_built(struct netd *nd, struct nl_msg *m, int built)
{
	if (built < 0) {
		nlmsg_free(m);
		return -ENOMEM;
	}
	return link_talk(nd->rt, m);
}

static int
put_devconf(struct nl_msg *m, const struct devconf *c, size_t n)
{
	struct nlattr *spec, *inet, *conf;
	size_t i;

	if ((spec = nla_nest_start(m, IFLA_AF_SPEC)) == NULL ||
	    (inet = nla_nest_start(m, AF_INET)) == NULL ||
	    (conf = nla_nest_start(m, IFLA_INET_CONF)) == NULL)
		return -1;
	for (i = 0; i < n; i++) {
		if (nla_put_u32(m, c[i].what, c[i].value) < 0)
			return -1;
	}
	(void)nla_nest_end(m, conf);
	(void)nla_nest_end(m, inet);
	(void)nla_nest_end(m, spec);
	return 0;
}

static int
set_devconf(struct netd *nd, int ifindex, const struct devconf *c, size_t n)
{
	struct nl_msg *m = link_msg(RTM_SETLINK, 0, AF_UNSPEC, ifindex, 0);

	if (m == NULL)
		return -ENOMEM;
	return talk_built(nd, m, put_devconf(m, c, n));
}

/* Before the link is up, or the kernel has made its link-local address. */
static int
no_ipv6(struct netd *nd, int ifindex)
{
	struct nl_msg *m = link_msg(RTM_SETLINK, 0, AF_UNSPEC, ifindex, 0);
	struct nlattr *spec, *inet6;
	int r = -1;

	if (m == NULL)
		return -ENOMEM;
	if ((spec = nla_nest_start(m, IFLA_AF_SPEC)) != NULL &&
	    (inet6 = nla_nest_start(m, AF_INET6)) != NULL) {
		r = nla_put_u8(m, IFLA_INET6_ADDR_GEN_MODE, GEN_MODE_NONE);
		(void)nla_nest_end(m, inet6);
		(void)nla_nest_end(m, spec);
	}
	r = talk_built(nd, m, r);
	/* a kernel without IPv6 has none to switch off */
	return r == -EAFNOSUPPORT ? 0 : r;
}

static int
bridge_create(struct netd *nd)
{
	struct nl_msg *m =
	    link_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, AF_UNSPEC, 0, 0);
	struct nlattr *info, *data;
	uint8_t mac[6];
	int r = -1;

	if (m == NULL)
		return -ENOMEM;
	policy_bridge_mac(&nd->conf, mac);
	if (nla_put_string(m, IFLA_IFNAME, nd->conf.bridge) == 0 &&
	    nla_put(m, IFLA_ADDRESS, sizeof(mac), mac) == 0 &&
	    (info = nla_nest_start(m, IFLA_LINKINFO)) != NULL &&
	    nla_put_string(m, IFLA_INFO_KIND, "bridge") == 0 &&
	    (data = nla_nest_start(m, IFLA_INFO_DATA)) != NULL) {
		/* no group of guests is ever asked for its members */
		r = nla_put_u8(m, IFLA_BR_MCAST_SNOOPING, 0);
		(void)nla_nest_end(m, data);
		(void)nla_nest_end(m, info);
	}
	return talk_built(nd, m, r);
}

static int
set_up(struct netd *nd, int ifindex, unsigned int also)
{
	return link_talk(nd->rt,
	    link_msg(RTM_SETLINK, 0, AF_UNSPEC, ifindex, IFF_UP | also));
}

static int
bridge_address(struct netd *nd, int ifindex)
{
	struct ifaddrmsg ifa = { .ifa_family = AF_INET,
		.ifa_prefixlen = nd->conf.prefix,
		.ifa_index = (uint32_t)ifindex };
	struct nl_msg *m =
	    nlmsg_alloc_simple(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
	int r = -1;

	if (m == NULL)
		return -ENOMEM;
	if (nlmsg_append(m, &ifa, sizeof(ifa), NLMSG_ALIGNTO) == 0 &&
	    nla_put_u32(m, IFA_LOCAL, nd->conf.gateway) == 0)
		r = nla_put_u32(m, IFA_ADDRESS, nd->conf.gateway);
	return talk_built(nd, m, r);
}

/* Ours by its MAC, which it has from the moment it exists: an alias would
 * come later, and a netd killed in between would not know its own bridge. */
static bool
bridge_is_ours(const struct netd *nd, const struct link *l)
{
	uint8_t mac[6];

	policy_bridge_mac(&nd->conf, mac);
	return strcmp(l->kind, "bridge") == 0 &&
	    memcmp(l->mac, mac, sizeof(mac)) == 0;
}

int
bridge_find(struct netd *nd, int *ifindex, struct err *e)
{
	const char *name = nd->conf.bridge;
	struct link l;
	int r;

	if ((r = link_find(nd->rt, name, &l)) < 0)
		return err_errno(e, r, "bridge %s", name);
	if (!bridge_is_ours(nd, &l))
		return err_set(e, -EEXIST,
		    "link %s exists and is not of our making: of another "
		    "subnet, or not mews's (ip link del %s)",
		    name, name);
	*ifindex = l.ifindex;
	return 0;
}

int
bridge_ensure(struct netd *nd, int *ifindex, struct err *e)
{
	const char *name = nd->conf.bridge;
	int br = 0, r;

	r = bridge_find(nd, &br, e);
	if (r == -ENODEV && (r = bridge_create(nd)) == 0)
		r = bridge_find(nd, &br, e);
	if (r < 0)
		return r == -EEXIST ? r : err_errno(e, r, "bridge %s", name);
	if ((r = no_ipv6(nd, br)) < 0 ||
	    (r = set_devconf(nd, br, bridge_conf, nitems(bridge_conf))) < 0)
		return err_errno(e, r, "bridge %s: settings", name);
	if ((r = set_up(nd, br, 0)) < 0 || (r = bridge_address(nd, br)) < 0)
		return err_errno(e, r, "bridge %s: address", name);
	*ifindex = br;
	return 0;
}

int
bridge_remove(struct netd *nd, struct err *e)
{
	int ifindex = 0, r;

	r = bridge_find(nd, &ifindex, e);
	if (r == 0)
		r = link_del(nd->rt, ifindex);
	if (r == 0 || r == -ENODEV || r == -EEXIST)
		return 0; /* nothing of ours is left */
	return err_errno(e, r, "remove bridge %s", nd->conf.bridge);
}

static int
port_join(struct netd *nd, const struct tap *t, int bridge)
{
	struct nl_msg *m = link_msg(RTM_SETLINK, 0, AF_UNSPEC, t->ifindex, 0);
	char alias[TAP_ALIAS];
	int r = -1;

	if (m == NULL)
		return -ENOMEM;
	tap_alias(&t->id, alias);
	/* the kernel keeps the length it is given: no NUL */
	if (nla_put(m, IFLA_IFALIAS, (int)strlen(alias), alias) == 0)
		r = nla_put_u32(m, IFLA_MASTER, (uint32_t)bridge);
	return talk_built(nd, m, r);
}

static int
port_settings(struct netd *nd, int ifindex)
{
	struct nl_msg *m = link_msg(RTM_SETLINK, 0, AF_BRIDGE, ifindex, 0);
	struct nlattr *info;
	size_t i;
	int r = -1;

	if (m == NULL)
		return -ENOMEM;
	info = nla_nest_start(m, IFLA_PROTINFO | NLA_F_NESTED);
	if (info != NULL) {
		for (i = 0, r = 0; i < nitems(port_conf) && r == 0; i++)
			r = nla_put_u8(
			    m, port_conf[i].attr, port_conf[i].value);
		(void)nla_nest_end(m, info);
	}
	return talk_built(nd, m, r);
}

static int
port_mac(struct netd *nd, const struct tap *t)
{
	struct ndmsg ndm = { .ndm_family = AF_BRIDGE,
		.ndm_ifindex = t->ifindex,
		.ndm_state = NUD_NOARP,
		.ndm_flags = NTF_MASTER };
	struct nl_msg *m =
	    nlmsg_alloc_simple(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
	int r = -1;

	if (m == NULL)
		return -ENOMEM;
	if (nlmsg_append(m, &ndm, sizeof(ndm), NLMSG_ALIGNTO) == 0)
		r = nla_put(m, NDA_LLADDR, sizeof(t->id.mac), t->id.mac);
	return talk_built(nd, m, r);
}

int
bridge_port(struct netd *nd, const struct tap *t, int bridge, struct err *e)
{
	int r;

	if ((r = no_ipv6(nd, t->ifindex)) < 0 ||
	    (r = port_join(nd, t, bridge)) < 0 ||
	    (r = port_settings(nd, t->ifindex)) < 0 ||
	    (r = port_mac(nd, t)) < 0)
		return err_errno(e, r, "port of slot %u", t->id.slot);
	return 0;
}

int
bridge_port_up(struct netd *nd, const struct tap *t, struct err *e)
{
	/* Frames to the LLDP address pass the bridge by, hooks and all, and
	 * would have the host answer ARP for every address it has. */
	int r = set_up(nd, t->ifindex, RULE(NET_PORT_ARP) ? IFF_NOARP : 0);

	return r == 0 ? 0 : err_errno(e, r, "port of slot %u up", t->id.slot);
}

/* A link group of our own (ip-link(8)): any number that nobody else uses. */
#define GROUP_DOOMED 0x6d657773

int
port_doom(struct netd *nd, const struct tap *t)
{
	struct nl_msg *m = link_msg(RTM_SETLINK, 0, AF_UNSPEC, t->ifindex, 0);

	if (m == NULL)
		return -ENOMEM;
	return talk_built(nd, m, nla_put_u32(m, IFLA_GROUP, GROUP_DOOMED));
}

int
port_reap(struct netd *nd, struct err *e)
{
	struct nl_msg *m = link_msg(RTM_DELLINK, 0, AF_UNSPEC, 0, 0);
	int r;

	if (m == NULL)
		return err_set(e, -ENOMEM, "remove taps");
	r = talk_built(nd, m, nla_put_u32(m, IFLA_GROUP, GROUP_DOOMED));
	/* they may all have died by themselves */
	return r == 0 || r == -ENODEV ? 0 : err_errno(e, r, "remove taps");
}

static int
uplink_forwarding(struct netd *nd, bool on, bool *guard, struct err *e)
{
	struct devconf c = { IPV4_DEVCONF_FORWARDING, on };
	const char *name = nd->conf.uplink;
	bool router = false;
	struct link l;
	int r;

	*guard = false;
	if (name[0] == '\0')
		return 0;
	if ((r = link_all_forwarding(nd->rt, &router)) < 0 ||
	    (r = link_find(nd->rt, name, &l)) < 0)
		return err_errno(e, r, "uplink %s", name);
	/* a host that routes anyway decides itself what else comes in there */
	if (router)
		return 0;
	*guard = on;
	if (l.forwarding == on)
		return 0;
	r = set_devconf(nd, l.ifindex, &c, 1);
	return r == 0 ? 0 : err_errno(e, r, "uplink %s: forwarding", name);
}

int
uplink_ensure(struct netd *nd, bool *guard, struct err *e)
{
	return uplink_forwarding(nd, true, guard, e);
}

int
uplink_restore(struct netd *nd, struct err *e)
{
	bool guard;
	int r = uplink_forwarding(nd, false, &guard, e);

	return r == -ENODEV ? 0 : r; /* nothing left to set back */
}
