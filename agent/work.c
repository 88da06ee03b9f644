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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/execgroup.h"
#include "agent/file.h"
#include "agent/raw.h"
#include "agent/root.h"
#include "agent/user.h"
#include "agent/work.h"
#include "common/err.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/objects.h"

#define START_MS 5000
#define FILES_SOFT 1024
#define ASK_FD 0 /* of its pid 1 */
#define NAMESPACES (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)

#define BIT(c) (1ULL << (c))
/*
 * What a container's root commonly has, and the network, which is the
 * VM's own.  Not there: SYS_ADMIN (mount devtmpfs, and with it open the
 * channel), SYS_PTRACE (the moment between fork and exec), MKNOD,
 * SYS_MODULE, SYS_RAWIO, SYS_BOOT, SYS_RESOURCE (which lifts limits of
 * files and queues, and makes a process the last to be ended for memory),
 * BPF, PERFMON, SYSLOG.
 */
static const unsigned long long caps_kept = BIT(CAP_CHOWN) |
    BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) |
    BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETPCAP) |
    BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_NET_RAW) | BIT(CAP_NET_ADMIN) |
    BIT(CAP_SYS_CHROOT) | BIT(CAP_SYS_NICE) | BIT(CAP_IPC_LOCK) |
    BIT(CAP_AUDIT_WRITE) | BIT(CAP_SETFCAP);

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
work_become(const struct user *u)
{
	long r;

	if ((r = RAW(setgroups, u->ngroups, u->groups)) < 0 ||
	    (r = RAW(setresgid, u->gid, u->gid, u->gid)) < 0)
		return (int)r;
	return (int)RAW(setresuid, u->uid, u->uid, u->uid);
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

int
work_limit_files(const struct work *w)
{
	/* soft: what programs expect that close or select(2) all */
	const struct rlimit l = { .rlim_cur = FILES_SOFT,
		.rlim_max = (rlim_t)w->limits.files };

	return (int)RAW(prlimit64, 0, RLIMIT_NOFILE, &l, NULL);
}

static void
on_any(int sig)
{
	(void)sig;
}

/* The agent's own SIGTERM: it has ended the execs already. */
static _Noreturn void
work_end(void)
{
	(void)kill(-1, SIGTERM);
	while (waitpid(-1, NULL, 0) > 0)
		continue;
	_exit(0);
}

/*
 * pid 1 of the namespace: reaps, passes the agent's SIGTERM on to everyone,
 * and leaves when nobody is left; with it the kernel ends what does not
 * listen.  What busybox and others send pid 1 to end the machine it hands to
 * the agent, which has the power.
 */
static _Noreturn void
work_init(void)
{
	static const int sigs[] = { SIGTERM, SIGCHLD, SIGUSR1, SIGUSR2,
		SIGPWR };
	struct sigaction sa = { .sa_handler = on_any };
	sigset_t set;
	size_t i;

	(void)sigemptyset(&set);
	for (i = 0; i < nitems(sigs); i++) {
		(void)sigaddset(&set, sigs[i]);
		(void)sigaction(sigs[i], &sa, NULL);
	}
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	for (;;) {
		siginfo_t si;
		int sig = sigwaitinfo(&set, &si);

		if (sig == SIGTERM && si.si_pid == 0)
			work_end(); /* from outside this pid namespace */
		if (sig == SIGTERM)
			(void)!write(ASK_FD, "r", 1);
		else if (sig > 0 && sig != SIGCHLD)
			(void)!write(ASK_FD, "p", 1);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
	}
}

static void
work_child(
    const struct work *w, const struct boot_spec *spec, int tell, int ask)
{
	struct err e = { 0 };
	int r = 0;

	(void)prctl(PR_SET_DUMPABLE, 0);
	if (w->procs_fd >= 0 && write(w->procs_fd, "0", 1) < 0)
		r = err_errno(&e, -errno, "cgroup");
	limits_ipc(&w->limits);
	if (r == 0)
		r = root_build(spec, &w->limits, &e);
	/* without it all that is the guest's would end */
	if (r == 0 && (r = file_write("/proc/self/oom_score_adj", "-1000")) < 0)
		(void)err_errno(&e, r, "oom_score_adj");
	if (r == 0 && (r = work_drop_caps()) < 0)
		(void)err_errno(&e, r, "capabilities");
	(void)fd_write_all(
	    tell, r < 0 ? e.msg : "", r < 0 ? strlen(e.msg) + 1 : 1);
	if (r < 0)
		_exit(1);
	/* no other descriptor of the agent's stays in a place strangers share
	 */
	(void)dup2(ask, ASK_FD);
	(void)close_range(ASK_FD + 1, ~0U, 0);
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
	(void)snprintf(path, sizeof(path), "/proc/%d/root", w->pid);
	w->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (w->root_fd < 0)
		return err_errno(e, -errno, "workload's root");
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
	fd_close(&w->root_fd);
	fd_close(&w->ask.fd);
}

/* Its pid 1, born with what it says things by. */
static int
work_born(struct work *w, const struct boot_spec *spec, int tell, struct err *e)
{
	int ask[2] = { -1, -1 };
	long pid;

	if (pipe2(ask, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, -errno, "pipe");
	pid =
	    syscall(SYS_clone, CLONE_NEWPID | NAMESPACES | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		work_child(w, spec, tell, ask[1]);
		_exit(1);
	}
	fd_close(&ask[1]);
	w->ask.fd = ask[0];
	if (pid < 0)
		return err_errno(e, -errno, "clone");
	w->pid = (pid_t)pid;
	return 0;
}

int
work_start(struct work *w, const struct boot_spec *spec, struct err *e)
{
	int tell[2] = { -1, -1 }, r;

	*w = (struct work)WORK_NONE;
	if ((r = limits_find(&w->limits, e)) < 0)
		return r;
	cgroups_open(&w->groups.cg, &w->limits);
	w->procs_fd = w->groups.cg.rest < 0
	    ? -1
	    : openat(w->groups.cg.rest, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (w->procs_fd < 0)
		log_warn("no cgroup v2: the workload has no limits of its own");
	if (pipe2(tell, O_CLOEXEC) < 0) {
		r = err_errno(e, -errno, "pipe");
		goto out;
	}
	r = work_born(w, spec, tell[1], e);
	fd_close(&tell[1]);
	if (r == 0 && (r = work_wait(tell[0], e)) == 0)
		r = work_adopt(w, e);
out:
	fd_close(&tell[0]);
	fd_close(&tell[1]);
	if (r < 0)
		work_undo(w);
	return r;
}
