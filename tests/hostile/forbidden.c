#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/util.h"
#include "tests/hostile/forbidden.h"

#define X32_BIT 0x40000000L
#define ACT_ABSTRACT "mews-test-abstract" /* confinement_test.py */
#define ACT_SECONDS 5 /* an act that blocks has not been refused */

struct act {
	const char *name;
	unsigned int bits;
	long (*fn)(void);
};

/* An act of one system call. */
#define CALL(id, ...)                        \
	static long act_##id(void)           \
	{                                    \
		return syscall(__VA_ARGS__); \
	}

static char buf[4096];
static int etc_fd = -1; /* /etc, opened before the confinement */

/* files */
CALL(open_passwd, SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY)
CALL(open_shadow_up, SYS_openat, AT_FDCWD, "../../../../etc/shadow", O_RDONLY)
CALL(open_init_root, SYS_openat, AT_FDCWD, "/proc/1/root/etc/passwd", O_RDONLY)
CALL(open_mem, SYS_openat, AT_FDCWD, "/proc/1/mem", O_RDWR)
/* past any root: only Landlock stops a descriptor from before */
CALL(open_dirfd, SYS_openat, etc_fd, "passwd", O_RDONLY)
CALL(open_root, SYS_openat, AT_FDCWD, "/..", O_RDONLY | O_DIRECTORY)
CALL(open2, SYS_open, "/etc/passwd", O_RDONLY)
CALL(openat2, SYS_openat2, AT_FDCWD, "/etc/passwd", buf, 24)
CALL(mkdir, SYS_mkdirat, AT_FDCWD, "/evil", 0777)
CALL(symlink, SYS_symlinkat, "/etc", AT_FDCWD, "/evil")
CALL(link, SYS_linkat, AT_FDCWD, "/store.db", AT_FDCWD, "/evil", 0)
CALL(rename, SYS_renameat2, AT_FDCWD, "/store.db", AT_FDCWD, "/evil", 0)
CALL(mknod, SYS_mknodat, AT_FDCWD, "/evil", S_IFCHR | 0666, 0x103)
CALL(fifo, SYS_mknodat, AT_FDCWD, "/evil", S_IFIFO | 0666, 0)
CALL(chmod, SYS_fchmodat, AT_FDCWD, "/", 0777)
CALL(chown, SYS_fchownat, AT_FDCWD, "/", 0, 0, 0)
CALL(chdir, SYS_chdir, "/proc")
CALL(inotify, SYS_inotify_init1, 0)
CALL(handle, SYS_open_by_handle_at, AT_FDCWD, buf, O_RDONLY)
CALL(name_to_handle, SYS_name_to_handle_at, AT_FDCWD, "/", buf, buf, 0)
CALL(fanotify, SYS_fanotify_init, 0, 0)
CALL(quotactl, SYS_quotactl, 0x80000200U, NULL, 0, NULL)
/* sockets */
CALL(inet, SYS_socket, AF_INET, SOCK_STREAM, 0)
CALL(inet_raw, SYS_socket, AF_INET, SOCK_RAW, 1)
CALL(inet6, SYS_socket, AF_INET6, SOCK_DGRAM, 0)
CALL(netlink, SYS_socket, AF_NETLINK, SOCK_RAW, 0)
CALL(packet, SYS_socket, AF_PACKET, SOCK_RAW, 0)
CALL(vsock, SYS_socket, AF_VSOCK, SOCK_STREAM, 0)
CALL(alg, SYS_socket, AF_ALG, SOCK_SEQPACKET, 0)
CALL(bluetooth, SYS_socket, AF_BLUETOOTH, SOCK_RAW, 0)
CALL(xdp, SYS_socket, AF_XDP, SOCK_RAW, 0)
CALL(pair_vsock, SYS_socketpair, AF_VSOCK, SOCK_STREAM, 0, buf)
/* somebody else's socket, which has no file: the test listens there */
static long
act_abstract(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(sun.sun_path + 1, ACT_ABSTRACT, sizeof(ACT_ABSTRACT) - 1);
	return fd < 0 ? fd
		      : connect(fd, (struct sockaddr *)&sun,
			    offsetof(struct sockaddr_un, sun_path) +
				sizeof(ACT_ABSTRACT));
}
/* programs and processes */
CALL(execve, SYS_execve, "/bin/sh", NULL, NULL)
CALL(execveat, SYS_execveat, AT_FDCWD, "/bin/sh", NULL, NULL, 0)
CALL(fork, SYS_fork)
CALL(clone, SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)
CALL(clone_user, SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL)
CALL(clone3, SYS_clone3, buf, 0)
CALL(ptrace_me, SYS_ptrace, PTRACE_TRACEME, 0, NULL, NULL)
/* not PTRACE_ATTACH: done, it would stop the test's own init */
CALL(ptrace, SYS_ptrace, PTRACE_PEEKDATA, 1, NULL, buf)
CALL(vm_read, SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0)
CALL(vm_write, SYS_process_vm_writev, 1, NULL, 0, NULL, 0, 0)
CALL(kcmp, SYS_kcmp, 1, 1, 0, 0, 0)
CALL(pidfd_open, SYS_pidfd_open, 1, 0)
CALL(pidfd_getfd, SYS_pidfd_getfd, -1, 0, 0)
CALL(madvise_other, SYS_process_madvise, -1, NULL, 0, 0, 0)
CALL(kill_all, SYS_kill, -1, 0)
CALL(kill_init, SYS_kill, 1, 0)
CALL(tgkill, SYS_tgkill, 1, 1, 0)
CALL(limits, SYS_prlimit64, 1, RLIMIT_NOFILE, NULL, buf)
CALL(affinity, SYS_sched_setaffinity, 1, 0, NULL)
CALL(nice, SYS_setpriority, PRIO_PROCESS, 1, -20)
/* who one is, and where */
CALL(setuid, SYS_setresuid, 0, 0, 0)
CALL(setgid, SYS_setresgid, 0, 0, 0)
CALL(setgroups, SYS_setgroups, 0, NULL)
CALL(dumpable, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
CALL(ambient, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0,
    0)
CALL(personality, SYS_personality, 0x0400000)
CALL(unshare, SYS_unshare, CLONE_NEWUSER)
CALL(setns, SYS_setns, -1, 0)
CALL(chroot, SYS_chroot, "/")
CALL(mount, SYS_mount, "none", "/", "tmpfs", 0, NULL)
CALL(umount, SYS_umount2, "/proc", MNT_DETACH)
CALL(pivot, SYS_pivot_root, ".", ".")
CALL(fsopen, SYS_fsopen, "tmpfs", 0)
CALL(open_tree, SYS_open_tree, AT_FDCWD, "/", 0)
CALL(move_mount, SYS_move_mount, -1, "", -1, "", 0)
CALL(mount_setattr, SYS_mount_setattr, -1, "", 0, NULL, 0)
CALL(hostname, SYS_sethostname, "evil", 4)
/* the kernel */
CALL(bpf, SYS_bpf, BPF_MAP_CREATE, NULL, 0)
CALL(perf, SYS_perf_event_open, NULL, 0, -1, -1, 0)
CALL(keyctl, SYS_keyctl, 0, -3, 0)
CALL(add_key, SYS_add_key, NULL, NULL, NULL, 0, 0)
CALL(request_key, SYS_request_key, NULL, NULL, NULL, 0)
CALL(uring, SYS_io_uring_setup, 1, NULL)
CALL(uring_enter, SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0)
CALL(uring_register, SYS_io_uring_register, -1, 0, NULL, 0)
CALL(userfaultfd, SYS_userfaultfd, ~0)
CALL(module, SYS_init_module, NULL, 0, NULL)
CALL(module_fd, SYS_finit_module, -1, NULL, ~0)
CALL(kexec, SYS_kexec_load, 0, ~0UL, NULL, 0)
CALL(reboot, SYS_reboot, 0, 0, 0, NULL)
CALL(clock, SYS_clock_settime, 0, NULL)
CALL(adjtime, SYS_adjtimex, NULL)
CALL(swapon, SYS_swapon, NULL, ~0)
CALL(syslog, SYS_syslog, ~0, NULL, 0)
CALL(acct, SYS_acct, buf + sizeof(buf) - 1)
CALL(iopl, SYS_iopl, 99)
CALL(ioperm, SYS_ioperm, 0, 0, 0)
CALL(ldt, SYS_modify_ldt, ~0, NULL, 0)
CALL(shm, SYS_shmget, 0, 4096, 01600)
CALL(mq, SYS_mq_open, "evil", O_CREAT | O_RDWR, 0600, NULL)
CALL(tiocsti, SYS_ioctl, 2, TIOCSTI, "x")
CALL(x32, X32_BIT | SYS_getpid)
CALL(unknown, 9999)

/* The 32-bit gate has numbers of its own: 20 is getpid there. */
static long
act_int80(void)
{
	long r = 20;

	__asm__ volatile("int $0x80"
			 : "+a"(r)
			 :
			 : "memory", "r8", "r9", "r10", "r11");
	return r;
}

static long
act_code(void)
{
	return (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static long
act_code_later(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static long
act_code_pkey(void)
{
	return syscall(SYS_pkey_mprotect, buf, 4096, PROT_EXEC, -1);
}

#define ROW(id, bits)               \
	{                           \
#id, bits, act_##id \
	}
#define EVERY (ACT_KERNEL | ACT_SPAWNER | ACT_JAIL)
#define SPAWNER (ACT_SPAWNER | ACT_JAIL)

static const struct act acts[] = {
	ROW(open_passwd, 0),
	ROW(open_shadow_up, 0),
	ROW(open_init_root, 0),
	ROW(open_mem, 0),
	ROW(open_dirfd, 0),
	ROW(open_root, 0),
	ROW(open2, 0),
	ROW(openat2, 0),
	ROW(mkdir, 0),
	ROW(symlink, 0),
	ROW(link, 0),
	ROW(rename, 0),
	ROW(mknod, ACT_JAIL),
	ROW(fifo, ACT_JAIL),
	ROW(chmod, 0),
	ROW(chown, 0),
	ROW(chdir, 0),
	ROW(inotify, 0),
	ROW(handle, EVERY),
	ROW(name_to_handle, SPAWNER),
	ROW(fanotify, EVERY),
	ROW(quotactl, EVERY),
	ROW(inet, SPAWNER),
	ROW(inet_raw, SPAWNER),
	ROW(inet6, SPAWNER),
	ROW(netlink, SPAWNER),
	ROW(packet, SPAWNER),
	ROW(vsock, SPAWNER),
	ROW(alg, SPAWNER),
	ROW(bluetooth, SPAWNER),
	ROW(xdp, SPAWNER),
	ROW(pair_vsock, 0),
	ROW(abstract, 0),
	ROW(execve, 0),
	ROW(execveat, ACT_SPAWNER),
	ROW(fork, 0),
	ROW(clone, 0),
	ROW(clone_user, ACT_JAIL),
	ROW(clone3, ACT_JAIL),
	ROW(ptrace_me, EVERY),
	ROW(ptrace, EVERY),
	ROW(vm_read, EVERY),
	ROW(vm_write, EVERY),
	ROW(kcmp, EVERY),
	ROW(pidfd_open, ACT_JAIL),
	ROW(pidfd_getfd, EVERY),
	ROW(madvise_other, EVERY),
	ROW(kill_all, 0),
	ROW(kill_init, 0),
	ROW(tgkill, 0),
	ROW(limits, 0),
	ROW(affinity, 0),
	ROW(nice, 0),
	ROW(setuid, ACT_JAIL),
	ROW(setgid, ACT_JAIL),
	ROW(setgroups, ACT_JAIL),
	ROW(dumpable, 0),
	ROW(ambient, 0),
	ROW(personality, SPAWNER),
	ROW(unshare, ACT_JAIL),
	ROW(setns, SPAWNER),
	ROW(chroot, SPAWNER),
	ROW(mount, ACT_JAIL),
	ROW(umount, ACT_JAIL),
	ROW(pivot, ACT_JAIL),
	ROW(fsopen, SPAWNER),
	ROW(open_tree, ACT_JAIL),
	ROW(move_mount, ACT_JAIL),
	ROW(mount_setattr, ACT_JAIL),
	ROW(hostname, ACT_JAIL),
	ROW(bpf, EVERY),
	ROW(perf, EVERY),
	ROW(keyctl, EVERY),
	ROW(add_key, EVERY),
	ROW(request_key, EVERY),
	ROW(uring, EVERY),
	ROW(uring_enter, EVERY),
	ROW(uring_register, EVERY),
	ROW(userfaultfd, EVERY),
	ROW(module, EVERY),
	ROW(module_fd, EVERY),
	ROW(kexec, EVERY),
	ROW(reboot, EVERY),
	ROW(clock, EVERY),
	ROW(adjtime, EVERY),
	ROW(swapon, EVERY),
	ROW(syslog, EVERY),
	ROW(acct, EVERY),
	ROW(iopl, EVERY),
	ROW(ioperm, EVERY),
	ROW(ldt, SPAWNER),
	ROW(shm, 0),
	ROW(mq, 0),
	ROW(tiocsti, 0),
	ROW(x32, EVERY),
	ROW(int80, EVERY),
	ROW(unknown, 0),
	ROW(code, 0),
	ROW(code_later, 0),
	ROW(code_pkey, 0),
};

static void
say(const char *room, const char *name, int status)
{
	if (WIFSIGNALED(status))
		(void)dprintf(
		    2, "act %s %s signal %d\n", room, name, WTERMSIG(status));
	else if (WEXITSTATUS(status) == 0)
		(void)dprintf(2, "act %s %s done\n", room, name);
	else
		(void)dprintf(
		    2, "act %s %s errno %d\n", room, name, WEXITSTATUS(status));
}

/* The result leaves by the exit status: it needs no call but that one. */
static _Noreturn void
try(const struct act *a, void (*confine)(void *), void *arg)
{
	long r;

	(void)alarm(ACT_SECONDS);
	confine(arg);
	errno = 0;
	r = a->fn();
	/* a raw call, as int $0x80 makes it, has its error in the result */
	if (r < 0 && errno == 0)
		errno = (int)-r;
	_exit(r < 0 ? errno : 0);
}

void
acts_run(
    const char *room, unsigned int bits, void (*confine)(void *), void *arg)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, old;
	size_t i;

	etc_fd = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* the spawner's children are nobody's to wait for: ours are */
	(void)sigaction(SIGCHLD, &dfl, &old);
	for (i = 0; i < nitems(acts); i++) {
		int status = 0;
		pid_t pid;

		if (bits != 0 && (acts[i].bits & bits) == 0)
			continue;
		if ((pid = fork()) == 0)
			try(&acts[i], confine, arg);
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			(void)dprintf(2, "act %s %s lost %d\n", room,
			    acts[i].name, errno);
		else
			say(room, acts[i].name, status);
	}
	(void)sigaction(SIGCHLD, &old, NULL);
	if (etc_fd >= 0)
		(void)close(etc_fd);
	(void)dprintf(2, "act %s end\n", room);
}
