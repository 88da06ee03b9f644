#ifndef MEWS_AGENT_WORK_H
#define MEWS_AGENT_WORK_H

#include <stdint.h>
#include <sys/types.h>

#include "agent/execgroup.h"
#include "agent/limits.h"
#include "agent/loop.h"

struct boot_spec;
struct err;
struct user;

/*
 * The workload's room in the guest: own pid, mount, uts and ipc namespace,
 * cgroup where the kernel has them, a root of its own from which the
 * agent's is not reachable, few capabilities, and a /dev without the
 * channel.  Its pid 1 is a child of the agent that only reaps, and tells it
 * when somebody there wants the machine to end (poweroff, halt, reboot).
 */
struct work {
	pid_t pid; /* its pid 1; 0: none */
	int pidfd;
	int procs_fd; /* cgroup.procs of its rest; -1: no cgroup v2 here */
	int pts_fd; /* its devpts, opened before any stranger ran */
	int root_fd; /* its root */
	struct watch ask; /* its pid 1 was told to end the machine */
	struct execgroups groups;
	struct limits limits;
};

#define WORK_NONE                                                         \
	{                                                                 \
		.pidfd = -1, .procs_fd = -1, .pts_fd = -1, .root_fd = -1, \
		.ask.fd = -1, .groups = EXECGROUPS_NONE                   \
	}

/*
 * Builds it and waits until it stands (5 s at most; only our own code runs
 * in it until then).  0 or -errno with e.  On success new children of the
 * caller are born in its pid namespace.
 */
int work_start(struct work *w, const struct boot_spec *spec, struct err *e);

/* ---- in a child that is about to be the workload's; it may share the
 * agent's memory (agent/child.h) */

/* Joins all of it, in the exec's own cgroup, unless that is NULL: it was
 * born there.  0 or -errno. */
int work_enter(const struct work *w, const struct execgroup *g);
/* The limit of open files of a process.  0 or -errno. */
int work_limit_files(const struct work *w);
/* Gives up what no workload may have (bounding set).  0 or -errno. */
int work_drop_caps(void);
/* Becomes u, for good: with another uid than 0 no capability is left.  0 or
 * -errno. */
int work_become(const struct user *u);

#endif
