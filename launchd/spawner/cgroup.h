#ifndef MEWS_SPAWNER_CGROUP_H
#define MEWS_SPAWNER_CGROUP_H

#include <stddef.h>
#include <stdint.h>

/*
 * cgroup v2 (cgroups(7)): one group per VM with memory, pids and cpu, below
 * the group that was delegated to the suite.
 */
#define CGROUP_PATH_MAX 256
struct cgroup {
	int fd; /* folder in which VMs get theirs; -1: not used */
	char path[CGROUP_PATH_MAX]; /* as /proc/PID/cgroup spells it */
};

/*
 * group: where VMs get theirs, below the mount of cgroup v2 ("/a/b"); "" for
 * our own, which must be the root or hold no process.  Fills cg, or says in
 * why[] why this host has none. 0 or -errno.
 */
int cgroup_find(struct cgroup *cg, const char *group, char *why, size_t len);
/* Makes the VM's group with its limits; returns its descriptor or -errno. */
int cgroup_make(const struct cgroup *cg, const char *name, uint32_t mem_mib,
    uint32_t vcpus, uint32_t pids);
int cgroup_remove(const struct cgroup *cg, const char *name);

#endif
