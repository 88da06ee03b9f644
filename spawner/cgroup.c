#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/num.h"
#include "common/util.h"
#include "spawner/cgroup.h"
#include "spawner/proc.h"

#define CPU_PERIOD_US 100000U
#define CONTROLLERS "+memory +pids +cpu"
#define CLEAR_ROUNDS 8

/* The mount point of cgroup v2 from mountinfo; NULL: none. */
static const char *
find_mount(char *buf)
{
	char *line, *p = buf;

	while ((line = strsep(&p, "\n")) != NULL) {
		char *fields = line, *at = NULL;
		int i;

		if (strstr(line, " - cgroup2 ") == NULL)
			continue;
		for (i = 0; i < 5; i++)
			at = strsep(&fields, " ");
		return at;
	}
	return NULL;
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
	r = fd_write_all(fd, text, strlen(text));
	fd_close(&fd);
	return r;
}

/* A small file of a group; its length or -errno. */
static ssize_t
get(int dir, const char *file, char *buf, size_t cap)
{
	int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	/* the kernel makes such a file whole, in one read */
	if ((n = read(fd, buf, cap - 1)) < 0)
		n = -errno;
	else
		buf[n] = '\0';
	fd_close(&fd);
	return n;
}

static int
open_group(const struct cgroup *cg, const char *path)
{
	int fd;

	if (cg->fd < 0 || path[0] != '/')
		return -ENOENT;
	fd = openat(cg->fd, path[1] != '\0' ? path + 1 : ".",
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int
has_controllers(int dir)
{
	static const char *const want[] = { "memory", "pids", "cpu" };
	char buf[512];
	size_t i;

	if (get(dir, "cgroup.controllers", buf, sizeof(buf)) < 0)
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
	char buf[4096], *p, *pid;
	int keep, i, r = -EBUSY;

	if (mkdirat(dir, "keep", 0755) < 0 && errno != EEXIST)
		return -errno;
	keep = openat(dir, "keep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (keep < 0)
		return -errno;
	for (i = 0; i < CLEAR_ROUNDS; i++) {
		if ((r = (int)get(dir, "cgroup.procs", buf, sizeof(buf))) <= 0)
			break;
		r = -EBUSY;
		/* one that has just ended cannot be moved, nor needs to be */
		for (p = buf; (pid = strsep(&p, "\n")) != NULL;) {
			if (pid[0] != '\0')
				(void)put(keep, "cgroup.procs", pid);
		}
	}
	fd_close(&keep);
	return r;
}

void
cgroup_open(struct cgroup *cg)
{
	static char buf[65536]; /* mountinfo: once, at start */
	const char *at = NULL;

	cg->fd = -1;
	if (proc_read("/proc/self/mountinfo", buf, sizeof(buf)) > 0)
		at = find_mount(buf);
	if (at != NULL)
		cg->fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/*
 * dir/vm, with the controllers handed down to what will be in it.  What lives
 * in dir is moved only where dir is said to be ours.
 */
static int
make_base(int dir, bool ours)
{
	int fd, r = put(dir, "cgroup.subtree_control", CONTROLLERS);

	if (r == -EBUSY && ours && (r = clear_group(dir)) == 0)
		r = put(dir, "cgroup.subtree_control", CONTROLLERS);
	if (r < 0)
		return r;
	if (mkdirat(dir, "vm", 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir, "vm", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = put(fd, "cgroup.subtree_control", CONTROLLERS);
	fd_close(&fd);
	return r;
}

int
cgroup_find(struct cgroup *cg, const char *group, char *why, size_t len)
{
	char own[CGROUP_BASE_MAX];
	int fd = -1, r;

	if (cg->fd < 0 ||
	    (group[0] == '\0' && find_own(own, sizeof(own)) < 0)) {
		(void)snprintf(why, len, "cgroup v2 is not mounted");
		return -ENOENT;
	}
	if (group[0] != '\0')
		(void)snprintf(own, sizeof(own), "%s", group);
	if ((size_t)snprintf(cg->path, sizeof(cg->path), "%s/vm", own) >=
	    sizeof(cg->path)) {
		(void)snprintf(why, len, "cgroup v2: %.60s...: too long", own);
		return -ENAMETOOLONG;
	}
	if ((fd = open_group(cg, own[0] != '\0' ? own : "/")) < 0) {
		(void)snprintf(why, len, "cgroup v2: %.60s: %s", own,
		    strerrordesc_np(-fd));
		return fd;
	}
	r = -ENOTSUP;
	if (!has_controllers(fd))
		(void)snprintf(why, len,
		    "cgroup v2 lacks memory, pids or cpu in %.40s",
		    own[0] != '\0' ? own : "/");
	else if ((r = make_base(fd, group[0] != '\0')) < 0)
		(void)snprintf(why, len, "cgroup v2 is not delegated: %s",
		    strerrordesc_np(-r));
	cg->used = r == 0;
	fd_close(&fd);
	return r;
}

static int
put_limits(int fd, const struct cgroup_size *size)
{
	const struct {
		bool rule;
		const char *file;
		unsigned long long v;
	} limits[] = {
		{ RULE(CGROUP_MEMORY), "memory.max",
		    (unsigned long long)size->mem_mib << 20 },
		{ RULE(CGROUP_SWAP), "memory.swap.max", 0 },
		{ RULE(CGROUP_PIDS), "pids.max", size->pids },
	};
	char text[64];
	size_t i;
	int r = 0;

	for (i = 0; i < nitems(limits) && r == 0; i++) {
		if (!limits[i].rule)
			continue;
		(void)snprintf(text, sizeof(text), "%llu", limits[i].v);
		r = put(fd, limits[i].file, text);
		if (r == -ENOENT && limits[i].v == 0)
			r = 0; /* a kernel without swap accounting */
	}
	(void)snprintf(text, sizeof(text), "%llu %u",
	    (unsigned long long)size->vcpus * CPU_PERIOD_US, CPU_PERIOD_US);
	if (r == 0 && RULE(CGROUP_CPU))
		r = put(fd, "cpu.max", text);
	return r;
}

int
cgroup_make(
    const struct cgroup *cg, const char *path, const struct cgroup_size *size)
{
	int fd, r;

	/* one that a crash left counts what was before */
	if ((r = cgroup_remove(cg, path)) < 0)
		return r;
	if (mkdirat(cg->fd, path + 1, 0755) < 0)
		return -errno;
	if ((fd = open_group(cg, path)) < 0)
		return fd;
	if ((r = put_limits(fd, size)) < 0) {
		fd_close(&fd);
		(void)cgroup_remove(cg, path);
		return r;
	}
	return fd;
}

int
cgroup_kill(const struct cgroup *cg, const char *path)
{
	int fd = open_group(cg, path), r;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = put(fd, "cgroup.kill", "1");
	fd_close(&fd);
	return r == -ENOENT ? 0 : r; /* a kernel before 5.14 */
}

int
cgroup_remove(const struct cgroup *cg, const char *path)
{
	if (cg->fd < 0 || path[0] == '\0' ||
	    unlinkat(cg->fd, path + 1, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return -errno;
}

int
cgroup_oom_kills(const struct cgroup *cg, const char *path, uint32_t *ret)
{
	static const char key[] = "oom_kill ";
	char buf[512], *p = buf, *line;
	int fd = open_group(cg, path);
	ssize_t n;
	long long v;

	if (fd < 0)
		return fd;
	n = get(fd, "memory.events", buf, sizeof(buf));
	fd_close(&fd);
	if (n < 0)
		return (int)n;
	while ((line = strsep(&p, "\n")) != NULL) {
		if (strncmp(line, key, sizeof(key) - 1) != 0)
			continue;
		if (num_parse(line + sizeof(key) - 1, 0, UINT32_MAX, &v) < 0)
			return -EBADMSG;
		*ret = (uint32_t)v;
		return 0;
	}
	return -ENOENT;
}
