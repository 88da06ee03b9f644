#ifndef MEWS_CONFINE_H
#define MEWS_CONFINE_H

#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * How a room gives away what it does not need, in this order: root, groups,
 * gid, bounding set, uid, capabilities, no_new_privs, Landlock, limits.
 * Any failure is fatal(): a room that is not confined does not run.
 */
#define CAP_BIT(c) (1ULL << (c))

struct landlock_path {
	const char *path; /* inside the new root; NULL: */
	uint64_t access; /* LANDLOCK_ACCESS_FS_*; kernel lacks some: dropped */
	int fd; /* a folder that is open, wherever it is */
};

/*
 * RLIMIT_CORE: no file, as it is less than a page; and no program of the host
 * either, which a core_pattern that begins with a pipe starts even at 0, but
 * not at 1 (fs/coredump.c, core(5)).
 */
#define LIMIT_NO_CORE 1

struct confinement {
	const char *root; /* chroot(2) and chdir there; NULL: keep */
	uid_t uid;
	gid_t gid; /* the only group */
	uint64_t caps; /* CAP_BIT()s kept permitted, effective and bounding */
	const struct landlock_path *paths; /* what stays reachable, or NULL: */
	size_t npaths; /* with none, nothing can be opened at all */
	unsigned int nofile; /* RLIMIT_NOFILE lowered to this; 0: keep */
	unsigned int nproc; /* RLIMIT_NPROC; 0: keep */
	int mounts; /* 1: no Landlock, which forbids every mount(2) */
	int tied; /* 1: the kernel kills it when who started it ends; its filter
		   * must not allow prctl(2) */
};

void proc_confine(const struct confinement *c);
/* One step of it, for a child between clone and exec, where nothing may be
 * fatal: the bounding set without what is not in keep.  0 or -errno, errno
 * as well. */
int caps_drop_bounding(uint64_t keep);

/*
 * seccomp(2) through libseccomp.  One row per system call with its reason;
 * the installer sets no_new_privs, adds the rows, loads, or dies.
 * An argument row compares (arg & mask) == val.  Several rows of one call
 * are alternatives.
 */
struct seccomp_rule {
	int nr; /* SCMP_SYS(name) */
	int arg; /* -1: any arguments */
	uint64_t mask;
	uint64_t val;
	int err; /* 0: allowed; else the errno it fails with, or SC_FAKED */
};

/* The call is not made, and its caller believes that it was: it returns 0. */
#define SC_FAKED (-1)

#define SC_ALLOW(sc)                      \
	{                                 \
		SCMP_SYS(sc), -1, 0, 0, 0 \
	}
#define SC_ALLOW_IF(sc, arg, mask, val)               \
	{                                             \
		SCMP_SYS(sc), (arg), (mask), (val), 0 \
	}
#define SC_FAIL(sc, e)                      \
	{                                   \
		SCMP_SYS(sc), -1, 0, 0, (e) \
	}

#define SC_FAKE_IF(sc, arg, mask, val)                       \
	{                                                    \
		SCMP_SYS(sc), (arg), (mask), (val), SC_FAKED \
	}

/* Everything not in the table kills the process. Both tables may be used at
 * once: base is what every event-loop room needs (seccomp_loop). */
void seccomp_allow(const struct seccomp_rule *base, size_t nbase,
    const struct seccomp_rule *own, size_t nown);
#ifdef SECCOMP_DEBUG
/* Names a refused call in the log, from SIGSYS.  A handler does not outlive
 * an exec; what is exec'ed under a list is named by who holds the list's
 * listener, which seccomp_watched() returns and seccomp_debug_say() asks for
 * one call. */
void seccomp_debug_arm(void);
int seccomp_watched(const struct seccomp_rule *rows, size_t n);
void seccomp_debug_say(int listener, const char *program);
#endif
/* The deny-list of those that spawn others: the rows' calls kill. */
void seccomp_deny(const struct seccomp_rule *rows, size_t n);

/* epoll, messages, memory, time, log: what libevent and chan.c need. */
extern const struct seccomp_rule seccomp_loop[];
extern const size_t seccomp_loop_len;

#endif
