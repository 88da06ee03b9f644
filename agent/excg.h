#ifndef MEWS_AGENT_EXCG_H
#define MEWS_AGENT_EXCG_H

/*
 * A cgroup (v2) of each exec below the workload's, for one thing: to end all
 * that the exec started, also what left its process group by setsid(2).
 */
struct excg {
	unsigned int id;
	int dir; /* -1: there is none; the process group has to do */
};

/* root is the workload's cgroup, or -1. */
void excg_make(int root, struct excg *g);
/* In the child: joins.  0 or -errno; 0 as well when there is none. */
int excg_enter(const struct excg *g);
/* SIGKILL to everyone in it, forks under way included. */
void excg_kill(const struct excg *g);
/* Its leader has ended: whom it left behind is the workload's from now on. */
void excg_release(int root, struct excg *g);

#endif
