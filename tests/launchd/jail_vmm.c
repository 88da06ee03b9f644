#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/num.h"
#include "common/util.h"
#include "proto/ward.h"
#include "tests/launchd/jail.h"

/*
 * Stand-in hypervisor.  Over its control socket it can be told to try what a
 * taken-over hypervisor would try ("probe NAME ARG"): each try is made by a
 * child, which answers with the errno's name, "ok", or the signal it died of.
 */
#define QMP_LISTENER 4

static long long arg; /* of the probe: a pid inside the jail */

static int
try_open(const char *path, int flags)
{
	return open(path, flags | O_CLOEXEC, 0600) < 0 ? -1 : 0;
}

static int
t_passwd(void)
{
	return try_open("/etc/passwd", O_RDONLY);
}
static int
t_host_root(void)
{
	return try_open("/proc/1/root/etc/passwd", O_RDONLY);
}
static int
t_keeper_mem(void)
{
	return try_open("/proc/1/mem", O_RDONLY);
}
static int
t_warden_mem(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%lld/mem", arg);
	return try_open(path, O_RDONLY);
}
static int
t_warden_fd(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%lld/fd/3", arg);
	return try_open(path, O_RDONLY);
}
static int
t_sysctl(void)
{
	return try_open("/proc/sys/kernel/hostname", O_RDONLY);
}
static int
t_kvm(void)
{
	return try_open("/dev/kvm", O_RDWR);
}
static int
t_write_root(void)
{
	return try_open("/x", O_CREAT | O_WRONLY);
}
static int
t_write_stage(void)
{
	return try_open("/bin/x", O_CREAT | O_WRONLY);
}
static int
t_write_self(void)
{
	return chmod("/bin/mews-keeper", 0777);
}
static int
t_remount(void)
{
	return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL);
}
static int
t_mount(void)
{
	return mount("x", "/proc", "tmpfs", 0, NULL);
}
static int
t_chroot(void)
{
	return chroot("/bin");
}
static int
t_mknod(void)
{
	return mknod("/bin/kvm", S_IFCHR | 0600, 0xae8);
}
static int
t_inet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}
static int
t_vsock(void)
{
	return socket(AF_VSOCK, SOCK_STREAM, 0);
}
static int
t_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}
static int
t_packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}
static int
connect_to(const char *path, size_t len, int type)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);

	memcpy(sa.sun_path, path, len);
	return connect(fd, (struct sockaddr *)&sa,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}
static int
t_keeper_sock(void)
{
	return connect_to("/keeper.sock", 13, SOCK_SEQPACKET);
}
static int
t_host_abstract(void)
{
	return connect_to("\0mews-canary", 12, SOCK_STREAM);
}
static int
t_ptrace_keeper(void)
{
	return (int)ptrace(PTRACE_SEIZE, 1, NULL, NULL);
}
static int
t_ptrace_warden(void)
{
	return (int)ptrace(PTRACE_SEIZE, (pid_t)arg, NULL, NULL);
}
static int
t_vm_readv(void)
{
	char b[8];
	struct iovec l = { b, sizeof(b) };

	return (int)process_vm_readv((pid_t)arg, &l, 1, &l, 1, 0);
}
static int
t_pidfd(void)
{
	return (int)syscall(SYS_pidfd_open, (pid_t)arg, 0);
}
static int
t_pidfd_getfd(void)
{
	return (int)syscall(SYS_pidfd_getfd, 0, 3, 0);
}
static int
t_kill_keeper(void)
{
	return kill(1, SIGKILL); /* "ok", and nothing happens */
}
static int
t_userns(void)
{
	return unshare(CLONE_NEWUSER);
}
static int
t_clone_ns(void)
{
	return (int)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
}
static int
t_clone3(void)
{
	return (int)syscall(SYS_clone3, NULL, 0);
}
static int
t_setns(void)
{
	return setns(3, 0);
}
static int
t_setuid(void)
{
	return setuid(0);
}
static int
t_bpf(void)
{
	return (int)syscall(SYS_bpf, 0, NULL, 0);
}
static int
t_io_uring(void)
{
	struct io_uring_params p = { 0 };

	return (int)syscall(SYS_io_uring_setup, 1, &p);
}
static int
t_keyctl(void)
{
	return (int)syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}
static int
t_perf(void)
{
	return (int)syscall(SYS_perf_event_open, NULL, 0, 0, -1, 0);
}
static int
t_x32(void)
{
	return (int)syscall(0x40000000L | SYS_getpid);
}
/* Threads and processes of one VM's uid end at the limit. */
static int
t_forks(void)
{
	int i;

	for (i = 0; i < 1000; i++) {
		pid_t pid = fork();

		if (pid == 0)
			for (;;)
				(void)pause();
		if (pid < 0)
			return -1;
	}
	return 0;
}
/* More than its log's FIFO takes, which launchd does not empty for ever. */
static int
t_fill_log(void)
{
	static char block[65536];
	int i;

	for (i = 0; i < 1024; i++) {
		if (write(2, block, sizeof(block)) < 0)
			return -1;
	}
	return 0;
}
/* Descriptors: exactly those that the keeper's list names, the list itself,
 * which the stand-in warden leaves, and the control connection. */
static int
t_fds(void)
{
	struct ward_exec x = { 0 };
	char path[64], to[128];
	int fd, n = 0;
	ssize_t len;

	for (fd = 3; fd < 250; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	if (pread(WARD_EXEC_FD, &x, sizeof(x), 0) != (ssize_t)sizeof(x))
		return -1;
	if (n == 2 + (int)x.nfds)
		return 0;
	for (fd = 3; fd < 250; fd++) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if ((len = readlink(path, to, sizeof(to))) > 0)
			(void)dprintf(
			    2, "probe fds: %d: %.*s\n", fd, (int)len, to);
	}
	errno = EMFILE;
	return -1;
}
/* The processes that /proc shows: keeper's and warden's are hidden or ours,
 * nothing of the host is there. */
static int
count_proc(void)
{
	DIR *d = opendir("/proc");
	struct dirent *de;
	long long pid;
	int n = 0;

	while (d != NULL && (de = readdir(d)) != NULL)
		n += num_parse(de->d_name, 1, 1 << 30, &pid) == 0;
	if (d != NULL)
		(void)closedir(d);
	return n;
}

static int
t_proc(void)
{
	int i;

	/* those of a probe before may not be reaped yet */
	for (i = 0; i < 100; i++) {
		if (count_proc() <= 5)
			return 0;
		(void)poll(NULL, 0, 10);
	}
	errno = E2BIG;
	return -1;
}

static const struct {
	const char *name;
	int (*fn)(void);
} probes[] = {
	{ "passwd", t_passwd },
	{ "host-root", t_host_root },
	{ "keeper-mem", t_keeper_mem },
	{ "warden-mem", t_warden_mem },
	{ "warden-fd", t_warden_fd },
	{ "sysctl", t_sysctl },
	{ "kvm", t_kvm },
	{ "write-root", t_write_root },
	{ "write-stage", t_write_stage },
	{ "chmod-stage", t_write_self },
	{ "remount", t_remount },
	{ "mount", t_mount },
	{ "chroot", t_chroot },
	{ "mknod", t_mknod },
	{ "inet", t_inet },
	{ "vsock", t_vsock },
	{ "netlink", t_netlink },
	{ "packet", t_packet },
	{ "keeper-sock", t_keeper_sock },
	{ "host-abstract", t_host_abstract },
	{ "ptrace-keeper", t_ptrace_keeper },
	{ "ptrace-warden", t_ptrace_warden },
	{ "vm-readv", t_vm_readv },
	{ "pidfd", t_pidfd },
	{ "pidfd-getfd", t_pidfd_getfd },
	{ "kill-keeper", t_kill_keeper },
	{ "userns", t_userns },
	{ "clone-ns", t_clone_ns },
	{ "clone3", t_clone3 },
	{ "setns", t_setns },
	{ "setuid", t_setuid },
	{ "bpf", t_bpf },
	{ "io-uring", t_io_uring },
	{ "keyctl", t_keyctl },
	{ "perf", t_perf },
	{ "x32", t_x32 },
	{ "forks", t_forks },
	{ "fill-log", t_fill_log },
	{ "fds", t_fds },
	{ "proc", t_proc },
};

/* In a child of its own process group, so that its children go with it. */
static void
probe(int c, char *name)
{
	char *a = strchr(name, ' '), out[64];
	int pipefd[2], st = 0, e = -1;
	size_t i;
	pid_t pid;

	if (a != NULL) {
		*a = '\0';
		(void)num_parse(a + 1, 0, 1 << 30, &arg);
	}
	for (i = 0; i < nitems(probes) && strcmp(name, probes[i].name) != 0;
	     i++)
		;
	if (i == nitems(probes) || pipe2(pipefd, O_CLOEXEC) < 0)
		_exit(3);
	if ((pid = fork()) == 0) {
		int w = pipefd[1];

		(void)setpgid(0, 0);
		/* the pipe would count as a descriptor of ours */
		if (strcmp(name, "fds") == 0) {
			(void)dup2(w, 250);
			(void)close_range((unsigned int)c + 1, 249, 0);
			w = 250;
		}
		e = probes[i].fn() < 0 ? errno : 0;
		(void)!write(w, &e, sizeof(e));
		_exit(0);
	}
	(void)close(pipefd[1]);
	if (pid > 0 && read(pipefd[0], &e, sizeof(e)) != sizeof(e))
		e = -1;
	(void)close(pipefd[0]);
	(void)kill(-pid, SIGKILL);
	while (waitpid(-1, &st, 0) > 0 && !WIFSIGNALED(st) && e < 0)
		;
	while (waitpid(-1, NULL, 0) > 0)
		;
	if (e >= 0)
		(void)snprintf(out, sizeof(out), "%s\n",
		    e == 0			     ? "ok"
			: strerrorname_np(e) != NULL ? strerrorname_np(e)
						     : "?");
	else
		(void)snprintf(
		    out, sizeof(out), "SIG%s\n", sigabbrev_np(WTERMSIG(st)));
	(void)send(c, out, strlen(out), MSG_NOSIGNAL);
}

static void
say(int c, const char *text)
{
	(void)send(c, text, strlen(text), MSG_NOSIGNAL);
}

static void
on_line(int c, char *line, enum behave b)
{
	if (strncmp(line, "probe ", 6) == 0)
		probe(c, line + 6);
	else if (strcmp(line, "cont") == 0) {
		if (b == BEHAVE_CRASH)
			abort();
		if (b == BEHAVE_REFUSED)
			(void)raise(SIGSYS);
		if (b == BEHAVE_EXIT_4) {
			say(c, "says \033[31mbad\ndisk\n");
			_exit(4);
		}
		if (b == BEHAVE_LATE)
			(void)poll(NULL, 0, LATE_MS);
		say(c,
		    b == BEHAVE_NO_AGENT || b == BEHAVE_SPIN || b == BEHAVE_HALT
			? "running\n"
			: "running\nagent\nneed\n");
		if (b == BEHAVE_HALT) {
			(void)poll(NULL, 0, HALT_MS);
			say(c, "halted\n");
		}
		if (b == BEHAVE_SPIN)
			for (;;)
				;
		if (b == BEHAVE_REBOOT) {
			say(c, "reset\n");
			_exit(0);
		}
	} else if (strcmp(line, "spec") == 0 && b != BEHAVE_NO_AGENT)
		say(c, "ready\n");
	else if (strcmp(line, "off") == 0 ||
	    (strcmp(line, "rung 0") == 0 && b == BEHAVE_WELL) ||
	    (strcmp(line, "rung 1") == 0 && b <= BEHAVE_NO_AGENT_STOP)) {
		say(c, "off\n");
		_exit(0);
	}
}

/* What a new warden is told of a guest that is running already. */
static int running, ready;

static void
serve(enum behave b)
{
	int c = accept(QMP_LISTENER, NULL, NULL);
	char buf[512], *p, *w;
	ssize_t n;

	/* at once: what a stream gets is not to be half of this */
	say(c,
	    !running	? "up\n"
		: ready ? "up\nrunning\nagent\nready\n"
			: "up\nrunning\nagent\n");
	while ((n = recv(c, buf, sizeof(buf) - 1, 0)) > 0) {
		buf[n] = '\0';
		p = buf;
		while ((w = strsep(&p, "\n")) != NULL) {
			running |= strcmp(w, "cont") == 0;
			ready |= strcmp(w, "spec") == 0;
			on_line(c, w, b);
		}
	}
	(void)close(c);
}

int
main(int argc, char *argv[])
{
	long long b;

	if (argc != 2 || num_parse(argv[1], 1, 1 << 20, &b) < 0)
		return 2;
	if (b == BEHAVE_REFUSED_EARLY)
		(void)raise(SIGSYS);
	if (b == BEHAVE_EXIT_3)
		return 3;
	if (b != BEHAVE_NO_FILTER && standin_filter() < 0)
		return 2;
	if (b == BEHAVE_DEAF) {
		struct sigaction ign = { .sa_handler = SIG_IGN };

		(void)sigaction(SIGTERM, &ign, NULL);
	}
	if (b == BEHAVE_EXTRA && fork() == 0)
		for (;;)
			(void)pause();
	if (b == BEHAVE_NO_QMP)
		for (;;)
			(void)pause();
	for (;;)
		serve((enum behave)b);
}
