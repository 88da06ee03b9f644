#include <arpa/inet.h>
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "common/fds.h"
#include "common/num.h"
#include "common/util.h"
#include "mewsd/mewsd.h"

#define CONF_MAX_BYTES 65536L
#define UID_LIMIT 0xfffffff0LL
/* Descriptors that a room may hold: for each connection orchd's and a copy on
 * its way to apid; for each VM launchd's pidfd and two channels, and one on
 * its way; for everything else. */
#define NOFILE_CONN 2U
#define NOFILE_VM 4U
#define NOFILE_RESERVE 256U
#define CONNS_MIN 4U

/* Every key with its default; a key that is not here is an error. */
static cfg_opt_t *
options(void)
{
	static char none[] = "{}"; /* libconfuse wants it writable */
	static cfg_opt_t opts[] = {
		CFG_STR("instance", "mews", CFGF_NONE),
		CFG_STR("log_level", "info", CFGF_NONE),
		CFG_STR("stage", NULL, CFGF_NONE),
		CFG_STR("user_orch", "_mews-orch", CFGF_NONE),
		CFG_STR("user_api", "_mews-api", CFGF_NONE),
		CFG_STR("user_api_admin", "_mews-apiadm", CFGF_NONE),
		CFG_STR("user_net", "_mews-net", CFGF_NONE),
		CFG_STR("user_launch", "_mews-launch", CFGF_NONE),
		CFG_STR_LIST("admins", none, CFGF_NONE),
		CFG_STR_LIST("users", none, CFGF_NONE),
		CFG_INT("uid_base", 0x7a000000, CFGF_NONE),
		CFG_INT("uid_count", 1024, CFGF_NONE),
		CFG_STR("subnet", "192.168.127.0/24", CFGF_NONE),
		CFG_STR("bridge", "mewsbr0", CFGF_NONE),
		CFG_STR("uplink", "", CFGF_NONE),
		CFG_STR("cgroup", "auto", CFGF_NONE),
		CFG_STR("cgroup_path", "", CFGF_NONE),
		CFG_STR("accel", "auto", CFGF_NONE),
		CFG_STR("vsock", "off", CFGF_NONE),
		CFG_INT("vsock_cid_base", 0, CFGF_NONE),
		CFG_INT("max_vms", 200, CFGF_NONE),
		CFG_INT("max_vcpus", 8, CFGF_NONE),
		CFG_INT("max_memory", 8192, CFGF_NONE),
		CFG_INT("max_connections", 1000, CFGF_NONE),
		CFG_INT("idle_timeout", 120, CFGF_NONE),
		CFG_INT("ready_timeout", 60, CFGF_NONE),
		CFG_INT("stop_agent_timeout", 10, CFGF_NONE),
		CFG_INT("stop_acpi_timeout", 5, CFGF_NONE),
		CFG_INT("stop_quit_timeout", 2, CFGF_NONE),
		CFG_INT("stop_term_timeout", 2, CFGF_NONE),
#ifdef MEWS_TEST
		CFG_INT_LIST("kill_at", none, CFGF_NONE),
#endif
		CFG_END(),
	};

	return opts;
}

/* libconfuse has no place for a caller's error, so the text waits here. */
static struct err *parse_err;
static const char *parse_path;

static void on_parse_error(cfg_t *cfg, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void
on_parse_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[160];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	(void)err_set(
	    parse_err, -EINVAL, "%s, line %d: %s", parse_path, cfg->line, text);
}

static int
get_num(cfg_t *cfg, const char *key, long min, long max, uint32_t *ret,
    struct err *e)
{
	long v = cfg_getint(cfg, key);

	if (v < min || v > max)
		return err_set(e, -ERANGE, "%s = %ld: must be %ld to %ld", key,
		    v, min, max);
	*ret = (uint32_t)v;
	return 0;
}

/* A user by number ("gid" is then the same) or by name. */
static int
get_user(
    const char *key, const char *text, struct room_user *ret, struct err *e)
{
	const struct passwd *pw;
	long long v;

	if (parse_num(text, 0, UID_LIMIT, &v) == 0) {
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
get_uids(cfg_t *cfg, const char *key, uint32_t *ret, size_t max, uint32_t *n,
    struct err *e)
{
	size_t i, have = cfg_size(cfg, key);
	struct room_user u = { 0 };
	int r;

	if (have > max)
		return err_set(e, -E2BIG, "%s: at most %zu users", key, max);
	for (i = 0; i < have; i++) {
		const char *text = cfg_getnstr(cfg, key, (unsigned int)i);

		if ((r = get_user(key, text, &u, e)) < 0)
			return r;
		ret[i] = u.uid;
	}
	*n = (uint32_t)have;
	return 0;
}

static int
get_enum(cfg_t *cfg, const char *key, const char *const *names, size_t n,
    uint32_t *ret, struct err *e)
{
	const char *text = cfg_getstr(cfg, key);
	size_t i;

	for (i = 0; i < n; i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (uint32_t)i;
			return 0;
		}
	}
	if (n == 2)
		return err_set(e, -EINVAL, "%s = %s: must be %s or %s", key,
		    text, names[0], names[1]);
	return err_set(e, -EINVAL, "%s = %s: must be %s, %s or %s", key, text,
	    names[0], names[1], names[2]);
}

static int
get_path(const char *what, const char *dir, const char *sub, char *ret,
    struct err *e)
{
	int n = snprintf(ret, BOOT_PATH_MAX, "%s%s", dir, sub);

	if (dir[0] != '/')
		return err_set(e, -EINVAL, "%s: %s is not absolute", what, dir);
	if (n < 0 || n >= BOOT_PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%s: longer than %d bytes",
		    what, BOOT_PATH_MAX - 1);
	return 0;
}

/* "a.b.c.d/n": the network, and the first host address as the gateway. */
static int
get_subnet(const char *text, struct conf *c, struct err *e)
{
	char buf[INET_ADDRSTRLEN + 4];
	struct in_addr in;
	long long prefix;
	uint32_t net, mask;
	char *slash;

	if (snprintf(buf, sizeof(buf), "%s", text) >= (int)sizeof(buf) ||
	    (slash = strchr(buf, '/')) == NULL)
		return err_set(
		    e, -EINVAL, "subnet = %s: must be a.b.c.d/n", text);
	*slash = '\0';
	if (inet_pton(AF_INET, buf, &in) != 1 ||
	    parse_num(slash + 1, 8, 30, &prefix) < 0)
		return err_set(e, -EINVAL,
		    "subnet = %s: must be a.b.c.d/n with n from 8 to 30", text);
	mask = ~0U << (32 - prefix);
	net = ntohl(in.s_addr);
	if ((net & ~mask) != 0)
		return err_set(e, -EINVAL,
		    "subnet = %s: has bits set past its prefix", text);
	c->orchd.subnet = net;
	c->orchd.prefix = (uint32_t)prefix;
	c->orchd.gateway = net + 1;
	c->netd.subnet = htonl(net);
	c->netd.gateway = htonl(net + 1);
	c->netd.prefix = (uint8_t)prefix;
	return 0;
}

static int
get_ifname(cfg_t *cfg, const char *key, char *ret, struct err *e)
{
	const char *s = cfg_getstr(cfg, key);
	static const char ok[] = "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	if (strlen(s) >= NET_IFNAME || strspn(s, ok) != strlen(s) ||
	    s[0] == '.' || s[0] == '-' || strncmp(s, "mw", 2) == 0)
		return err_set(e, -EINVAL,
		    "%s = %s: an interface name of at most %d letters, digits, "
		    "_, . and -, not beginning with mw",
		    key, s, NET_IFNAME - 1);
	(void)snprintf(ret, NET_IFNAME, "%s", s);
	return 0;
}

/* Below the mount of cgroup v2, as /proc/PID/cgroup spells it. */
static int
get_cgroup_path(cfg_t *cfg, char *ret, struct err *e)
{
	const char *path = cfg_getstr(cfg, "cgroup_path");
	size_t len = strlen(path);

	if (len == 0)
		return 0;
	if (len == 1 || path[len - 1] == '/')
		return err_set(e, -EINVAL,
		    "cgroup_path = %s: must not end in / (\"\" is mewsd's own "
		    "group)",
		    path);
	return get_path("cgroup_path", path, "", ret, e);
}

static int
get_paths(cfg_t *cfg, const char *root, struct conf *c, struct err *e)
{
	char buf[3][BOOT_PATH_MAX + 64];
	const char *stage = cfg_getstr(cfg, "stage"), *inst;
	int r;

	inst = cfg_getstr(cfg, "instance");
	if (inst[0] == '\0' || strlen(inst) >= sizeof(c->instance) ||
	    strspn(inst, "abcdefghijklmnopqrstuvwxyz0123456789-") !=
		strlen(inst))
		return err_set(e, -EINVAL,
		    "instance = %s: lower-case letters, digits and - only",
		    inst);
	(void)snprintf(c->instance, sizeof(c->instance), "%s", inst);
	if (root != NULL) {
		(void)snprintf(buf[0], sizeof(buf[0]), "%s/lib", root);
		(void)snprintf(buf[1], sizeof(buf[1]), "%s/run", root);
		(void)snprintf(buf[2], sizeof(buf[2]), "%s/log", root);
	} else {
		(void)snprintf(buf[0], sizeof(buf[0]), "/var/lib/%s", inst);
		(void)snprintf(buf[1], sizeof(buf[1]), "/run/%s", inst);
		(void)snprintf(buf[2], sizeof(buf[2]), "/var/log/%s", inst);
	}
	if ((r = get_path("state directory", buf[0], "", c->lib, e)) < 0 ||
	    (r = get_path("run directory", buf[1], "", c->run, e)) < 0 ||
	    (r = get_path("log directory", buf[2], "", c->log, e)) < 0)
		return r;
	if (stage == NULL)
		r = get_path("stage", c->lib, "/stage/current", c->stage, e);
	else
		r = get_path("stage", stage, "", c->stage, e);
	return r;
}

/* The directory each room is shut into. */
static int
get_roots(struct conf *c, struct err *e)
{
	static const struct {
		enum room room;
		const char *sub;
		bool state;
	} roots[] = {
		{ ROOM_ORCHD, "/store", true },
		{ ROOM_LAUNCHD, "/vm", false }, /* <uid>/keeper.sock */
		{ ROOM_API, "/empty", false },
		{ ROOM_API_ADMIN, "/empty", false },
		{ ROOM_NETD, "/empty", false },
	};
	size_t i;
	int r;

	for (i = 0; i < nitems(roots); i++) {
		const char *dir = roots[i].state ? c->lib : c->run;

		r = get_path(
		    "directory", dir, roots[i].sub, c->root[roots[i].room], e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
get_users(cfg_t *cfg, struct conf *c, struct err *e)
{
	static const struct {
		enum room room;
		const char *key;
	} rooms[] = {
		{ ROOM_ORCHD, "user_orch" },
		{ ROOM_API, "user_api" },
		{ ROOM_API_ADMIN, "user_api_admin" },
		{ ROOM_NETD, "user_net" },
		{ ROOM_LAUNCHD, "user_launch" },
	};
	size_t i, j;
	int r;

	for (i = 0; i < nitems(rooms); i++) {
		struct room_user *u = &c->user[rooms[i].room];

		r = get_user(rooms[i].key, cfg_getstr(cfg, rooms[i].key), u, e);
		if (r < 0)
			return r;
		if (u->uid == 0 || u->gid == 0)
			return err_set(
			    e, -EPERM, "%s: must not be root", rooms[i].key);
		for (j = 0; j < i; j++) {
			if (c->user[rooms[j].room].uid == u->uid)
				return err_set(e, -EINVAL,
				    "%s and %s: one user for both would let "
				    "one room reach into the other",
				    rooms[j].key, rooms[i].key);
		}
	}
	if ((r = get_uids(cfg, "admins", c->orchd.admins, ORCH_ADMINS_MAX,
		 &c->orchd.nadmins, e)) < 0)
		return r;
	return get_uids(
	    cfg, "users", c->orchd.users, ORCH_USERS_MAX, &c->orchd.nusers, e);
}

/* A VM's uid must be nobody else's: not a room's, not a person's. */
static int
check_uids(const struct conf *c, struct err *e)
{
	uint64_t first = c->launchd.uid_base;
	uint64_t end = first + c->launchd.uid_count;
	size_t i;

	for (i = 0; i < ROOM_MAX; i++) {
		uid_t u = c->user[i].uid;

		if (u >= first && u < end)
			return err_set(e, -EINVAL,
			    "uid_base: the VMs' uids %llu to %llu include %s's",
			    (unsigned long long)first,
			    (unsigned long long)end - 1,
			    room_name((uint32_t)i));
	}
	for (i = 0; i < c->orchd.nadmins; i++) {
		if (c->orchd.admins[i] >= first && c->orchd.admins[i] < end)
			return err_set(e, -EINVAL,
			    "admins: uid %u is one of the VMs'",
			    c->orchd.admins[i]);
	}
	for (i = 0; i < c->orchd.nusers; i++) {
		if (c->orchd.users[i] >= first && c->orchd.users[i] < end)
			return err_set(e, -EINVAL,
			    "users: uid %u is one of the VMs'",
			    c->orchd.users[i]);
	}
	return 0;
}

/* 0, the default: uid_base, which no other instance has either. */
static int
get_cid_base(cfg_t *cfg, struct launchd_conf *l, struct err *e)
{
	int r = get_num(cfg, "vsock_cid_base", 0, 0x7fffffff, &l->cid_base, e);

	if (r < 0)
		return r;
	if (l->cid_base == 0)
		l->cid_base = l->uid_base;
	if (l->cid_base <= VMADDR_CID_HOST)
		return err_set(e, -ERANGE,
		    "vsock_cid_base = %u: up to %d they are the host's own",
		    l->cid_base, VMADDR_CID_HOST);
	return 0;
}

static int
get_limits(cfg_t *cfg, struct conf *c, struct err *e)
{
	static const struct {
		const char *key;
		enum stop_rung rung;
	} rungs[] = {
		{ "stop_agent_timeout", STOP_AGENT },
		{ "stop_acpi_timeout", STOP_ACPI },
		{ "stop_quit_timeout", STOP_QUIT },
		{ "stop_term_timeout", STOP_TERM },
	};
	struct launchd_conf *l = &c->launchd;
	struct rlimit rl;
	uint32_t v = 0, ready = 0, hosts;
	size_t i;
	int r;

	if ((r = get_num(cfg, "uid_base", 1000, 0x7fffffff, &l->uid_base, e)) <
		0 ||
	    (r = get_num(cfg, "uid_count", 2, 65536, &l->uid_count, e)) < 0 ||
	    (r = get_num(cfg, "max_vms", 1, NET_TAPS_MAX, &l->max_vms, e)) <
		0 ||
	    (r = get_num(cfg, "max_vcpus", 1, LAUNCH_VCPUS_MAX, &l->max_vcpus,
		 e)) < 0 ||
	    (r = get_num(cfg, "max_memory", LAUNCH_MEM_MIN_MIB,
		 LAUNCH_MEM_MAX_MIB, &l->max_mem_mib, e)) < 0 ||
	    (r = get_num(cfg, "max_connections", CONNS_MIN, 100000,
		 &c->max_conns, e)) < 0 ||
	    (r = get_num(cfg, "idle_timeout", 1, 86400, &c->idle_ms, e)) < 0 ||
	    (r = get_num(cfg, "ready_timeout", 1, 3600, &ready, e)) < 0)
		return r;
	c->idle_ms *= 1000U;
	c->orchd.ready_ms = ready * 1000U;
	for (i = 0; i < nitems(rungs); i++) {
		if ((r = get_num(cfg, rungs[i].key, 0, 3600, &v, e)) < 0)
			return r;
		c->orchd.stop_ms[rungs[i].rung] = v * 1000U;
	}
	c->orchd.stop_ms[STOP_KILL] = 1000;
	/* the last uid is kept for the accelerator's probe */
	if (l->max_vms > l->uid_count - 1)
		return err_set(e, -ERANGE,
		    "max_vms = %u: uid_count must be at least one more",
		    l->max_vms);
	if ((r = get_cid_base(cfg, l, e)) < 0)
		return r;
	hosts = (1U << (32 - c->orchd.prefix)) - 3;
	if (l->max_vms > hosts)
		return err_set(e, -ERANGE,
		    "max_vms = %u: the subnet has room for %u", l->max_vms,
		    hosts);
	/* descriptors are what VMs and connections cost: never promise more */
	c->nofile = NOFILE_RESERVE + NOFILE_VM * l->max_vms;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 &&
	    rl.rlim_max < c->nofile + NOFILE_CONN * c->max_conns) {
		if (rl.rlim_max < c->nofile + NOFILE_CONN * CONNS_MIN)
			return err_set(e, -ERANGE,
			    "max_vms = %u: needs %u descriptors, and the limit "
			    "is %llu (ulimit -Hn)",
			    l->max_vms, c->nofile + NOFILE_CONN * CONNS_MIN,
			    (unsigned long long)rl.rlim_max);
		c->max_conns =
		    (uint32_t)(rl.rlim_max - c->nofile) / NOFILE_CONN;
	}
	c->nofile += NOFILE_CONN * c->max_conns;
	return check_uids(c, e);
}

static int
fill(cfg_t *cfg, const char *root, struct conf *c, struct err *e)
{
	static const char *const levels[] = { "error", "warn", "info",
		"debug" };
	static const char *const cgroups[] = { "auto", "require", "off" };
	static const char *const accels[] = { "auto", "tcg", "kvm" };
	static const char *const vsocks[] = { "auto", "off" };
	uint32_t level;
	int r;

	if ((r = get_paths(cfg, root, c, e)) < 0 ||
	    (r = get_cgroup_path(cfg, c->launchd.cgroup_path, e)) < 0 ||
	    (r = get_enum(
		 cfg, "log_level", levels, nitems(levels), &level, e)) < 0 ||
	    (r = get_enum(cfg, "cgroup", cgroups, nitems(cgroups),
		 &c->launchd.cgroup, e)) < 0 ||
	    (r = get_enum(cfg, "accel", accels, nitems(accels),
		 &c->launchd.accel, e)) < 0 ||
	    (r = get_enum(cfg, "vsock", vsocks, nitems(vsocks),
		 &c->launchd.vsock, e)) < 0 ||
	    (r = get_subnet(cfg_getstr(cfg, "subnet"), c, e)) < 0 ||
	    (r = get_ifname(cfg, "bridge", c->netd.bridge, e)) < 0 ||
	    (r = get_ifname(cfg, "uplink", c->netd.uplink, e)) < 0 ||
	    (r = get_users(cfg, c, e)) < 0 || (r = get_roots(c, e)) < 0 ||
	    (r = get_limits(cfg, c, e)) < 0)
		return r;
	if (c->netd.bridge[0] == '\0' ||
	    strcmp(c->netd.bridge, c->netd.uplink) == 0)
		return err_set(e, -EINVAL,
		    "bridge: must have a name, and not the uplink's");
	c->log_level = (enum log_level)level;
	c->netd.max_taps = (uint16_t)c->launchd.max_vms;
	c->orchd.max_vms = c->launchd.max_vms;
	c->orchd.max_vcpus = c->launchd.max_vcpus;
	c->orchd.max_mem_mib = c->launchd.max_mem_mib;
	c->orchd.max_conns = c->max_conns;
	if ((r = get_path(
		 "state directory", c->lib, "/vm", c->launchd.state, e)) < 0 ||
	    (r = get_path("run directory", c->run, "/vm", c->launchd.run, e)) <
		0 ||
	    (r = get_path("stage", c->stage, "", c->launchd.stage, e)) < 0)
		return r;
#ifdef MEWS_TEST
	if (cfg_size(cfg, "kill_at") == 4) {
		c->kill.room = (uint32_t)cfg_getnint(cfg, "kill_at", 0);
		c->kill.type = (uint32_t)cfg_getnint(cfg, "kill_at", 1);
		c->kill.nth = (uint32_t)cfg_getnint(cfg, "kill_at", 2);
		c->kill.when = (uint32_t)cfg_getnint(cfg, "kill_at", 3);
	}
#endif
	return 0;
}

/* Whoever can write it is root on this host, so only root may. */
static int
read_checked(const char *path, char **ret, struct err *e)
{
	struct stat st;
	char *buf = NULL;
	ssize_t n;
	int fd, r = 0;

	*ret = NULL;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_errno(e, -errno, "%s", path);
	if (fstat(fd, &st) < 0) {
		r = err_errno(e, -errno, "%s", path);
		close_fd(&fd);
		return r;
	}
	if (!S_ISREG(st.st_mode))
		r = err_set(e, -EINVAL, "%s: not a regular file", path);
	else if (RULE(CONF_OWNER) && st.st_uid != 0)
		r = err_set(e, -EPERM,
		    "%s belongs to uid %u; it must belong to root", path,
		    st.st_uid);
	else if (RULE(CONF_OWNER) && (st.st_mode & 022) != 0)
		r = err_set(e, -EPERM,
		    "%s can be written by others than root (chmod go-w)", path);
	else if (st.st_size > CONF_MAX_BYTES)
		r = err_set(e, -E2BIG, "%s: larger than %ld bytes", path,
		    CONF_MAX_BYTES);
	else if ((buf = calloc(1, (size_t)st.st_size + 1)) == NULL)
		r = err_set(e, -ENOMEM, "%s: out of memory", path);
	else if ((n = read(fd, buf, (size_t)st.st_size)) < 0)
		r = err_errno(e, -errno, "%s", path);
	else if (strlen(buf) != (size_t)n)
		r = err_set(e, -EINVAL, "%s: has a NUL byte", path);
	close_fd(&fd);
	if (r < 0) {
		free(buf);
		return r;
	}
	*ret = buf;
	return 0;
}

int
conf_load(const char *path, const char *root, struct conf *ret, struct err *e)
{
	char *text = NULL;
	cfg_t *cfg = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	e->msg[0] = '\0';
	if ((r = read_checked(path, &text, e)) < 0)
		return r;
	if ((cfg = cfg_init(options(), CFGF_NONE)) == NULL) {
		r = err_set(e, -ENOMEM, "%s: out of memory", path);
		goto out;
	}
	parse_err = e;
	parse_path = path;
	(void)cfg_set_error_function(cfg, on_parse_error);
	if (cfg_parse_buf(cfg, text) != CFG_SUCCESS) {
		if (e->msg[0] == '\0')
			(void)err_set(e, -EINVAL, "%s: not understood", path);
		r = -EINVAL;
		goto out;
	}
	r = fill(cfg, root, ret, e);
out:
	parse_err = NULL;
	if (cfg != NULL)
		(void)cfg_free(cfg);
	free(text);
	return r;
}
