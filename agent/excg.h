#ifndef MEWS_AGENT_EXCG_H
#define MEWS_AGENT_EXCG_H

#include <stdbool.h>

/*
 * A cgroup (v2) of each exec below the workload's, for one thing: to end all
 * that the exec started, also what left its process group by setsid(2).
 */
struct excg {
	unsigned int id;
	int dir; /* -1: there is none; the process group has to do */
	bool killed;
};

/* Where they are made. */
struct excgs {
	int root; /* the workload's cgroup; -1: there is none */
	unsigned int next; /* id */
	struct excg spare; /* empty; dir -1: none.  Making one takes long */
};

void excg_make(struct excgs *gs, struct excg *g);
/* In a child that may share the agent's memory: joins.  0 or -errno. */
int excg_enter(const struct excg *g);
/* SIGKILL to everyone in it, forks under way included. */
void excg_kill(struct excg *g);
/* Its leader has ended: whom it left behind is the workload's from now on. */
void excg_release(struct excgs *gs, struct excg *g);
/* The spare and the root. */
void excgs_close(struct excgs *gs);

#endif
