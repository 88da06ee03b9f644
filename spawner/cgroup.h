#ifndef MEWS_SPAWNER_CGROUP_H
#define MEWS_SPAWNER_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/jail.h"

/*
 * cgroup v2 (cgroups(7)): one group per jail with memory, pids and cpu, below
 * the group that was delegated to the suite.  All of it is root's and in no
 * jail, so names and numbers in it are the kernel's and ours (I12).
 */
#define CGROUP_BASE_MAX 200
/* base, slash, a jail's name */
#define CGROUP_PATH_MAX (CGROUP_BASE_MAX + 1 + JAIL_NAME_MAX)
struct cgroup {
	int fd; /* where cgroup v2 is mounted; -1: nowhere */
	bool used; /* VMs that are started now get groups */
	char path[CGROUP_BASE_MAX]; /* in which folder, below fd: "/a/vm" */
};

/* What a jail may have. */
struct cgroup_size {
	uint64_t mem_mib; /* guest memory and what the programs need */
	uint32_t pids; /* threads count */
	uint32_t vcpus; /* processors' worth of time */
};

/* Where cgroup v2 is mounted, if it is. */
void cgroup_open(struct cgroup *cg);
/*
 * group: where VMs get theirs, below the mount of cgroup v2 ("/a/b"); "" for
 * our own, which must be the root or hold no process.  Fills cg, or says in
 * why[] why this host has none.
 * 0 or -errno.
 */
int cgroup_find(struct cgroup *cg, const char *group, char *why, size_t len);

/*
 * A group is named by its path below the mount, as /proc/PID/cgroup spells it
 * and a VM's record keeps it; "" is no group, which all of these take.
 */
/* An empty group with its limits; returns its descriptor or -errno. */
int cgroup_make(
    const struct cgroup *cg, const char *path, const struct cgroup_size *size);
/* SIGKILL to whatever is in it. */
int cgroup_kill(const struct cgroup *cg, const char *path);
/* -EBUSY while something is in it. */
int cgroup_remove(const struct cgroup *cg, const char *path);
/* How many of its processes the kernel killed for want of memory. */
int cgroup_oom_kills(const struct cgroup *cg, const char *path, uint32_t *ret);

#endif
