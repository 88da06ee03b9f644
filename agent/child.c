#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "agent/child.h"
#include "agent/raw.h"
#include "agent/work.h"

#define NO_COMMAND 127
#define NO_EXEC 126
#define PATH_LEN_MAX 4096
#define SIGSET_BYTES 8 /* the kernel's */

/* ---- in the child: RAW() and plain memory, nothing else */

/* Where it was told to begin, as who it is; else at home, if there is one. */
static int
enter_dir(const struct child *ch)
{
	const char *home = ch->has_user ? ch->user.home : "/root";
	long r;

	if (ch->req.cwd[0] != '\0')
		return (int)RAW(chdir, ch->req.cwd);
	r = RAW(chdir, home);
	return r < 0 && ch->has_user ? (int)RAW(chdir, "/") : (int)r;
}

/* All of the agent's: another exec's input would not end while this one, whom
 * others of its user may stop, has it open. */
static int
close_others(int keep)
{
	long r = 0;

	if (keep > 3)
		r = RAW(close_range, 3, keep - 1, 0);
	if (r == 0)
		r = RAW(close_range, keep >= 3 ? keep + 1 : 3, ~0U, 0);
	return (int)r;
}

static int
setup(const struct child *ch)
{
	const uint64_t none = 0;
	long r;

	if ((r = RAW(setsid, 0)) < 0 ||
	    (r = work_enter(ch->work, ch->joins ? &ch->group : NULL)) < 0 ||
	    (r = RAW(dup2, ch->std[0], 0)) < 0 ||
	    (r = RAW(dup2, ch->std[1], 1)) < 0 ||
	    (r = RAW(dup2, ch->std[2], 2)) < 0 ||
	    (r = close_others(ch->keep)) < 0)
		return (int)r;
	if (ch->req.tty && (r = RAW(ioctl, 0, TIOCSCTTY, 0)) < 0)
		return (int)r;
	if ((r = work_limit_files(ch->work)) < 0 || (r = work_drop_caps()) < 0)
		return (int)r;
	(void)RAW(umask, 022);
	if ((ch->has_user && (r = work_become(&ch->user)) < 0) ||
	    (r = enter_dir(ch)) < 0)
		return (int)r;
	return (int)RAW(rt_sigprocmask, SIG_SETMASK, &none, NULL, SIGSET_BYTES);
}

/* execve(2); what has no interpreter is the shell's, as execvp(3) has it. */
static int
run(const struct child *ch, const char *path)
{
	static const char shell[] = "/bin/sh";
	char **argv = ch->argv;
	long r = RAW(execve, path, argv, ch->envp);

	if (r == -ENOEXEC) {
		argv[-1] = (char *)(uintptr_t)shell;
		argv[0] = (char *)(uintptr_t)path;
		r = RAW(execve, shell, argv - 1, ch->envp);
	}
	return (int)r;
}

static const char *
env_path(char *const *env)
{
	for (; *env != NULL; env++) {
		if (strncmp(*env, "PATH=", 5) == 0)
			return *env + 5;
	}
	return "/bin:/usr/bin";
}

/* Along the PATH of its own environment. */
static int
search(const struct child *ch)
{
	const char *name = ch->argv[0], *dir = env_path(ch->envp);
	size_t len = strlen(name), n;
	char path[PATH_LEN_MAX];
	bool denied = false;
	int r = -ENOENT;

	if (len == 0 || strchr(name, '/') != NULL)
		return len == 0 ? -ENOENT : run(ch, name);
	for (;; dir += n + 1) {
		n = strcspn(dir, ":");
		if (n + len + 2 <= sizeof(path)) {
			memcpy(path, dir, n);
			path[n] = '/';
			/* an empty entry is the current directory */
			memcpy(path + n + (n > 0), name, len + 1);
			r = run(ch, path);
			denied = denied || r == -EACCES;
			if (r != -ENOENT && r != -ENOTDIR && r != -EACCES)
				return r;
		}
		if (dir[n] == '\0')
			return denied ? -EACCES : -ENOENT;
	}
}

static _Noreturn void
child_main(void *arg)
{
	struct child *ch = arg;
	int r = setup(ch);

	if (r == 0)
		r = search(ch);
	ch->fail = r;
	for (;;)
		(void)RAW(exit_group, r == -ENOENT ? NO_COMMAND : NO_EXEC);
}

/* ---- in the agent */

/* The child starts on a stack of its own, so it cannot return from here. */
static long
clone_call(const struct clone_args *ca, void (*fn)(void *), void *arg)
{
	register void (*r8)(void *) __asm__("r8") = fn;
	register void *r9 __asm__("r9") = arg;
	long r;

	__asm__ volatile(
	    "syscall\n\t"
	    "test %%rax, %%rax\n\t"
	    "jnz 1f\n\t"
	    "xor %%ebp, %%ebp\n\t"
	    "mov %%r9, %%rdi\n\t"
	    "call *%%r8\n\t"
	    "ud2\n"
	    "1:"
	    : "=a"(r)
	    : "0"(SYS_clone3), "D"(ca), "S"(sizeof(*ca)), "r"(r8), "r"(r9)
	    : "rcx", "r11", "memory");
	return r;
}

pid_t
child_start(struct child *ch)
{
	struct clone_args ca = {
		.flags = CLONE_VM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
		.parent_tid = (uintptr_t)&ch->tid,
		.child_tid = (uintptr_t)&ch->tid,
		.exit_signal = SIGCHLD,
		.stack = (uintptr_t)ch->stack,
		.stack_size = sizeof(ch->stack),
	};
	long pid = -ENOENT;

	/* to be born in a cgroup costs nothing; to move into one, the wait
	 * for every processor to pass a quiet point: 10 ms and more */
	ch->joins = false;
	if (ch->group.dir >= 0) {
		ca.flags |= CLONE_INTO_CGROUP;
		ca.cgroup = (uint64_t)ch->group.dir;
		pid = clone_call(&ca, child_main, ch);
		ca.flags &= ~(uint64_t)CLONE_INTO_CGROUP;
		ca.cgroup = 0;
	}
	if (pid < 0) {
		/* the workload is at its limit of processes, which holds for
		 * births and not for moves: an exec has to get in and end it */
		ch->joins = true;
		pid = clone_call(&ca, child_main, ch);
	}
	return (pid_t)pid;
}

bool
child_is_away(const struct child *ch)
{
	return atomic_load(&ch->tid) == 0;
}
