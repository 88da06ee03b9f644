#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>

#include "common/util.h"
#include "mewsd/conf_int.h"
#include "mewsd/table.h"

/* Descriptors that a room may hold: for each connection orchd's, its copy of
 * a stream's end and one that is on its way to apid or launchd
 * (WAITING_FDS_MAX, orchd/orchd.h); for each VM
 * launchd's pidfd, two channels, two FIFOs and two files of their words, and
 * one on its way; for everything else. */
#define NOFILE_CONN 3U
#define NOFILE_VM 8U
#define NOFILE_RESERVE 256U
#define STOP_KILL_MS 1000
#define UID_NOBODY 65534U

int
conf_path(const char *what, const char *dir, const char *sub,
    char ret[BOOT_PATH_MAX], struct err *e)
{
	int n = snprintf(ret, BOOT_PATH_MAX, "%s%s", dir, sub);

	if (dir[0] != '/')
		return err_set(e, -EINVAL, "%s: %s is not absolute", what, dir);
	if (n < 0 || n >= BOOT_PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%s: longer than %d bytes",
		    what, BOOT_PATH_MAX - 1);
	return 0;
}

/* DIR/lib, DIR/run, DIR/log, or the installed places of this instance. */
static int
check_dirs(struct conf *c, const char *root, struct err *e)
{
	char buf[3][BOOT_PATH_MAX + 64];
	const char *i = c->instance;
	int r;

	if (root != NULL) {
		(void)snprintf(buf[0], sizeof(buf[0]), "%s/lib", root);
		(void)snprintf(buf[1], sizeof(buf[1]), "%s/run", root);
		(void)snprintf(buf[2], sizeof(buf[2]), "%s/log", root);
	} else {
		(void)snprintf(buf[0], sizeof(buf[0]), "/var/lib/%s", i);
		(void)snprintf(buf[1], sizeof(buf[1]), "/run/%s", i);
		(void)snprintf(buf[2], sizeof(buf[2]), "/var/log/%s", i);
	}
	if ((r = conf_path("state directory", buf[0], "", c->lib, e)) < 0 ||
	    (r = conf_path("run directory", buf[1], "", c->run, e)) < 0 ||
	    (r = conf_path("log directory", buf[2], "", c->log, e)) < 0)
		return r;
	if (strlen(c->run) + strlen("/api.sock") >=
	    sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(e, -ENAMETOOLONG,
		    "run directory: %s/api.sock is longer than a socket's path "
		    "may be (%zu): choose a shorter DIR",
		    c->run, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	if ((root != NULL && (r = conf_host_dir(root, e)) < 0) ||
	    (r = conf_host_dir(c->lib, e)) < 0 ||
	    (r = conf_host_dir(c->run, e)) < 0)
		return r;
	if (c->stage[0] == '\0' &&
	    (r = conf_path("stage", c->lib, "/stage/current", c->stage, e)) < 0)
		return r;
	if ((r = conf_path(
		 "state directory", c->lib, "/vm", c->launchd.state, e)) < 0 ||
	    (r = conf_path("run directory", c->run, "/vm", c->launchd.run, e)) <
		0)
		return r;
	if ((r = conf_path("log directory", c->log, "/vm", c->launchd.log, e)) <
	    0)
		return r;
	return conf_path("stage", c->stage, "", c->launchd.stage, e);
}

/* The directory each room is shut into. */
static int
check_roots(struct conf *c, struct err *e)
{
	const struct room_row *row;
	uint32_t i;
	int r;

	for (i = 0; i < ROOM_MAX; i++) {
		row = room_row(i);
		if (row == NULL || row->root == NULL)
			continue;
		r = conf_path("directory", row->root_is_state ? c->lib : c->run,
		    row->root, c->root[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One user for two rooms would let one reach into the other. */
static int
check_users(const struct conf *c, struct err *e)
{
	uint32_t i, j;

	for (i = 0; i < ROOM_MAX; i++) {
		const struct room_user *u = &c->user[i];

		if (room_row(i) == NULL || room_row(i)->user_key == NULL)
			continue;
		if (u->uid == 0 || u->gid == 0)
			return err_set(e, -EPERM, "%s: must not be root",
			    room_row(i)->user_key);
		if (u->uid == UID_NOBODY || u->gid == UID_NOBODY)
			return err_set(e, -EPERM,
			    "%s: must not be nobody's (%u), who is others', too",
			    room_row(i)->user_key, UID_NOBODY);
		for (j = 0; j < i; j++) {
			if (c->user[j].uid == u->uid)
				return err_set(e, -EINVAL,
				    "%s and %s: one user for both would let "
				    "one room reach into the other",
				    room_row(j)->user_key,
				    room_row(i)->user_key);
		}
	}
	return 0;
}

/* Who may call is no VM and no room: a room that was taken over would ask for
 * itself. */
static int
check_callers(const struct conf *c, const char *key, const uint32_t *uids,
    size_t n, struct err *e)
{
	size_t i;
	uint32_t room;

	for (i = 0; i < n; i++) {
		if (uids_has(&c->uids, uids[i]))
			return err_set(e, -EINVAL,
			    "%s: uid %u is one of the VMs'", key, uids[i]);
		for (room = 0; room < ROOM_MAX; room++) {
			if (room_row(room) != NULL &&
			    room_row(room)->user_key != NULL &&
			    c->user[room].uid == uids[i])
				return err_set(e, -EINVAL,
				    "%s: uid %u is %s's, which is no caller",
				    key, uids[i], room_name(room));
		}
	}
	return 0;
}

/* What a VM or a one-shot room runs as must be nobody else: no room, no
 * person. */
static int
check_uids(struct conf *c, struct err *e)
{
	const struct uids *u = &c->uids;
	size_t i;
	int r;

	for (i = 0; i < ROOM_MAX; i++) {
		if (uids_has(u, c->user[i].uid))
			return err_set(e, -EINVAL,
			    "uid_base: the VMs' uids %u to %u include %s's",
			    u->base, u->base + u->count - 1,
			    room_name((uint32_t)i));
	}
	if ((r = check_callers(
		 c, "admins", c->orchd.admins, c->orchd.nadmins, e)) < 0 ||
	    (r = check_callers(
		 c, "users", c->orchd.users, c->orchd.nusers, e)) < 0 ||
	    (r = conf_host_uids(u, e)) < 0)
		return r;
	c->launchd.uid_base = u->base;
	c->launchd.uid_count = u->count;
	c->launchd.uid = c->user[ROOM_LAUNCHD].uid;
	c->launchd.gid = c->user[ROOM_LAUNCHD].gid;
	return 0;
}

/* Each VM has a slot of its own, and so has the accelerator's probe. */
static int
check_slots(const struct conf *c, struct err *e)
{
	const uint32_t vms = c->launchd.max_vms;

	if (vms < uids_slots(&c->uids))
		return 0;
	return err_set(e, -ERANGE,
	    "max_vms = %u: uid_count must be at least %u (%u for each VM and "
	    "as many for a probe); it is %u",
	    vms, UIDS_PLANES * (vms + 1), (unsigned int)UIDS_PLANES,
	    c->uids.count);
}

/* 0, the default: uid_base, which no other instance has either. */
static int
check_cids(struct conf *c, struct err *e)
{
	struct launchd_conf *l = &c->launchd;

	if (l->cid_base == 0)
		l->cid_base = c->uids.base;
	if (l->cid_base <= VMADDR_CID_HOST)
		return err_set(e, -ERANGE,
		    "vsock_cid_base = %u: up to %d they are the host's own",
		    l->cid_base, VMADDR_CID_HOST);
	return 0;
}

/* Descriptors are what VMs and connections cost: never promise more. */
static int
check_nofile(struct conf *c, struct err *e)
{
	const uint32_t vms = c->launchd.max_vms;
	uint32_t *conns = &c->apid.max_conns;
	struct rlimit rl;

	c->nofile = NOFILE_RESERVE + NOFILE_VM * vms;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 &&
	    rl.rlim_max < c->nofile + NOFILE_CONN * *conns) {
		if (rl.rlim_max < c->nofile + NOFILE_CONN * CONF_CONNS_MIN)
			return err_set(e, -ERANGE,
			    "max_vms = %u: needs %u descriptors, and the limit "
			    "is %llu (ulimit -Hn)",
			    vms, c->nofile + NOFILE_CONN * CONF_CONNS_MIN,
			    (unsigned long long)rl.rlim_max);
		*conns = (uint32_t)(rl.rlim_max - c->nofile) / NOFILE_CONN;
	}
	c->nofile += NOFILE_CONN * *conns;
	return 0;
}

static int
check_network(struct conf *c, struct err *e)
{
	const uint32_t hosts = (1U << (32 - c->orchd.prefix)) - 3;

	if (c->netd.bridge[0] == '\0' ||
	    strcmp(c->netd.bridge, c->netd.uplink) == 0)
		return err_set(e, -EINVAL,
		    "bridge: must have a name, and not the uplink's");
	if (c->launchd.max_vms > hosts)
		return err_set(e, -ERANGE,
		    "max_vms = %u: the subnet has room for %u",
		    c->launchd.max_vms, hosts);
	c->netd.max_taps = (uint16_t)c->launchd.max_vms;
	return 0;
}

/* orchd says why a VM keeps a caller waiting (503); before that apid must not
 * give up (504). */
static void
set_ask_ms(struct conf *c)
{
	uint32_t ms = c->orchd.ready_ms + APID_ASK_MARGIN_MS;
	size_t i;

	for (i = 0; i < nitems(c->orchd.stop_ms); i++)
		ms += c->orchd.stop_ms[i];
	c->apid.ask_ms = ms < APID_ASK_MIN_MS ? APID_ASK_MIN_MS : ms;
}

int
conf_check(struct conf *c, const char *root, struct err *e)
{
	int r;

	if ((r = check_dirs(c, root, e)) < 0 || (r = check_roots(c, e)) < 0 ||
	    (r = check_users(c, e)) < 0 || (r = check_uids(c, e)) < 0 ||
	    (r = check_slots(c, e)) < 0 || (r = check_cids(c, e)) < 0 ||
	    (r = check_network(c, e)) < 0 || (r = check_nofile(c, e)) < 0)
		return r;
	c->orchd.stop_ms[STOP_KILL] = STOP_KILL_MS;
	c->orchd.max_vms = c->launchd.max_vms;
	memcpy(c->orchd.uplink, c->netd.uplink, sizeof(c->orchd.uplink));
	c->orchd.max_vcpus = c->launchd.max_vcpus;
	c->orchd.max_mem_mib = c->launchd.max_mem_mib;
	c->orchd.max_conns = c->apid.max_conns;
	c->apid.nadmins = c->orchd.nadmins + 1; /* and root */
	c->apid.nusers = c->orchd.nusers;
	c->apid.held_max = APID_HELD_MAX;
	c->apid.write_ms = APID_WRITE_MS;
	set_ask_ms(c);
	return 0;
}
