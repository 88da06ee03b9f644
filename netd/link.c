#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "netd/link.h"

/* libnl's own numbers; several errnos share one, so this is the way back
 * only as far as netd tells cases apart. */
static int
nl_errno(int nle)
{
	static const struct {
		int nle, err;
	} map[] = {
		{ NLE_OBJ_NOTFOUND, -ENODEV },
		{ NLE_NODEV, -ENODEV },
		{ NLE_EXIST, -EEXIST },
		{ NLE_BUSY, -EBUSY },
		{ NLE_PERM, -EPERM },
		{ NLE_NOMEM, -ENOMEM },
		{ NLE_INVAL, -EINVAL },
		{ NLE_RANGE, -ERANGE },
		{ NLE_AF_NOSUPPORT, -EAFNOSUPPORT },
		{ NLE_OPNOTSUPP, -EOPNOTSUPP },
		{ NLE_DUMP_INTR, -EAGAIN },
	};
	size_t i;

	if (nle >= 0)
		return 0;
	for (i = 0; i < nitems(map); i++) {
		if (map[i].nle == -nle)
			return map[i].err;
	}
	return -EIO;
}

struct nl_msg *
link_msg(int type, int flags, int family, int ifindex, unsigned int up)
{
	struct ifinfomsg ifi = { .ifi_family = (unsigned char)family,
		.ifi_index = ifindex };
	struct nl_msg *m = nlmsg_alloc_simple(type, flags);

	if (m == NULL)
		return NULL;
	ifi.ifi_flags = ifi.ifi_change = up;
	if (nlmsg_append(m, &ifi, sizeof(ifi), NLMSG_ALIGNTO) < 0) {
		nlmsg_free(m);
		return NULL;
	}
	return m;
}

int
link_talk(struct nl_sock *rt, struct nl_msg *m)
{
	if (m == NULL)
		return -ENOMEM;
	return nl_errno(nl_send_sync(rt, m)); /* frees m */
}

/* IFLA_AF_SPEC of a link: AF_INET's devconf as an array of u32. */
static bool
read_forwarding(struct nlattr *spec)
{
	struct nlattr *inet, *conf;
	const uint32_t *v;

	if (spec == NULL ||
	    (inet = nla_find(nla_data(spec), nla_len(spec), AF_INET)) == NULL)
		return false;
	conf = nla_find(nla_data(inet), nla_len(inet), IFLA_INET_CONF);
	if (conf == NULL ||
	    nla_len(conf) < (int)(IPV4_DEVCONF_FORWARDING * sizeof(*v)))
		return false;
	v = nla_data(conf);
	return v[IPV4_DEVCONF_FORWARDING - 1] != 0; /* numbered from 1 */
}

static int
read_link(struct nlmsghdr *h, struct link *l)
{
	struct nlattr *a[IFLA_MAX + 1], *kind;
	const struct ifinfomsg *ifi;

	if (h->nlmsg_type != RTM_NEWLINK ||
	    nlmsg_parse(h, sizeof(*ifi), a, IFLA_MAX, NULL) < 0 ||
	    a[IFLA_IFNAME] == NULL)
		return -EBADMSG;
	memset(l, 0, sizeof(*l));
	ifi = nlmsg_data(h);
	l->ifindex = ifi->ifi_index;
	l->flags = ifi->ifi_flags;
	(void)nla_strlcpy(l->name, a[IFLA_IFNAME], sizeof(l->name));
	if (a[IFLA_MASTER] != NULL)
		l->master = (int)nla_get_u32(a[IFLA_MASTER]);
	if (a[IFLA_IFALIAS] != NULL)
		(void)nla_strlcpy(l->alias, a[IFLA_IFALIAS], sizeof(l->alias));
	if (a[IFLA_ADDRESS] != NULL)
		(void)nla_memcpy(l->mac, a[IFLA_ADDRESS], sizeof(l->mac));
	if (a[IFLA_LINKINFO] != NULL) {
		kind = nla_find(nla_data(a[IFLA_LINKINFO]),
		    nla_len(a[IFLA_LINKINFO]), IFLA_INFO_KIND);
		if (kind != NULL)
			(void)nla_strlcpy(l->kind, kind, sizeof(l->kind));
	}
	l->forwarding = read_forwarding(a[IFLA_AF_SPEC]);
	return 0;
}

struct found {
	struct link *ret;
	bool is_there;
};

static int
on_one(struct nl_msg *m, void *arg)
{
	struct found *f = arg;

	if (read_link(nlmsg_hdr(m), f->ret) == 0)
		f->is_there = true;
	return NL_OK;
}

/*
 * Sends m, gives every answer to fn, frees m.  A dump ends by itself; one
 * answer is followed by an acknowledgement of its own.
 */
static int
ask(struct nl_sock *rt, struct nl_msg *m, bool dump, nl_recvmsg_msg_cb_t fn,
    void *arg)
{
	int r;

	(void)nl_socket_modify_cb(rt, NL_CB_VALID, NL_CB_CUSTOM, fn, arg);
	r = nl_send_auto(rt, m);
	nlmsg_free(m);
	if (r >= 0)
		r = nl_recvmsgs_default(rt);
	if (r >= 0 && !dump)
		r = nl_wait_for_ack(rt);
	(void)nl_socket_modify_cb(rt, NL_CB_VALID, NL_CB_DEFAULT, NULL, NULL);
	return nl_errno(r);
}

int
link_find(struct nl_sock *rt, const char *name, struct link *ret)
{
	struct link l = { 0 };
	struct found f = { .ret = &l };
	struct nl_msg *m = link_msg(RTM_GETLINK, 0, AF_UNSPEC, 0, 0);
	int r;

	if (m == NULL || nla_put_string(m, IFLA_IFNAME, name) < 0) {
		nlmsg_free(m);
		return -ENOMEM;
	}
	if ((r = ask(rt, m, false, on_one, &f)) < 0)
		return r;
	if (!f.is_there)
		return -ENODEV;
	*ret = l;
	return 0;
}

struct walk {
	void (*fn)(const struct link *, void *);
	void *arg;
};

static int
on_many(struct nl_msg *m, void *arg)
{
	const struct walk *w = arg;
	struct link l;

	if (read_link(nlmsg_hdr(m), &l) == 0)
		w->fn(&l, w->arg);
	return NL_OK;
}

int
link_walk(
    struct nl_sock *rt, void (*fn)(const struct link *, void *), void *arg)
{
	struct walk w = { .fn = fn, .arg = arg };
	struct nl_msg *m = link_msg(RTM_GETLINK, NLM_F_DUMP, AF_UNSPEC, 0, 0);

	if (m == NULL)
		return -ENOMEM;
	return ask(rt, m, true, on_many, &w);
}

int
link_del(struct nl_sock *rt, int ifindex)
{
	return link_talk(rt, link_msg(RTM_DELLINK, 0, AF_UNSPEC, ifindex, 0));
}

static int
on_netconf(struct nl_msg *m, void *arg)
{
	struct nlattr *a[NETCONFA_MAX + 1];

	if (nlmsg_parse(nlmsg_hdr(m), sizeof(struct netconfmsg), a,
		NETCONFA_MAX, NULL) == 0 &&
	    a[NETCONFA_FORWARDING] != NULL)
		*(bool *)arg = nla_get_u32(a[NETCONFA_FORWARDING]) != 0;
	return NL_OK;
}

int
link_all_forwarding(struct nl_sock *rt, bool *ret)
{
	struct netconfmsg nc = { .ncm_family = AF_INET };
	struct nl_msg *m = nlmsg_alloc_simple(RTM_GETNETCONF, 0);

	if (m == NULL || nlmsg_append(m, &nc, sizeof(nc), NLMSG_ALIGNTO) < 0 ||
	    nla_put_s32(m, NETCONFA_IFINDEX, NETCONFA_IFINDEX_ALL) < 0) {
		nlmsg_free(m);
		return -ENOMEM;
	}
	return ask(rt, m, false, on_netconf, ret);
}
