#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/execgroup.h"
#include "agent/file.h"
#include "agent/raw.h"
#include "agent/root.h"
#include "agent/work.h"
#include "common/err.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "common/util.h"
#include "proto/objects.h"

#define START_MS 5000
#define PIDS_MAX 4096
#define CGROUP "/sys/fs/cgroup/workload"
#define NAMESPACES (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)

#define BIT(c) (1ULL << (c))
/*
 * What a container's root commonly has, and the network, which is the
 * VM's own.  Not there: SYS_ADMIN (mount devtmpfs, and with it open the
 * channel), SYS_PTRACE (the moment between fork and exec), MKNOD,
 * SYS_MODULE, SYS_RAWIO, SYS_BOOT, BPF, PERFMON, SYSLOG.
 */
static const unsigned long long caps_kept = BIT(CAP_CHOWN) |
    BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) |
    BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETPCAP) |
    BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_NET_RAW) | BIT(CAP_NET_ADMIN) |
    BIT(CAP_SYS_CHROOT) | BIT(CAP_SYS_NICE) | BIT(CAP_SYS_RESOURCE) |
    BIT(CAP_IPC_LOCK) | BIT(CAP_AUDIT_WRITE) | BIT(CAP_SETFCAP);

int
work_drop_caps(void)
{
	struct __user_cap_header_struct h = { .version =
						  _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { { 0 } };
	unsigned int cap;
	long r;

	for (cap = 0; cap < 64; cap++) {
		if (caps_kept & BIT(cap))
			continue;
		r = RAW(prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
		if (r == -EINVAL && cap > CAP_MAC_OVERRIDE)
			break; /* the kernel's last one is behind us */
		if (r < 0)
			return (int)r;
	}
	d[0].permitted = d[0].effective = (uint32_t)caps_kept;
	d[1].permitted = d[1].effective = (uint32_t)(caps_kept >> 32);
	return (int)RAW(capset, &h, d);
}

int
work_enter(const struct work *w, const struct execgroup *g)
{
	long r = 0;

	if (g != NULL && g->dir >= 0)
		r = execgroup_enter(g);
	else if (g != NULL && w->procs_fd >= 0)
		r = RAW(write, w->procs_fd, "0", 1);
	if (r < 0)
		return (int)r;
	/* the pid namespace was set by the parent, for its children */
	return (int)RAW(setns, w->pidfd, NAMESPACES);
}

/* Half of what the kernel has room for: a fork bomb must leave the agent
 * enough to start the exec that ends it. */
static long long
pids_max(void)
{
	char text[32];
	long long n = PIDS_MAX;

	if (file_read("/proc/sys/kernel/threads-max", text, sizeof(text)) < 0)
		return n;
	text[strcspn(text, "\n")] = '\0';
	if (num_parse(text, 2, INT32_MAX, &n) < 0)
		n = PIDS_MAX;
	return n / 2 < PIDS_MAX ? n / 2 : PIDS_MAX;
}

static void
cgroup_open(struct work *w)
{
	char max[32];

	if (mkdir(CGROUP, 0755) < 0 && errno != EEXIST)
		return;
	/* controllers the kernel lacks are not limits we could set */
	(void)file_write("/sys/fs/cgroup/cgroup.subtree_control", "+pids");
	(void)file_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	(void)snprintf(max, sizeof(max), "%lld", pids_max());
	(void)file_write(CGROUP "/pids.max", max);
	w->groups.root = open(CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->procs_fd = open(CGROUP "/cgroup.procs", O_WRONLY | O_CLOEXEC);
}

static void
on_term(int sig)
{
	(void)sig;
}

/*
 * pid 1 of the namespace: reaps, passes SIGTERM on to everyone, and leaves
 * when nobody is left; with it the kernel ends what does not listen.
 */
static void
work_init(void)
{
	struct sigaction sa = { .sa_handler = on_term };
	sigset_t set;
	int sig = 0;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	(void)sigaction(SIGTERM, &sa, NULL);
	for (;;) {
		bool is_term;

		if (sigwait(&set, &sig) != 0)
			continue;
		is_term = sig == SIGTERM;
		if (is_term)
			(void)kill(-1, SIGTERM);
		while (waitpid(-1, NULL, is_term ? 0 : WNOHANG) > 0)
			continue;
		if (is_term)
			_exit(0);
	}
}

static void
work_child(const struct work *w, const struct boot_spec *spec, int tell)
{
	struct err e = { 0 };
	int r = 0;

	(void)prctl(PR_SET_DUMPABLE, 0);
	if (w->procs_fd >= 0 && write(w->procs_fd, "0", 1) < 0)
		r = err_errno(&e, -errno, "cgroup");
	if (r == 0)
		r = root_build(spec, &e);
	if (r == 0 && (r = work_drop_caps()) < 0)
		(void)err_errno(&e, r, "capabilities");
	(void)fd_write_all(
	    tell, r < 0 ? e.msg : "", r < 0 ? strlen(e.msg) + 1 : 1);
	if (r < 0)
		_exit(1);
	/* no descriptor of the agent's stays in a place strangers share */
	(void)close_range(0, ~0U, 0);
	work_init();
}

/* An empty string says that it stands; anything else, why it does not. */
static int
work_wait(int fd, struct err *e)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char why[256] = "";
	ssize_t n;

	if (poll(&p, 1, START_MS) != 1)
		return err_set(e, -ETIMEDOUT, "workload: no start in time");
	n = read(fd, why, sizeof(why) - 1);
	if (n <= 0)
		return err_set(e, -EIO, "workload: died at start");
	return why[0] == '\0' ? 0 : err_set(e, -EIO, "workload: %s", why);
}

/* The pids of children are the workload's from here on. */
static int
work_adopt(struct work *w, struct err *e)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/root/dev/pts", w->pid);
	w->pts_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (w->pts_fd < 0)
		return err_errno(e, -errno, "workload's terminals");
	w->pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	if (w->pidfd < 0 || setns(w->pidfd, CLONE_NEWPID) < 0)
		return err_errno(e, -errno, "workload's namespaces");
	return 0;
}

/* Reaped here: to the loop its end would be the end of the workload, and
 * that of the machine, instead of a spec that may be sent again. */
static void
work_undo(struct work *w)
{
	if (w->pid > 0) {
		(void)kill(w->pid, SIGKILL);
		(void)waitpid(w->pid, NULL, 0);
	}
	w->pid = 0;
	fd_close(&w->pidfd);
	execgroups_close(&w->groups);
	fd_close(&w->procs_fd);
	fd_close(&w->pts_fd);
}

int
work_start(struct work *w, const struct boot_spec *spec, struct err *e)
{
	int tell[2] = { -1, -1 }, r;
	long pid;

	*w = (struct work)WORK_NONE;
	cgroup_open(w);
	if (w->procs_fd < 0)
		log_warn("no cgroup v2: the workload has no limits of its own");
	if (pipe2(tell, O_CLOEXEC) < 0) {
		r = err_errno(e, -errno, "pipe");
		goto out;
	}
	pid =
	    syscall(SYS_clone, CLONE_NEWPID | NAMESPACES | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		work_child(w, spec, tell[1]);
		_exit(1);
	}
	fd_close(&tell[1]);
	if (pid < 0) {
		r = err_errno(e, -errno, "clone");
		goto out;
	}
	w->pid = (pid_t)pid;
	if ((r = work_wait(tell[0], e)) == 0)
		r = work_adopt(w, e);
out:
	fd_close(&tell[0]);
	if (r < 0)
		work_undo(w);
	return r;
}
