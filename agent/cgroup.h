#ifndef MEWS_AGENT_CGROUP_H
#define MEWS_AGENT_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

struct limits;

/*
 * The guest's cgroups (v2), as far as this kernel has them:
 *
 *	guest		all but the agent
 *	  workload	its limits
 *	    rest	its pid 1, and whom execs left behind
 *	    exec-N	(agent/execgroup.h)
 *	  reserve	the limits of one exec, when the workload is at its own
 *	    exec-N
 *
 * The lowest may have none below them: who makes a cgroup namespace in one
 * sees nobody else's, and what is set at its root is not its to change
 * (nsdelegate).
 */
struct cgroups {
	int guest; /* -1: there is no cgroup v2 here */
	int work, rest, reserve;
	bool reserve_used;
	long long mem, reserve_mem; /* their limits, bytes */
	long long pids, reserve_pids;
};
#define CGROUPS_NONE                                               \
	{                                                          \
		.guest = -1, .work = -1, .rest = -1, .reserve = -1 \
	}

void cgroups_open(struct cgroups *cg, const struct limits *l);
void cgroups_close(struct cgroups *cg);
/* Less is left to the workload than the reserve has, and that is free. */
bool cgroups_is_full(const struct cgroups *cg);
/* Nobody is in the reserve any more: it is made ready for the next. */
void cgroups_reserve_free(struct cgroups *cg);

/* Opens a group, made if need be, below which none can be.  -1: no. */
int cgroup_leaf(int at, const char *name);
/* 0 or -errno. */
int cgroup_put(int dir, const char *file, const char *text, size_t len);

#endif
