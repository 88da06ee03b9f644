#ifndef MEWS_AGENT_EXECGROUP_H
#define MEWS_AGENT_EXECGROUP_H

#include <stdbool.h>

#include "agent/cgroup.h"

/*
 * A cgroup (v2) of each exec, for one thing: to end all that the exec started,
 * also what left its process group by setsid(2).
 */
struct execgroup {
	unsigned int id;
	int dir; /* -1: there is none; the process group has to do */
	bool killed;
	bool is_reserve; /* in the reserve, which is no other's then */
};

/* Where they are made. */
struct execgroups {
	struct cgroups cg;
	unsigned int next; /* id */
	struct execgroup
	    spare; /* empty; dir -1: none.  Making one takes long */
};
#define EXECGROUPS_NONE                                   \
	{                                                 \
		.cg = CGROUPS_NONE, .spare = {.dir = -1 } \
	}

void execgroup_make(struct execgroups *gs, struct execgroup *g);
/* In a child that may share the agent's memory: joins.  0 or -errno. */
int execgroup_enter(const struct execgroup *g);
/* SIGKILL to everyone in it, forks under way included. */
void execgroup_kill(struct execgroup *g);
/* A signal to everyone in it now. */
void execgroup_signal(const struct execgroup *g, int sig);
/* Its leader has ended: whom it left behind is the workload's from now on. */
void execgroup_release(struct execgroups *gs, struct execgroup *g);
/* The spare and the groups. */
void execgroups_close(struct execgroups *gs);

#endif
