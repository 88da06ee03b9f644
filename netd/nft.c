#include <arpa/inet.h>
#include <errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/util.h"
#include "netd/netd.h"

/*
 * Three tables named `mews`.  Family bridge sees what a tap says before the
 * bridge learns from it; family inet sees what is for the host or through
 * it; family ip counts what the host has to remember for whom.  The skeleton is
 * text, loaded once; afterwards only elements change. Text never comes from a
 * message: names are checked boot config, the rest is printed from numbers.
 *
 * Everything from a tap is dropped unless a rule here accepts it.  Accepting
 * rules name the packet's fields: a rule whose field cannot be read (a
 * packet cut short) does not match, so the packet falls to the drop.
 */
#define COUNTS "ip mews"
static const char *const tables[] = { "bridge mews", "inet mews", COUNTS };
#define REBUILT 2 /* the first of them, from nothing; the third remembers */

/* What one guest may have the host keep in mind (nf_conntrack): open at once,
 * and new ones a second after a first burst, because what was closed is kept
 * for up to two minutes more and not counted as open. */
#define NET_CONNS 4096
#define NET_CONNS_PER_S 500
#define NET_CONNS_BURST 6000
#define NET_SOURCES 65536 /* counted at once; an idle one is forgotten */

#define ADDR_TEXT INET_ADDRSTRLEN

/* Numbers only: names would be looked up in files that are not there. */
#define ETH_ARP_IPV4 "arp htype 1 arp ptype 0x0800 arp hlen 6 arp plen 4 "

static void
put_addr(uint32_t addr, char text[ADDR_TEXT])
{
	struct in_addr in = { .s_addr = addr };

	(void)inet_ntop(AF_INET, &in, text, ADDR_TEXT);
}

/* The three sets' elements of one tap, as set name and element. */
static void
put_element(FILE *f, const char *verb, const char *set, const char *key)
{
	(void)fprintf(f, "%s element bridge mews %s { %s }\n", verb, set, key);
}

static void
put_tap(FILE *f, const char *verb, const struct tap *t)
{
	const uint8_t *m = t->id.mac;
	char name[NET_IFNAME], addr[ADDR_TEXT], mac[18], key[128];

	tap_name(t->id.slot, name);
	put_addr(t->id.ipv4, addr);
	(void)snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0],
	    m[1], m[2], m[3], m[4], m[5]);
	(void)snprintf(key, sizeof(key), "\"%s\" . %s", name, mac);
	put_element(f, verb, "macs", key);
	(void)snprintf(key, sizeof(key), "\"%s\" . %s", name, addr);
	put_element(f, verb, "ips", key);
	(void)snprintf(key, sizeof(key), "\"%s\" . %s . %s", name, mac, addr);
	put_element(f, verb, "arps", key);
}

/* What a tap may say: IPv4 and ARP under its own MAC and address. */
static void
put_bridge(FILE *f)
{
	(void)fprintf(f,
	    "table bridge mews {\n"
	    "set macs { typeof iifname . ether saddr; size %d; }\n"
	    "set ips { typeof iifname . ip saddr; size %d; }\n"
	    "set arps { typeof iifname . arp saddr ether . arp saddr ip;"
	    " size %d; }\n",
	    NET_TAPS_MAX, NET_TAPS_MAX, NET_TAPS_MAX);
	(void)fprintf(f,
	    "chain from_tap {\n"
	    "ether type 0x0800 %s %s accept\n"
	    "ether type 0x0806 " ETH_ARP_IPV4 "%s %s accept\n"
	    "%s\n}\n",
	    RULE(NET_SPOOF_MAC) ? "iifname . ether saddr @macs" : "",
	    RULE(NET_SPOOF_IP) ? "iifname . ip saddr @ips" : "",
	    RULE(NET_SPOOF_MAC) ? "iifname . ether saddr @macs" : "",
	    RULE(NET_SPOOF_ARP)
		? "iifname . arp saddr ether . arp saddr ip @arps"
		: "",
	    RULE(NET_ETHERTYPE) ? "drop" : "accept");
	/* Frames to 01:80:c2:00:00:0x take a way around prerouting and come
	 * out on the tap itself; ...:0e (LLDP) passes this hook by as well,
	 * for that one see put_input() and bridge_port_up(). */
	(void)fprintf(f,
	    "chain prerouting {\n"
	    "type filter hook prerouting priority -300; policy accept;\n"
	    "iifname \"mw*\" goto from_tap\n}\n"
	    "chain input {\n"
	    "type filter hook input priority -300; policy accept;\n"
	    "%s\n}\n}\n",
	    RULE(NET_GROUP_ADDR)
		? "iifname \"mw*\" ether daddr & ff:ff:ff:ff:ff:f0 =="
		  " 01:80:c2:00:00:00 drop"
		: "");
}

/* A guest may answer what the host began, and ping the gateway. */
static void
put_input(FILE *f, const struct net_conf *c, const char *gw)
{
	(void)fprintf(f,
	    "chain from_guest {\n"
	    "ct state established,related ct direction reply accept\n"
	    "ip daddr %s icmp type 8 accept\n"
	    "%s\n}\n",
	    gw, RULE(NET_HOST_INPUT) ? "drop" : "accept");
	(void)fprintf(f,
	    "chain input {\n"
	    "type filter hook input priority 0; policy accept;\n"
	    "iifname \"%s\" goto from_guest\n"
	    "%s\n}\n",
	    c->bridge,
	    /* a port of the bridge is never itself where IP comes in */
	    RULE(NET_PORT_INPUT) ? "iifname \"mw*\" drop" : "");
}

/*
 * 169.254/16 is the host's own business: a cloud's metadata service lives
 * there and would take a masqueraded guest for the host.
 */
static void
put_uplink(FILE *f, const struct net_conf *c, const char *net)
{
	(void)fprintf(f,
	    "iifname \"%s\" oifname \"%s\" ip saddr %s/%u %s"
	    " ct state new,established,related accept\n"
	    "iifname \"%s\" oifname \"%s\" ct state established,related"
	    " ct direction reply accept\n",
	    c->bridge, c->uplink, net, c->prefix,
	    RULE(NET_LINK_LOCAL) ? "ip daddr != 169.254.0.0/16" : "", c->uplink,
	    c->bridge);
}

static void
put_forward(FILE *f, const struct net_conf *c, const char *net, bool guard)
{
	(void)fprintf(f,
	    "chain forward {\n"
	    "type filter hook forward priority 0; policy accept;\n");
	if (c->uplink[0] != '\0')
		put_uplink(f, c, net);
	/* bridge to bridge is a way around the ports' isolation */
	(void)fprintf(f, "iifname \"%s\" %s\n", c->bridge,
	    RULE(NET_FORWARD_ONLY_UPLINK) ? "drop" : "accept");
	(void)fprintf(f, "oifname \"%s\" %s\n", c->bridge,
	    RULE(NET_FORWARD_IN) ? "drop" : "accept");
	/* forwarding is on there for us alone: nobody else gains a router */
	if (guard && RULE(NET_UPLINK_GUARD))
		(void)fprintf(f, "iifname \"%s\" drop\n", c->uplink);
	(void)fprintf(f, "}\n");
}

/*
 * By source address, which the bridge's rules have made the guest's own.
 * A table of its own, whose sets outlive a rebuild: else a guest could begin
 * anew whenever another one's end has the rules rebuilt.
 */
static void
put_counts(FILE *f, const struct net_conf *c)
{
	(void)fprintf(f,
	    "table " COUNTS " {\n"
	    "set rates { type ipv4_addr; size %d; flags dynamic,timeout;"
	    " timeout 1m; }\n"
	    "set conns { type ipv4_addr; size %d; flags dynamic; }\n"
	    "chain prerouting {\n"
	    "type filter hook prerouting priority -150; policy accept;\n}\n}\n"
	    "flush chain " COUNTS " prerouting\n",
	    NET_SOURCES, NET_SOURCES);
	if (RULE(NET_CONN_RATE))
		(void)fprintf(f,
		    "add rule " COUNTS " prerouting iifname \"%s\" ct state new"
		    " update @rates { ip saddr limit rate over %d/second burst"
		    " %d packets } drop\n",
		    c->bridge, NET_CONNS_PER_S, NET_CONNS_BURST);
	if (RULE(NET_CONN_COUNT))
		(void)fprintf(f,
		    "add rule " COUNTS " prerouting iifname \"%s\" ct state new"
		    " add @conns { ip saddr ct count over %d } drop\n",
		    c->bridge, NET_CONNS);
}

static void
put_skeleton(FILE *f, const struct net_conf *c, bool guard, size_t ntables)
{
	char net[ADDR_TEXT], gw[ADDR_TEXT];
	size_t i;

	put_addr(c->subnet, net);
	put_addr(c->gateway, gw);
	/* add before delete: deleting what is not there would fail */
	for (i = 0; i < ntables; i++)
		(void)fprintf(
		    f, "add table %s\ndelete table %s\n", tables[i], tables[i]);
	put_counts(f, c);
	put_bridge(f);
	(void)fprintf(f, "table inet mews {\n");
	put_input(f, c, gw);
	put_forward(f, c, net, guard);
	if (c->uplink[0] != '\0')
		(void)fprintf(f,
		    "chain postrouting {\n"
		    "type nat hook postrouting priority 100; policy accept;\n"
		    "ip saddr %s/%u oifname \"%s\" masquerade\n}\n",
		    net, c->prefix, c->uplink);
	(void)fprintf(f, "}\n");
}

/* Ends the text and runs it as one transaction; f is closed. */
static int
run(struct netd *nd, FILE *f, char **text, struct err *e)
{
	const char *why;
	int r;

	if (fclose(f) != 0) {
		free(*text);
		return err_set(e, -ENOMEM, "rules: out of memory");
	}
	r = nft_run_cmd_from_buffer(nd->nft, *text);
	free(*text);
	if (r == 0)
		return 0;
	why = nft_ctx_get_error_buffer(nd->nft);
	return err_set(e, -EIO, "rules refused: %.*s",
	    why == NULL ? 0 : (int)strcspn(why, "\n"), why == NULL ? "" : why);
}

static FILE *
text_new(char **text, size_t *len, struct err *e)
{
	FILE *f = open_memstream(text, len);

	if (f == NULL)
		(void)err_set(e, -ENOMEM, "rules: out of memory");
	return f;
}

static int
rebuild(struct netd *nd, bool guard, size_t ntables, struct err *e)
{
	char *text = NULL;
	size_t len = 0, i;
	FILE *f;

	if ((f = text_new(&text, &len, e)) == NULL)
		return -ENOMEM;
	put_skeleton(f, &nd->conf, guard, ntables);
	for (i = 0; i < nitems(nd->taps); i++) {
		if (nd->taps[i].ifindex != 0)
			put_tap(f, "add", &nd->taps[i]);
	}
	return run(nd, f, &text, e);
}

int
nft_rebuild(struct netd *nd, bool guard, struct err *e)
{
	if (rebuild(nd, guard, REBUILT, e) == 0)
		return 0;
	/* the counts may be of another making, which cannot be added to */
	return rebuild(nd, guard, nitems(tables), e);
}

int
nft_tap_add(struct netd *nd, const struct tap *t, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	if ((f = text_new(&text, &len, e)) == NULL)
		return -ENOMEM;
	put_tap(f, "add", t);
	return run(nd, f, &text, e);
}

int
nft_tap_del(struct netd *nd, const struct tap *t, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	if ((f = text_new(&text, &len, e)) == NULL)
		return -ENOMEM;
	/* added first, so that an element lost to others is no error */
	put_tap(f, "add", t);
	put_tap(f, "delete", t);
	return run(nd, f, &text, e);
}

int
nft_remove(struct netd *nd, struct err *e)
{
	char *text = NULL;
	size_t len = 0, i;
	FILE *f;

	if ((f = text_new(&text, &len, e)) == NULL)
		return -ENOMEM;
	for (i = 0; i < nitems(tables); i++)
		(void)fprintf(
		    f, "add table %s\ndelete table %s\n", tables[i], tables[i]);
	return run(nd, f, &text, e);
}
