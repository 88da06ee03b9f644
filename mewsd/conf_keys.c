#include <arpa/inet.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "common/num.h"
#include "common/util.h"
#include "mewsd/conf_int.h"

#define UID_LIMIT 0xfffffff0LL
#define UID_BASE_MAX 0x7fffffff
_Static_assert(UID_BASE_MAX < UIDS_END - UIDS_COUNT_MAX,
    "uids_check() has no more to say");

static void *
place(struct conf *c, const struct conf_key *k)
{
	return (char *)c + k->off;
}

static int
set_num(cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	const long v = cfg_getint(cfg, k->name);
	const uint32_t num = (uint32_t)v;

	if (v < k->min || v > k->max)
		return err_set(e, -ERANGE, "%s = %ld: must be %ld to %ld",
		    k->name, v, k->min, k->max);
	memcpy(place(c, k), &num, sizeof(num));
	return 0;
}

/* Seconds for people, milliseconds for rooms. */
static int
set_seconds(cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	uint32_t v;
	int r = set_num(cfg, k, c, e);

	if (r < 0)
		return r;
	memcpy(&v, place(c, k), sizeof(v));
	v *= 1000U;
	memcpy(place(c, k), &v, sizeof(v));
	return 0;
}

/* One of the words; its place among them is the number. */
static int
set_word(cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	const char *text = cfg_getstr(cfg, k->name);
	char list[64] = "";
	uint32_t i;

	for (i = 0; k->words[i] != NULL; i++) {
		if (strcmp(text, k->words[i]) == 0) {
			memcpy(place(c, k), &i, sizeof(i));
			return 0;
		}
	}
	for (i = 0; k->words[i] != NULL; i++) {
		const char *sep = k->words[i + 1] == NULL ? " or " : ", ";

		(void)snprintf(list + strlen(list), sizeof(list) - strlen(list),
		    "%s%s", i == 0 ? "" : sep, k->words[i]);
	}
	return err_set(e, -EINVAL, "%s = %s: must be %s", k->name, text, list);
}

int
conf_user(
    const char *key, const char *text, struct room_user *ret, struct err *e)
{
	const struct passwd *pw;
	long long v;

	if (num_parse(text, 0, UID_LIMIT, &v) == 0) {
		ret->uid = (uid_t)v;
		ret->gid = (gid_t)v;
		return 0;
	}
	if ((pw = getpwnam(text)) == NULL)
		return err_set(e, -ENOENT,
		    "%s: there is no user %s on this host", key, text);
	ret->uid = pw->pw_uid;
	ret->gid = pw->pw_gid;
	return 0;
}

static int
set_uids(cfg_t *cfg, const struct conf_key *k, uint32_t *ret, uint32_t *n,
    struct err *e)
{
	const size_t max = (size_t)k->max, have = cfg_size(cfg, k->name);
	struct room_user u = { 0 };
	size_t i;
	int r;

	if (have > max)
		return err_set(
		    e, -E2BIG, "%s: at most %zu users", k->name, max);
	for (i = 0; i < have; i++) {
		const char *text = cfg_getnstr(cfg, k->name, (unsigned int)i);

		if ((r = conf_user(k->name, text, &u, e)) < 0)
			return r;
		ret[i] = u.uid;
	}
	*n = (uint32_t)have;
	return 0;
}

static int
set_admins(cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	return set_uids(cfg, k, c->orchd.admins, &c->orchd.nadmins, e);
}

static int
set_users(cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	return set_uids(cfg, k, c->orchd.users, &c->orchd.nusers, e);
}

static int
set_instance(
    cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	const char *s = cfg_getstr(cfg, k->name);

	if (s[0] == '\0' || strlen(s) >= sizeof(c->instance) ||
	    strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(s))
		return err_set(e, -EINVAL,
		    "%s = %s: lower-case letters, digits and - only", k->name,
		    s);
	(void)snprintf(c->instance, sizeof(c->instance), "%s", s);
	return 0;
}

/* Without one it is below the state directory. */
static int
set_stage(cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	const char *path = cfg_getstr(cfg, k->name);

	return path == NULL ? 0 : conf_path(k->name, path, "", c->stage, e);
}

/* "a.b.c.d/n": the network, and the first host address as the gateway. */
static int
set_subnet(cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	const char *text = cfg_getstr(cfg, k->name);
	char buf[INET_ADDRSTRLEN + 4];
	struct in_addr in;
	long long prefix;
	uint32_t net, mask;
	char *slash;

	if (snprintf(buf, sizeof(buf), "%s", text) >= (int)sizeof(buf) ||
	    (slash = strchr(buf, '/')) == NULL)
		return err_set(
		    e, -EINVAL, "%s = %s: must be a.b.c.d/n", k->name, text);
	*slash = '\0';
	if (inet_pton(AF_INET, buf, &in) != 1 ||
	    num_parse(slash + 1, k->min, k->max, &prefix) < 0)
		return err_set(e, -EINVAL,
		    "%s = %s: must be a.b.c.d/n with n from %ld to %ld",
		    k->name, text, k->min, k->max);
	mask = ~0U << (32 - prefix);
	net = ntohl(in.s_addr);
	if ((net & ~mask) != 0)
		return err_set(e, -EINVAL,
		    "%s = %s: has bits set past its prefix", k->name, text);
	if (net >> 24 == 0 || net >> 24 == 127 || net >> 24 >= 224)
		return err_set(e, -EINVAL,
		    "%s = %s: no host can have an address of 0/8, 127/8, 224/4 "
		    "or 240/4",
		    k->name, text);
	c->orchd.subnet = net;
	c->orchd.prefix = (uint32_t)prefix;
	c->orchd.gateway = net + 1;
	c->netd.subnet = htonl(net);
	c->netd.gateway = htonl(net + 1);
	c->netd.prefix = (uint8_t)prefix;
	return 0;
}

static int
set_ifname(cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	const char *s = cfg_getstr(cfg, k->name);
	static const char ok[] = "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	if (strlen(s) >= NET_IFNAME || strspn(s, ok) != strlen(s) ||
	    s[0] == '.' || s[0] == '-' || strncmp(s, "mw", 2) == 0)
		return err_set(e, -EINVAL,
		    "%s = %s: an interface name of at most %d letters, digits, "
		    "_, . and -, not beginning with mw",
		    k->name, s, NET_IFNAME - 1);
	if (strcmp(s, "lo") == 0 || strcmp(s, "all") == 0 ||
	    strcmp(s, "default") == 0)
		return err_set(e, -EINVAL,
		    "%s = %s: that name is the kernel's own", k->name, s);
	(void)snprintf(place(c, k), NET_IFNAME, "%s", s);
	return 0;
}

static bool
has_dots(const char *path)
{
	size_t len;

	for (; *path != '\0'; path += len) {
		path++; /* the slash, also of what is not absolute */
		len = strcspn(path, "/");
		if (len == 0 || strncmp(path, "..", len) == 0)
			return true;
	}
	return false;
}

/* Below the mount of cgroup v2, as /proc/PID/cgroup spells it. */
static int
set_cgroup_path(
    cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	const char *path = cfg_getstr(cfg, k->name);
	const size_t len = strlen(path);

	if (len == 0)
		return 0;
	if (len == 1 || path[len - 1] == '/')
		return err_set(e, -EINVAL,
		    "%s = %s: must not end in / (\"\" is mewsd's own group)",
		    k->name, path);
	if (has_dots(path))
		return err_set(e, -EINVAL,
		    "%s = %s: must have no component that is empty, . or ..",
		    k->name, path);
	return conf_path(k->name, path, "", c->launchd.cgroup_path, e);
}

#ifdef MEWS_TEST
static int
set_kill_at(cfg_t *cfg, const struct conf_key *k, struct conf *c, struct err *e)
{
	if (cfg_size(cfg, k->name) == 0)
		return 0;
	if (cfg_size(cfg, k->name) != 4)
		return err_set(e, -EINVAL, "%s: must be four numbers", k->name);
	c->kill.room = (uint32_t)cfg_getnint(cfg, k->name, 0);
	c->kill.type = (uint32_t)cfg_getnint(cfg, k->name, 1);
	c->kill.nth = (uint32_t)cfg_getnint(cfg, k->name, 2);
	c->kill.when = (uint32_t)cfg_getnint(cfg, k->name, 3);
	return 0;
}
#endif

static const char *const log_levels[] = { "error", "warn", "info", "debug",
	NULL };
static const char *const cgroups[] = { "auto", "require", "off", NULL };
static const char *const accels[] = { "auto", "tcg", "kvm", NULL };
static const char *const vsocks[] = { "auto", "off", NULL };

#define AT(field) offsetof(struct conf, field)
#define NUM(key, field, def, lo, hi)                                     \
	{                                                                \
		.name = (key), .set = set_num, .off = AT(field),         \
		.type = CFGT_INT, .num = (def), .min = (lo), .max = (hi) \
	}
#define SECONDS(key, field, def, lo, hi)                                 \
	{                                                                \
		.name = (key), .set = set_seconds, .off = AT(field),     \
		.type = CFGT_INT, .num = (def), .min = (lo), .max = (hi) \
	}
#define WORD(key, field, def, list_)                              \
	{                                                         \
		.name = (key), .set = set_word, .off = AT(field), \
		.type = CFGT_STR, .text = (def), .words = (list_) \
	}
#define TEXT(key, fn, def)                                                  \
	{                                                                   \
		.name = (key), .set = (fn), .type = CFGT_STR, .text = (def) \
	}

/* A key that is not here, and no room's user_key (table.c), is an error. */
const struct conf_key conf_keys[] = {
	TEXT("instance", set_instance, "mews"),
	WORD("log_level", log_level, "info", log_levels),
	TEXT("stage", set_stage, NULL),
	{ .name = "admins",
	    .set = set_admins,
	    .type = CFGT_STR,
	    .list = true,
	    .max = ORCH_ADMINS_MAX },
	{ .name = "users",
	    .set = set_users,
	    .type = CFGT_STR,
	    .list = true,
	    .max = ORCH_USERS_MAX },
	NUM("uid_base", uids.base, 0x7a000000, UIDS_MIN, UID_BASE_MAX),
	NUM("uid_count", uids.count, 16384, UIDS_COUNT_MIN, UIDS_COUNT_MAX),
	{ .name = "subnet",
	    .set = set_subnet,
	    .type = CFGT_STR,
	    .text = "192.168.127.0/24",
	    .min = 8,
	    .max = 30 },
	{ .name = "bridge",
	    .set = set_ifname,
	    .off = AT(netd.bridge),
	    .type = CFGT_STR,
	    .text = "mewsbr0" },
	{ .name = "uplink",
	    .set = set_ifname,
	    .off = AT(netd.uplink),
	    .type = CFGT_STR,
	    .text = "" },
	WORD("cgroup", launchd.cgroup, "auto", cgroups),
	TEXT("cgroup_path", set_cgroup_path, ""),
	WORD("accel", launchd.accel, "auto", accels),
	WORD("vsock", launchd.vsock, "off", vsocks),
	NUM("vsock_cid_base", launchd.cid_base, 0, 0, 0x7fffffff),
	NUM("max_vms", launchd.max_vms, 200, 1, NET_TAPS_MAX),
	NUM("max_vcpus", launchd.max_vcpus, 8, 1, MACHINE_VCPUS_MAX),
	NUM("max_memory", launchd.max_mem_mib, 8192, MACHINE_MEM_MIN_MIB,
	    MACHINE_MEM_MAX_MIB),
	NUM("max_connections", apid.max_conns, 1000, CONF_CONNS_MIN, 100000),
	SECONDS("idle_timeout", apid.idle_ms, 120, 1, 86400),
	SECONDS("ready_timeout", orchd.ready_ms, 60, 1, 3600),
	SECONDS("temporary_timeout", orchd.temporary_ms, 60, 10, 86400),
	SECONDS("orphan_timeout", orchd.orphan_ms, 86400, 0, 2592000),
	SECONDS("stop_agent_timeout", orchd.stop_ms[STOP_AGENT], 10, 0, 3600),
	SECONDS("stop_acpi_timeout", orchd.stop_ms[STOP_ACPI], 5, 0, 3600),
	SECONDS("stop_quit_timeout", orchd.stop_ms[STOP_QUIT], 2, 0, 3600),
	SECONDS("stop_term_timeout", orchd.stop_ms[STOP_TERM], 2, 0, 3600),
#ifdef MEWS_TEST
	{ .name = "kill_at",
	    .set = set_kill_at,
	    .type = CFGT_INT,
	    .list = true },
#endif
};
const size_t conf_nkeys = nitems(conf_keys);
