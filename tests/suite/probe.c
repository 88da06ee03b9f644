#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common/util.h"

/*
 * In the hypervisor's place, under its filter: makes the one system call
 * that the word probe=NAME in the kernel's arguments names.  Exits with 0
 * if it passed, with its errno if it failed; the test wants most to kill.
 */
#define CALL(name, nr, ...)                        \
	static long name(void)                     \
	{                                          \
		return syscall(nr, ##__VA_ARGS__); \
	}

CALL(p_socket, SYS_socket, AF_UNIX, SOCK_STREAM, 0)
CALL(p_vsock, SYS_socket, AF_VSOCK, SOCK_STREAM, 0)
CALL(p_connect, SYS_connect, 4, "", 2)
CALL(p_bind, SYS_bind, 4, "", 2)
CALL(p_ptrace, SYS_ptrace, 16, 1, 0, 0)
CALL(p_kill, SYS_kill, 1, 0)
CALL(p_tkill, SYS_tkill, 1, 0)
CALL(p_tgkill, SYS_tgkill, 1, 1, 0)
CALL(p_mount, SYS_mount, "a", "/", "tmpfs", 0, 0)
CALL(p_unshare, SYS_unshare, CLONE_NEWUSER)
CALL(p_setns, SYS_setns, 4, 0)
CALL(p_bpf, SYS_bpf, 0, 0, 0)
CALL(p_keyctl, SYS_keyctl, 0, 0)
CALL(p_userfaultfd, SYS_userfaultfd, 0)
CALL(p_perf, SYS_perf_event_open, 0, 0, -1, -1, 0)
CALL(p_process_vm, SYS_process_vm_readv, 1, 0, 0, 0, 0, 0)
CALL(p_pidfd, SYS_pidfd_open, 1, 0)
CALL(p_execve, SYS_execve, "/usr/bin/qemu-system-x86_64", 0, 0)
CALL(p_execveat, SYS_execveat, AT_FDCWD, "/bin/sh", 0, 0, 0)
CALL(p_fork, SYS_fork)
CALL(p_vfork, SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0)
CALL(p_newuser, SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_NEWUSER, 0, 0)
CALL(p_chroot, SYS_chroot, "/")
CALL(p_setuid, SYS_setuid, 0)
CALL(p_handle, SYS_open_by_handle_at, AT_FDCWD, 0, 0)
CALL(p_uring_enter, SYS_io_uring_enter, 4, 0, 0, 0, 0)
CALL(p_tiocsti, SYS_ioctl, 0, 0x5412, "x")
CALL(p_ioctl_kvm, SYS_ioctl, 0, KVM_GET_API_VERSION, 0)
CALL(p_unlink, SYS_unlink, "/x")
CALL(p_unlinkat, SYS_unlinkat, AT_FDCWD, "/x", 0)
CALL(p_rename, SYS_rename, "/x", "/y")
CALL(p_mkdir, SYS_mkdir, "/x", 0700)
CALL(p_chmod, SYS_chmod, "/x", 0700)
CALL(p_symlink, SYS_symlink, "/x", "/y")
CALL(p_mknod, SYS_mknod, "/x", 0, 0)
CALL(p_personality, SYS_personality, 0)
CALL(p_x32, 0x40000000 | SYS_getpid)
CALL(p_dup2, SYS_dup2, 0, 50)
CALL(p_shmget, SYS_shmget, 0, 4096, 01600)
CALL(p_setown, SYS_fcntl, 2, F_SETOWN, 2)
CALL(p_setsig, SYS_fcntl, 2, F_SETSIG, SIGKILL)
CALL(p_setlease, SYS_fcntl, 2, F_SETLEASE, F_RDLCK)
CALL(p_dumpable, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
CALL(p_setsockopt, SYS_setsockopt, 4, SOL_SOCKET, SO_ATTACH_FILTER, 0, 0)
/* past the vDSO, as on a host whose clock it cannot read */
CALL(p_clock_gettime, SYS_clock_gettime, CLOCK_MONOTONIC,
    &(struct timespec){ 0 })
CALL(p_gettimeofday, SYS_gettimeofday, &(struct timeval){ 0 }, NULL)
CALL(p_time, SYS_time, NULL)
CALL(p_clone3, SYS_clone3, 0, 0)
CALL(p_uring_setup, SYS_io_uring_setup, 1, 0)
CALL(p_memfd, SYS_memfd_create, "x", 0)
CALL(p_mbind, SYS_mbind, 0, 0, 0, 0, 0, 0)

/* 0 also for a call that was not made; what reached its descriptor, which in
 * a test may be /dev/null, shows by EXDEV. */
static int vhost_fd = -1; /* as the arguments say */

static long
p_set_cid(void)
{
	const uint64_t cid = 12345;
	const int r = ioctl(vhost_fd, VHOST_VSOCK_SET_GUEST_CID, &cid);

	if (r < 0 && errno == ENOTTY)
		errno = EXDEV; /* /dev/null was asked: no filter answered */
	return r;
}

static long
p_getrandom(void)
{
	char c;

	return syscall(SYS_getrandom, &c, 1, 0);
}

static long
p_pipe2(void)
{
	int fds[2];

	return syscall(SYS_pipe2, fds, O_CLOEXEC);
}

static long
p_mmap_wx(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
	    ? -1
	    : 0;
}

static long
p_mprotect(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static void *
nothing(void *arg)
{
	return arg;
}

static long
p_thread(void)
{
	pthread_t t;
	int r = pthread_create(&t, NULL, nothing, NULL);

	if (r != 0) {
		errno = r;
		return -1;
	}
	return pthread_join(t, NULL);
}

static const struct {
	const char *name;
	long (*fn)(void);
} probes[] = {
	{ "clock-gettime", p_clock_gettime },
	{ "gettimeofday", p_gettimeofday },
	{ "time", p_time },
	{ "socket", p_socket },
	{ "socket-vsock", p_vsock },
	{ "connect", p_connect },
	{ "bind", p_bind },
	{ "ptrace", p_ptrace },
	{ "kill", p_kill },
	{ "tkill", p_tkill },
	{ "tgkill", p_tgkill },
	{ "mount", p_mount },
	{ "unshare", p_unshare },
	{ "setns", p_setns },
	{ "bpf", p_bpf },
	{ "keyctl", p_keyctl },
	{ "userfaultfd", p_userfaultfd },
	{ "perf", p_perf },
	{ "process-vm", p_process_vm },
	{ "pidfd-open", p_pidfd },
	{ "execve", p_execve },
	{ "execveat", p_execveat },
	{ "fork", p_fork },
	{ "vfork", p_vfork },
	{ "clone-newuser", p_newuser },
	{ "chroot", p_chroot },
	{ "setuid", p_setuid },
	{ "open-by-handle", p_handle },
	{ "io-uring-enter", p_uring_enter },
	{ "ioctl-tiocsti", p_tiocsti },
	{ "ioctl-kvm", p_ioctl_kvm },
	{ "unlink", p_unlink },
	{ "unlinkat", p_unlinkat },
	{ "rename", p_rename },
	{ "mkdir", p_mkdir },
	{ "chmod", p_chmod },
	{ "symlink", p_symlink },
	{ "mknod", p_mknod },
	{ "personality", p_personality },
	{ "x32", p_x32 },
	{ "dup2", p_dup2 },
	{ "shmget", p_shmget },
	{ "fcntl-setown", p_setown },
	{ "fcntl-setsig", p_setsig },
	{ "fcntl-setlease", p_setlease },
	{ "prctl-dumpable", p_dumpable },
	{ "setsockopt", p_setsockopt },
	{ "clone3", p_clone3 },
	{ "io-uring-setup", p_uring_setup },
	{ "memfd-create", p_memfd },
	{ "mbind", p_mbind },
	{ "set-cid", p_set_cid },
	{ "getrandom", p_getrandom },
	{ "pipe2", p_pipe2 },
	{ "mmap-exec", p_mmap_wx },
	{ "mmap-wx", p_mmap_wx },
	{ "mprotect-exec", p_mprotect },
	{ "thread", p_thread },
};

int
main(int argc, char *argv[])
{
	const char *want = NULL, *fd;
	char line[80];
	size_t i;
	int n;

	for (n = 1; n < argc; n++) {
		if (want == NULL)
			want = strstr(argv[n], "probe=");
		if ((fd = strstr(argv[n], "vhostfd=")) != NULL)
			vhost_fd = (int)strtol(fd + 8, NULL, 10);
	}
	for (i = 0; want != NULL && i < nitems(probes); i++) {
		if (strcmp(want + 6, probes[i].name) != 0)
			continue;
		n = snprintf(line, sizeof(line), "probe %s\n", probes[i].name);
		if (write(2, line, (size_t)n) != n)
			return 126;
		/* ENOTTY: the filter let an ioctl through to /dev/null */
		return probes[i].fn() < 0 && errno != ENOTTY ? errno : 0;
	}
	return 125;
}
