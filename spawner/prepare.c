#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/uids.h"
#include "spawner/group.h"
#include "spawner/jail.h"
#include "spawner/proc.h"
#include "spawner/verbs.h"
#include "spawner/vsock.h"

#define PREPARE_DEADLINE_MS 5000

/* A jail that is being made, and what is open meanwhile: all of it closed again
 * at the end. */
struct making {
	struct spawner *sp;
	const struct jail_kind_row *kind;
	const struct machine *mach;
	struct record rec; /* what it will be */
	char name[JAIL_NAME_MAX + 1];
	int run; /* run/vm/<name> */
	int state; /* lib/vm/<name> */
	int fds[JAIL_FDS_MAX]; /* pid 1's, as its row lists them */
	int log;
	int cgroup;
	int gate[2]; /* ours, the child's */
	int pidfd;
};

/* Host policy (I2): none of these numbers is orchd's to choose. */
static int
check_policy(const struct spawner *sp, const struct spawn_prepare *p,
    const struct machine *m, struct err *e)
{
	const struct launchd_conf *c = &sp->conf;
	const struct uids u = { c->uid_base, c->uid_count };
	const uint32_t slots = uids_slots(&u);
	const bool probe = (m->flags & MACHINE_PROBE) != 0;

	if (sp->stage_why[0] != '\0')
		return err_set(e, -ENOENT,
		    "staged tree: %.120s: mend it, then restart mewsd",
		    sp->stage_why);
	if (p->slot >= slots) /* memory safety: no rule */
		return err_set(e, -EPERM, "slot %u is outside", p->slot);
	if (probe && p->slot != slots - 1)
		return err_set(e, -EPERM, "the probe has the last slot");
	if (RULE(POLICY_SLOT) && !probe &&
	    (p->slot >= c->max_vms || p->slot >= slots - 1))
		return err_set(e, -EPERM, "slot %u: host policy allows %u VMs",
		    p->slot, c->max_vms);
	if (RULE(POLICY_VCPUS) && m->vcpus_max > c->max_vcpus)
		return err_set(e, -EPERM, "%u vcpus: host policy allows %u",
		    m->vcpus_max, c->max_vcpus);
	if (RULE(POLICY_MEM) && m->mem_max_mib > c->max_mem_mib)
		return err_set(e, -EPERM, "%u MiB: host policy allows %u",
		    m->mem_max_mib, c->max_mem_mib);
	if (m->accel == ACCEL_UNKNOWN)
		return err_set(e, -EINVAL, "no accelerator");
	if (m->accel == ACCEL_KVM && !probe && sp->caps.accel != ACCEL_KVM)
		return err_set(e, -EPERM, "this host has no usable KVM");
	return 0;
}

/* Each uid that it will have must be nobody's yet (I15): neither that of a
 * jail there is, dead or alive, nor of any process. */
static int
check_free(struct spawner *sp, const struct making *m, struct err *e)
{
	const struct held *other;
	char theirs[JAIL_NAME_MAX + 1];
	uint32_t i, uid = 0;
	pid_t pid;

	if (held_find(sp, &m->rec.jail) != NULL)
		return err_set(e, -EEXIST, "jail %s exists", m->name);
	if ((other = held_clash(sp, &m->rec, &uid)) != NULL) {
		jail_name(&other->rec.jail, theirs);
		return err_set(e, -EBUSY,
		    "slot %u is in use: uid %u is jail %s's", m->rec.slot, uid,
		    theirs);
	}
	for (i = 0; i < m->rec.nprogs; i++) {
		uid = m->rec.prog[i].uid;
		if (RULE(UID_UNUSED) && proc_uid_busy(uid, &pid))
			return err_set(e, -EBUSY,
			    "uid %u still has a process: %d", uid, (int)pid);
	}
	return 0;
}

/* A jail's hypervisor is the one that its machine names, and no other. */
static int
add_prog(struct making *m, unsigned int role, struct err *e)
{
	const struct spawner *sp = m->sp;
	const struct jail_prog *p = jail_prog(role);
	const bool is_vmm = role == JAIL_VMM;
	const struct file_id *file =
	    is_vmm ? &sp->vmm[m->mach->backend] : &sp->prog[role];
	struct record *rec = &m->rec;

	if (file->ino == 0)
		return err_set(e, -ENOENT, "this staged tree has no %s",
		    is_vmm ? backend_row(m->mach->backend)->path : p->path);
	rec->prog[rec->nprogs++] = (struct record_prog){ .role = role,
		.uid = rec->uid,
		.filters_min = p->filters_min,
		.filters_max = p->filters_max,
		.flags = p->userns ? PROG_USERNS : 0,
		.file = *file };
	return 0;
}

/* What it will be, as far as that is known before it is made. */
static int
fill_record(struct making *m, const struct spawn_prepare *p, struct err *e)
{
	const struct spawner *sp = m->sp;
	const struct uids u = { sp->conf.uid_base, sp->conf.uid_count };
	struct record *rec = &m->rec;
	unsigned int role;
	int r;

	*rec = (struct record){ .magic = RECORD_MAGIC,
		.version = RECORD_VERSION,
		.len = sizeof(*rec),
		.jail = p->jail,
		.slot = p->slot,
		.cgroup = sp->cg.used,
		.kvm = m->kind->kvm && m->mach->accel == ACCEL_KVM,
		.filters = sp->filters };
	memcpy(rec->boot_id, sp->boot_id, sizeof(rec->boot_id));
	group_of(sp, &p->jail, rec->group);
	if ((r = uids_at(&u, m->kind->plane, p->slot, &rec->uid)) < 0)
		return err_set(e, r, "slot %u has no uid", p->slot);
	r = add_prog(m, m->kind->first, e);
	for (role = 0; role < JAIL_ROLES_MAX && r == 0; role++) {
		if (role != m->kind->first && jail_holds(p->jail.kind, role))
			r = add_prog(m, role, e);
	}
	return r;
}

/* Both parents are root's alone, so no name below can be anyone else's. */
static int
make_dir(int parent, const char *name, mode_t mode, int *ret)
{
	struct stat st;
	int fd;

	if (mkdirat(parent, name, mode) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(
	    parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_uid != 0 || (st.st_mode & 022) != 0 ||
	    fchmod(fd, mode) < 0) {
		fd_close(&fd);
		return -EPERM;
	}
	*ret = fd;
	return 0;
}

/*
 * A socket bound by root in a folder of root's, which only launchd may
 * connect to; whoever is inside the jail later listens on it (I12).
 */
static int
bind_socket(const struct spawner *sp, int dir, const char *name, int *ret)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	mode_t old;
	int fd, r = 0;

	(void)unlinkat(dir, name, 0);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* relative to dir: the whole path may not fit an address */
	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", name);
	old = umask(0177);
	if (fchdir(dir) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    fchownat(
		dir, name, sp->conf.uid, sp->conf.gid, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	(void)umask(old);
	if (chdir("/") < 0)
		r = -errno;
	if (r < 0)
		fd_close(&fd);
	*ret = fd;
	return r;
}

/*
 * What the jail writes goes into FIFOs, whose other end launchd opens by name:
 * the VM gets descriptors, and neither a file to fill nor one to map.  They can
 * be read and written, so that no writer meets a pipe without a reader.
 */
static int
fifo_make(int dir, const char *name)
{
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return mkfifoat(dir, name, 0600) < 0 ? -errno : 0;
}

static int
fifo_open(int dir, const char *name, int *ret)
{
	*ret = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

/* Last: what is launchd's cannot be opened here any more. */
static int
fifo_give(const struct making *m, const char *name)
{
	if (fchmodat(m->run, name, 0400, 0) < 0 ||
	    fchownat(m->run, name, m->sp->conf.uid, m->sp->conf.gid,
		AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

/* Without it everything goes over virtio-serial, as on a host that has no such
 * device: no reason not to start. */
static void
make_vsock(struct making *m, int *ret)
{
	const struct spawner *sp = m->sp;
	int fd;

	if (!sp->caps.vsock || (m->mach->flags & MACHINE_PROBE) != 0)
		return;
	if ((fd = vsock_make(sp, m->rec.slot, &m->rec.cid)) >= 0)
		*ret = fd;
	else
		log_warn("jail %s: no AF_VSOCK at %u: %s", m->name,
		    sp->conf.cid_base + m->rec.slot, strerrordesc_np(-fd));
}

static int
make_fd(struct making *m, enum jail_fd what, int *ret)
{
	switch (what) {
	case JAIL_FD_KEEPER:
		return bind_socket(m->sp, m->run, "keeper.sock", ret);
	case JAIL_FD_WARDEN:
		return bind_socket(m->sp, m->run, "warden.sock", ret);
	case JAIL_FD_CONSOLE:
		return fifo_open(m->run, JAIL_FIFO_CONSOLE, ret);
	case JAIL_FD_VMM_LOG:
		return fifo_open(m->run, JAIL_FIFO_LOG, ret);
	case JAIL_FD_VSOCK:
		make_vsock(m, ret);
		return 0;
	case JAIL_FD_NONE:
		break;
	}
	return -EINVAL;
}

static int
make_files(struct making *m, struct err *e)
{
	const uint8_t *row = jail_prog(m->kind->first)->fds;
	int i, r;

	if ((r = make_dir(m->sp->state_fd, m->name, 0700, &m->state)) < 0)
		return err_errno(e, r, "lib/vm/%s", m->name);
	if ((r = make_dir(m->sp->run_fd, m->name, 0711, &m->run)) < 0)
		return err_errno(e, r, "run/vm/%s", m->name);
	if ((r = fifo_make(m->run, JAIL_FIFO_LOG)) < 0 ||
	    (r = fifo_make(m->run, JAIL_FIFO_CONSOLE)) < 0 ||
	    (r = fifo_open(m->run, JAIL_FIFO_LOG, &m->log)) < 0)
		return err_errno(e, r, "log of jail %s", m->name);
	for (i = 0; row[i] != JAIL_FD_NONE; i++) {
		if ((r = make_fd(m, row[i], &m->fds[i])) < 0)
			return err_errno(e, r, "files of jail %s", m->name);
	}
	if ((r = fifo_give(m, JAIL_FIFO_LOG)) < 0 ||
	    (r = fifo_give(m, JAIL_FIFO_CONSOLE)) < 0)
		return err_errno(e, r, "log of jail %s", m->name);
	return 0;
}

static pid_t
start_child(struct making *m, const struct jail *j)
{
	uint64_t flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWPID |
	    CLONE_NEWIPC | CLONE_NEWUTS;
	struct clone_args args = {
		.pidfd = (uint64_t)(uintptr_t)&m->pidfd,
		.exit_signal = SIGCHLD,
	};
	pid_t pid;

	if (RULE(JAIL_NET))
		flags |= CLONE_NEWNET;
	if (RULE(JAIL_CGROUP) && m->cgroup >= 0) {
		flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)m->cgroup;
	}
	args.flags = flags;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		/* our end of the gate, or its end would never show */
		(void)close(m->gate[0]);
		jail_child(j);
	}
	return pid < 0 ? -errno : pid;
}

static int
make_record(struct making *m, pid_t pid)
{
	int r;

	m->rec.pid = (uint32_t)pid;
	if ((r = proc_start_time(pid, &m->rec.start_time)) < 0 ||
	    (r = proc_ns_all(pid, m->rec.ns)) < 0)
		return r;
	return record_write(m->run, &m->rec);
}

/* Opens the gate and waits until the child is pid 1's program, or says why
 * not. */
static int
pass_gate(struct making *m, struct err *e)
{
	struct pollfd p = { .fd = m->gate[0], .events = POLLIN };
	struct jail_fault f = { 0 };
	ssize_t n;

	if (send(m->gate[0], "g", 1, MSG_NOSIGNAL) != 1)
		return err_errno(e, -errno, "jail");
	if (poll(&p, 1, PREPARE_DEADLINE_MS) != 1)
		return err_set(e, -ETIMEDOUT, "jail: no exec in time");
	n = recv(m->gate[0], &f, sizeof(f), MSG_DONTWAIT);
	if (n == 0)
		return 0; /* closed by exec */
	f.what[sizeof(f.what) - 1] = '\0';
	return err_errno(e,
	    n == (ssize_t)sizeof(f) && f.err > 0 ? -f.err : -EIO, "jail: %s",
	    f.what);
}

/* Ours of what the child has: or connecting to a dead keeper would succeed and
 * hang, and an AF_VSOCK address would be taken for as long as we live. */
static void
close_childs(struct making *m)
{
	size_t i;

	for (i = 0; i < nitems(m->fds); i++)
		fd_close(&m->fds[i]);
	fd_close(&m->log);
	fd_close(&m->gate[1]);
}

static int
spawn(struct making *m, struct err *e)
{
	const struct machine_limits limits = machine_limits(m->mach);
	struct jail j = { .sp = m->sp,
		.kind = m->kind,
		.uid = m->rec.uid,
		.limits = &limits,
		.kvm = m->rec.kvm != 0,
		.fds = m->fds,
		.log_fd = m->log,
		.cid = m->rec.cid };
	const struct cgroup_size size = { .mem_mib = limits.group_mib,
		.pids = limits.group_pids,
		.vcpus = m->mach->vcpus_max };
	pid_t pid;
	int r;

	if (m->rec.cgroup) {
		m->cgroup = cgroup_make(&m->sp->cg, m->rec.group, &size);
		if (m->cgroup < 0)
			return err_errno(e, m->cgroup, "cgroup");
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, m->gate) < 0)
		return err_errno(e, -errno, "gate");
	j.gate = m->gate[1];
	if ((pid = start_child(m, &j)) < 0)
		return err_errno(e, pid, "clone");
	close_childs(m);
	if ((r = make_record(m, pid)) < 0)
		return err_errno(e, r, "record of jail %s", m->name);
	return pass_gate(m, e);
}

static void
making_clear(struct making *m)
{
	close_childs(m);
	fd_close(&m->run);
	fd_close(&m->state);
	fd_close(&m->cgroup);
	fd_close(&m->gate[0]);
	fd_close(&m->pidfd);
}

/* The half-made child dies, and then its traces go. */
static void
undo(struct making *m)
{
	struct pollfd p = { .fd = m->pidfd, .events = POLLIN };
	struct err e;

	if (m->pidfd >= 0) {
		(void)pidfd_send_signal(m->pidfd, SIGKILL, NULL, 0);
		(void)poll(&p, 1, PREPARE_DEADLINE_MS);
	}
	if (jail_remove(m->sp, &m->rec.jail, m->rec.group, &e) < 0)
		log_warn("jail %s: %s", m->name, e.msg);
}

int
jail_prepare(struct spawner *sp, const struct spawn_prepare *p,
    const struct machine *mach, struct held **ret, struct err *e)
{
	struct making m = { .sp = sp,
		.kind = jail_kind(p->jail.kind),
		.mach = mach,
		.run = -1,
		.state = -1,
		.log = -1,
		.cgroup = -1,
		.gate = { -1, -1 },
		.pidfd = -1 };
	struct held *h;
	size_t i;
	int r;

	for (i = 0; i < nitems(m.fds); i++)
		m.fds[i] = -1;
	jail_name(&p->jail, m.name);
	if ((r = check_policy(sp, p, mach, e)) < 0 ||
	    (r = fill_record(&m, p, e)) < 0 || (r = check_free(sp, &m, e)) < 0)
		return r;
	if ((r = make_files(&m, e)) < 0 || (r = spawn(&m, e)) < 0)
		goto fail;
	if ((h = held_add(sp, &m.rec, m.pidfd)) == NULL) {
		r = err_set(e, -ENOMEM, "out of memory");
		goto fail;
	}
	m.pidfd = -1;
	*ret = h;
	making_clear(&m);
	return 0;
fail:
	undo(&m);
	making_clear(&m);
	return r;
}
