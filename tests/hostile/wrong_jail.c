#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/util.h"

/*
 * The spawner as it ships, but for one thing in the jails it makes, which
 * MEWS_WRONG names: the read-back has to find it.
 */
#define STRAY_CAP CAP_KILL /* one of the spawner's own */

int __real_setgroups(size_t n, const gid_t *list);
int __wrap_setgroups(size_t n, const gid_t *list);
int __real_setresgid(gid_t r, gid_t e, gid_t s);
int __wrap_setresgid(gid_t r, gid_t e, gid_t s);
int __real_setresuid(uid_t r, uid_t e, uid_t s);
int __wrap_setresuid(uid_t r, uid_t e, uid_t s);
int __real_prctl(int what, ...);
int __wrap_prctl(int what, ...);
long __real_syscall(long nr, ...);
long __wrap_syscall(long nr, ...);
int __real_execve(const char *path, char *const argv[], char *const envp[]);
int __wrap_execve(const char *path, char *const argv[], char *const envp[]);
void __real_seccomp_deny(const struct seccomp_rule *rows, size_t n);
void __wrap_seccomp_deny(const struct seccomp_rule *rows, size_t n);

static bool in_jail;

static bool
wrong(const char *what)
{
	const char *w = secure_getenv("MEWS_WRONG");

	return w != NULL && strcmp(w, what) == 0;
}

/* One that refuses nothing, and without no_new_privs: by CAP_SYS_ADMIN. */
static void
one_filter(void)
{
	struct sock_filter f = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = { .len = 1, .filter = &f };

	if (__real_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0)
		_exit(126);
}

/* The first thing that a jail gives up: it still may do all the rest. */
int
__wrap_setgroups(size_t n, const gid_t *list)
{
	static const struct {
		const char *name;
		int flag;
	} spaces[] = {
		{ "mnt", CLONE_NEWNS },
		{ "pid", CLONE_NEWPID }, /* of its children */
		{ "net", CLONE_NEWNET },
		{ "ipc", CLONE_NEWIPC },
		{ "uts", CLONE_NEWUTS },
	};
	const gid_t tty = 5;
	size_t i;

	if (!in_jail)
		return __real_setgroups(n, list);
	if (wrong("nnp") || wrong("filters"))
		one_filter();
	for (i = 0; i < nitems(spaces); i++) {
		if (wrong(spaces[i].name) && unshare(spaces[i].flag) < 0)
			_exit(126);
	}
	return wrong("groups") ? __real_setgroups(1, &tty)
			       : __real_setgroups(n, list);
}

int
__wrap_setresgid(gid_t r, gid_t e, gid_t s)
{
	return __real_setresgid(in_jail && wrong("gid") ? r + 1 : r, e, s);
}

int
__wrap_setresuid(uid_t r, uid_t e, uid_t s)
{
	if (in_jail && wrong("caps") &&
	    __real_prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		_exit(126);
	/* the neighbour's, all of it: an exec without privileges makes one of
	 * real and effective (before Linux 6.16) */
	if (in_jail && wrong("uid"))
		return __real_setresuid(r + 1, e + 1, s + 1);
	return __real_setresuid(r, e, s);
}

/* Only what is still in the bounding set can become inheritable. */
static void
inherit_stray(void)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2];

	if (__real_syscall(SYS_capget, &hdr, data) < 0)
		_exit(126);
	data[0].inheritable |= 1U << STRAY_CAP;
	if (__real_syscall(SYS_capset, &hdr, data) < 0)
		_exit(126);
}

int
__wrap_prctl(int what, ...)
{
	unsigned long a[4];
	va_list ap;
	size_t i;

	va_start(ap, what);
	for (i = 0; i < nitems(a); i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (what == PR_SET_NO_NEW_PRIVS && wrong("nnp"))
		return 0;
	if (what == PR_CAPBSET_DROP && in_jail && wrong("bounding") &&
	    a[0] == STRAY_CAP)
		return 0;
	if (what == PR_CAPBSET_DROP && in_jail && wrong("caps") &&
	    a[0] == STRAY_CAP)
		inherit_stray();
	return __real_prctl(what, a[0], a[1], a[2], a[3]);
}

/* A capability that every program of the jail inherits. */
static long
stray_cap(void)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2] = { { 1U << STRAY_CAP,
	    1U << STRAY_CAP, 1U << STRAY_CAP } };

	if (__real_syscall(SYS_capset, &hdr, data) < 0 ||
	    __real_prctl(
		PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, STRAY_CAP, 0, 0) < 0)
		_exit(126);
	return 0;
}

long
__wrap_syscall(long nr, ...)
{
	unsigned long a[6];
	va_list ap;
	size_t i;
	long r;

	va_start(ap, nr);
	for (i = 0; i < nitems(a); i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (nr == SYS_capset && in_jail && wrong("caps"))
		return stray_cap();
	if (nr == SYS_clone3 && wrong("cgroup"))
		((struct clone_args *)a[0])->flags &= ~CLONE_INTO_CGROUP;
	r = __real_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (nr == SYS_clone3 && r == 0)
		in_jail = true;
	return r;
}

int
__wrap_execve(const char *path, char *const argv[], char *const envp[])
{
	if (in_jail && wrong("user") && unshare(CLONE_NEWUSER) < 0)
		_exit(126);
	return __real_execve(path, argv, envp);
}

void
__wrap_seccomp_deny(const struct seccomp_rule *rows, size_t n)
{
	if (wrong("nnp"))
		one_filter();
	else if (!wrong("seccomp"))
		__real_seccomp_deny(rows, n);
}
