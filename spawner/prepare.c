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
#include "common/num.h"
#include "common/uid.h"
#include "common/util.h"
#include "proto/uids.h"
#include "spawner/group.h"
#include "spawner/jail.h"
#include "spawner/proc.h"
#include "spawner/verbs.h"
#include "spawner/vsock.h"

#define PREPARE_DEADLINE_MS 5000

/* What is open while a VM is made; all of it closed again at the end. */
struct making {
	char name[HEX64_LEN + 1];
	int run; /* run/vm/<uid> */
	int state; /* lib/vm/<uid> */
	int keeper;
	int warden;
	int console;
	int log;
	int cgroup;
	int vsock;
	int gate[2]; /* ours, the child's */
	int pidfd;
	pid_t pid;
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

/* The uids of its programs must be nobody's yet (I15): neither those of a
 * jail there is, dead or alive, nor of any process. */
static int
check_free(struct spawner *sp, const struct record *rec, struct err *e)
{
	uint32_t i;

	if (held_find(sp, &rec->jail) != NULL)
		return err_set(e, -EEXIST, "VM %016llx exists",
		    (unsigned long long)rec->jail.id);
	for (i = 0; i < rec->nprogs; i++) {
		const uint32_t uid = rec->prog[i].uid;
		const struct held *other = held_by_uid(sp, uid);

		if (other != NULL)
			return err_set(e, -EBUSY,
			    "slot %u is in use: uid %u is VM %016llx's",
			    rec->slot, uid,
			    (unsigned long long)other->rec.jail.id);
		if (RULE(UID_UNUSED) && uid_in_use(uid))
			return err_set(
			    e, -EBUSY, "uid %u still has a process", uid);
	}
	return 0;
}

/* What it will be, as far as that is known before it is made. */
static int
fill_record(const struct spawner *sp, const struct spawn_prepare *p,
    const struct machine *mach, struct record *rec)
{
	const struct uids u = { sp->conf.uid_base, sp->conf.uid_count };
	const struct record_prog *keeper;
	unsigned int role;
	int r;

	*rec = (struct record){ .magic = RECORD_MAGIC,
		.version = RECORD_VERSION,
		.len = sizeof(*rec),
		.jail = p->jail,
		.slot = p->slot,
		.cgroup = sp->cg.used,
		.kvm = mach->accel == ACCEL_KVM,
		.filters = sp->filters };
	memcpy(rec->boot_id, sp->boot_id, sizeof(rec->boot_id));
	group_of(sp, &p->jail, rec->group);
	for (role = 0; role < JAIL_ROLES; role++) {
		const struct jail_prog *prog = &jail_progs[role];
		struct record_prog *rp = &rec->prog[rec->nprogs];

		if (!jail_holds(p->jail.kind, role))
			continue;
		if ((r = uids_at(
			 &u, UIDS_VM + prog->uid_role, p->slot, &rp->uid)) < 0)
			return r;
		rp->role = role;
		rp->filters_min = prog->filters_min;
		rp->filters_max = prog->filters_max;
		rp->userns = prog->userns;
		rp->file = sp->prog[role];
		rec->nprogs++;
	}
	/* pid 1 of every jail; a kind without has no row yet */
	if ((keeper = record_prog(rec, JAIL_KEEPER)) == NULL)
		return -EINVAL;
	rec->uid = keeper->uid;
	return 0;
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
		close_fd(&fd);
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
		close_fd(&fd);
	*ret = fd;
	return r;
}

/* Root's files: the VM gets descriptors, never a name. */
static int
open_log(int dir, const char *name, int *ret)
{
	*ret = openat(dir, name,
	    O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
	    0600);
	return *ret < 0 ? -errno : 0;
}

static int
make_files(const struct spawner *sp, struct making *m, struct err *e)
{
	int r;

	if ((r = make_dir(sp->state_fd, m->name, 0700, &m->state)) < 0)
		return err_errno(e, r, "lib/vm/%s", m->name);
	if ((r = make_dir(sp->run_fd, m->name, 0711, &m->run)) < 0)
		return err_errno(e, r, "run/vm/%s", m->name);
	if ((r = bind_socket(sp, m->run, "keeper.sock", &m->keeper)) < 0 ||
	    (r = bind_socket(sp, m->run, "warden.sock", &m->warden)) < 0)
		return err_errno(e, r, "sockets of VM %s", m->name);
	if ((r = open_log(m->state, "console.log", &m->console)) < 0 ||
	    (r = open_log(m->state, "vmm.log", &m->log)) < 0)
		return err_errno(e, r, "logs of VM %s", m->name);
	return 0;
}

static pid_t
start_child(struct spawner *sp, struct making *m, const struct jail *j)
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
	(void)sp;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		/* our end of the gate, or its end would never show */
		(void)close(m->gate[0]);
		jail_child(j);
	}
	return pid < 0 ? -errno : pid;
}

static int
make_record(const struct making *m, struct record *rec)
{
	int r;

	rec->pid = (uint32_t)m->pid;
	if ((r = proc_start_time(m->pid, &rec->start_time)) < 0 ||
	    (r = proc_ns_all(m->pid, rec->ns)) < 0)
		return r;
	return record_write(m->run, rec);
}

/* Opens the gate and waits until the child is the keeper, or says why not. */
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

static int
spawn(struct spawner *sp, const struct spawn_prepare *p,
    const struct machine *mach, struct making *m, struct record *rec,
    struct err *e)
{
	const struct machine_limits limits = machine_limits(mach);
	struct jail j = { .sp = sp,
		.uid = rec->uid,
		.limits = &limits,
		.kvm = rec->kvm != 0,
		.keeper_fd = m->keeper,
		.warden_fd = m->warden,
		.console_fd = m->console,
		.log_fd = m->log };
	const struct cgroup_size size = { .mem_mib = limits.group_mib,
		.pids = limits.group_pids,
		.vcpus = mach->vcpus_max };
	int r;

	if (rec->cgroup) {
		m->cgroup = cgroup_make(&sp->cg, rec->group, &size);
		if (m->cgroup < 0)
			return err_errno(e, m->cgroup, "cgroup");
	}
	if (sp->caps.vsock && (mach->flags & MACHINE_PROBE) == 0) {
		/* without it everything goes over virtio-serial, as on a host
		 * that has no such device: no reason not to start */
		m->vsock = vsock_make(sp, p->slot, &rec->cid);
		if (m->vsock < 0) {
			log_warn("vm %s: no AF_VSOCK at %u: %s", m->name,
			    sp->conf.cid_base + p->slot,
			    strerrordesc_np(-m->vsock));
			m->vsock = -1;
		}
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, m->gate) < 0)
		return err_errno(e, -errno, "gate");
	j.vsock_fd = m->vsock;
	j.cid = rec->cid;
	j.gate = m->gate[1];
	if ((r = start_child(sp, m, &j)) < 0)
		return err_errno(e, r, "clone");
	m->pid = r;
	/* or connecting to a dead keeper would succeed and hang */
	close_fd(&m->gate[1]);
	close_fd(&m->keeper);
	close_fd(&m->warden);
	/* or the address would be taken for as long as we live */
	close_fd(&m->vsock);
	if ((r = make_record(m, rec)) < 0)
		return err_errno(e, r, "record of VM %s", m->name);
	return pass_gate(m, e);
}

static void
making_clear(struct making *m)
{
	close_fd(&m->run);
	close_fd(&m->state);
	close_fd(&m->keeper);
	close_fd(&m->warden);
	close_fd(&m->console);
	close_fd(&m->log);
	close_fd(&m->cgroup);
	close_fd(&m->vsock);
	close_fd(&m->gate[0]);
	close_fd(&m->gate[1]);
	close_fd(&m->pidfd);
}

/* The half-made child dies, and then its traces go. */
static void
undo(struct spawner *sp, struct making *m, const struct record *rec)
{
	struct pollfd p = { .fd = m->pidfd, .events = POLLIN };
	struct err e;

	if (m->pidfd >= 0) {
		(void)pidfd_send_signal(m->pidfd, SIGKILL, NULL, 0);
		(void)poll(&p, 1, PREPARE_DEADLINE_MS);
	}
	if (jail_remove(sp, &rec->jail, rec->group, &e) < 0)
		log_warn("vm %s: %s", m->name, e.msg);
}

int
jail_prepare(struct spawner *sp, const struct spawn_prepare *p,
    const struct machine *mach, struct held **ret, struct err *e)
{
	struct making m = { .run = -1,
		.state = -1,
		.keeper = -1,
		.warden = -1,
		.console = -1,
		.log = -1,
		.cgroup = -1,
		.vsock = -1,
		.gate = { -1, -1 },
		.pidfd = -1 };
	struct record rec;
	struct held *h;
	int r;

	if ((r = check_policy(sp, p, mach, e)) < 0)
		return r;
	if ((r = fill_record(sp, p, mach, &rec)) < 0)
		return err_set(
		    e, r, "slot %u: no such jail can be made", p->slot);
	if ((r = check_free(sp, &rec, e)) < 0)
		return r;
	format_hex64(p->jail.id, m.name);
	if ((r = make_files(sp, &m, e)) < 0 ||
	    (r = spawn(sp, p, mach, &m, &rec, e)) < 0)
		goto fail;
	if ((h = held_add(sp, &rec, m.pidfd)) == NULL) {
		r = err_set(e, -ENOMEM, "out of memory");
		goto fail;
	}
	m.pidfd = -1;
	*ret = h;
	making_clear(&m);
	return 0;
fail:
	undo(sp, &m, &rec);
	making_clear(&m);
	return r;
}
