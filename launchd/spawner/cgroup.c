#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/util.h"
#include "launchd/spawner/cgroup.h"
#include "launchd/spawner/proc.h"

/* What a hypervisor needs beside the guest's memory: its own code and data,
 * the translation cache, keeper and warden. */
#define CGROUP_OVERHEAD_MIB 256
#define CPU_PERIOD_US 100000U
#define CONTROLLERS "+memory +pids +cpu"
#define CLEAR_ROUNDS 8

/* The mount point of cgroup v2 from mountinfo, "" for none. */
static void
find_mount(char *buf, char *ret, size_t len)
{
	char *line, *p = buf;

	ret[0] = '\0';
	while ((line = strsep(&p, "\n")) != NULL) {
		char *fields = line, *at = NULL;
		int i;

		if (strstr(line, " - cgroup2 ") == NULL)
			continue;
		for (i = 0; i < 5; i++)
			at = strsep(&fields, " ");
		if (at != NULL)
			(void)snprintf(ret, len, "%s", at);
		return;
	}
}

/* Our own group: the line "0::/path". */
static int
find_own(char *ret, size_t len)
{
	char buf[2048], *p = buf, *line;
	ssize_t n = proc_read("/proc/self/cgroup", buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	while ((line = strsep(&p, "\n")) != NULL) {
		if (strncmp(line, "0::", 3) == 0)
			break;
	}
	if (line == NULL)
		return -ENOENT;
	line += 3;
	if (strcmp(line, "/") == 0)
		line[0] = '\0';
	return snprintf(ret, len, "%s", line) < (int)len ? 0 : -ENAMETOOLONG;
}

static int
put(int dir, const char *file, const char *text)
{
	int fd = openat(dir, file, O_WRONLY | O_NOFOLLOW | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, text, strlen(text));
	close_fd(&fd);
	return r;
}

static int
has_controllers(int dir)
{
	static const char *const want[] = { "memory", "pids", "cpu" };
	char path[64], buf[512];
	size_t i;

	(void)snprintf(
	    path, sizeof(path), "/proc/self/fd/%d/cgroup.controllers", dir);
	if (proc_read(path, buf, sizeof(buf)) < 0)
		return 0;
	for (i = 0; i < nitems(want); i++) {
		char copy[512], *p, *w;

		(void)snprintf(copy, sizeof(copy), "%s", buf);
		p = copy;
		while (
		    (w = strsep(&p, " \n")) != NULL && strcmp(w, want[i]) != 0)
			;
		if (w == NULL)
			return 0;
	}
	return 1;
}

/*
 * What holds a group that a service manager made for us (a process that only
 * sleeps) has to sit below it, in /keep, before it can hand controllers down:
 * cgroups(7), "no internal processes".
 */
static int
clear_group(int dir)
{
	char path[64], buf[4096], *p, *pid;
	int keep, i, r = -EBUSY;

	if (mkdirat(dir, "keep", 0755) < 0 && errno != EEXIST)
		return -errno;
	keep = openat(dir, "keep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (keep < 0)
		return -errno;
	(void)snprintf(
	    path, sizeof(path), "/proc/self/fd/%d/cgroup.procs", dir);
	for (i = 0; i < CLEAR_ROUNDS; i++) {
		if ((r = (int)proc_read(path, buf, sizeof(buf))) <= 0)
			break;
		r = -EBUSY;
		/* one that has just ended cannot be moved, nor needs to be */
		for (p = buf; (pid = strsep(&p, "\n")) != NULL;) {
			if (pid[0] != '\0')
				(void)put(keep, "cgroup.procs", pid);
		}
	}
	close_fd(&keep);
	return r;
}

int
cgroup_find(struct cgroup *cg, const char *group, char *why, size_t len)
{
	static char buf[65536]; /* mountinfo: once, at start */
	char at[CGROUP_PATH_MAX], own[CGROUP_PATH_MAX];
	char path[2 * CGROUP_PATH_MAX];
	int fd = -1, r;

	cg->fd = -1;
	if (proc_read("/proc/self/mountinfo", buf, sizeof(buf)) > 0)
		find_mount(buf, at, sizeof(at));
	else
		at[0] = '\0';
	if (at[0] == '\0' ||
	    (group[0] == '\0' && find_own(own, sizeof(own)) < 0)) {
		(void)snprintf(why, len, "cgroup v2 is not mounted");
		return -ENOENT;
	}
	if (group[0] != '\0')
		(void)snprintf(own, sizeof(own), "%s", group);
	(void)snprintf(path, sizeof(path), "%s%s", at, own);
	if ((fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		r = -errno;
		(void)snprintf(why, len, "cgroup v2: %.60s: %m", path);
		return r;
	}
	r = -ENOTSUP;
	if (!has_controllers(fd)) {
		(void)snprintf(why, len,
		    "cgroup v2 lacks memory, pids or cpu in %.40s",
		    own[0] != '\0' ? own : "/");
		goto out;
	}
	r = put(fd, "cgroup.subtree_control", CONTROLLERS);
	/* only in a group that is said to be ours */
	if (r == -EBUSY && group[0] != '\0' && (r = clear_group(fd)) == 0)
		r = put(fd, "cgroup.subtree_control", CONTROLLERS);
	if (r == 0 && mkdirat(fd, "vm", 0755) < 0 && errno != EEXIST)
		r = -errno;
	if (r == 0 &&
	    (cg->fd = openat(fd, "vm", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		r = -errno;
	if (r == 0)
		r = put(cg->fd, "cgroup.subtree_control", CONTROLLERS);
	if (r < 0) {
		(void)snprintf(why, len, "cgroup v2 is not delegated: %s",
		    strerrordesc_np(-r));
		close_fd(&cg->fd);
		goto out;
	}
	r = snprintf(cg->path, sizeof(cg->path), "%.200s/vm", own) > 0 ? 0 : -1;
out:
	close_fd(&fd);
	return r;
}

int
cgroup_make(const struct cgroup *cg, const char *name, uint32_t mem_mib,
    uint32_t vcpus, uint32_t pids)
{
	const struct {
		const char *file;
		unsigned long long v;
	} limits[] = {
		{ "memory.max",
		    ((unsigned long long)mem_mib + CGROUP_OVERHEAD_MIB) << 20 },
		{ "memory.swap.max", 0 },
		{ "pids.max", pids },
	};
	char text[64];
	size_t i;
	int fd, r = 0;

	if (mkdirat(cg->fd, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(
	    cg->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (i = 0; i < nitems(limits) && r == 0; i++) {
		(void)snprintf(text, sizeof(text), "%llu", limits[i].v);
		r = put(fd, limits[i].file, text);
		if (r == -ENOENT && limits[i].v == 0)
			r = 0; /* a kernel without swap accounting */
	}
	(void)snprintf(text, sizeof(text), "%llu %u",
	    (unsigned long long)vcpus * CPU_PERIOD_US, CPU_PERIOD_US);
	if (r == 0)
		r = put(fd, "cpu.max", text);
	if (r < 0)
		close_fd(&fd);
	return r < 0 ? r : fd;
}

int
cgroup_remove(const struct cgroup *cg, const char *name)
{
	if (cg->fd < 0 || unlinkat(cg->fd, name, AT_REMOVEDIR) == 0 ||
	    errno == ENOENT)
		return 0;
	return -errno;
}
