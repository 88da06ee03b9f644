#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "agent/file.h"
#include "agent/limits.h"
#include "common/fds.h"
#include "common/num.h"
#include "common/util.h"

#define ROOT "/sys/fs/cgroup"
#define GUEST_WEIGHT 1000 /* the agent, who needs little, is 100 */

int
cgroup_put(int dir, const char *file, const char *text, size_t len)
{
	int fd = openat(dir, file, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, len) < 0)
		r = -errno;
	fd_close(&fd);
	return r;
}

static void
put_num(int dir, const char *file, long long v)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%lld", v);

	(void)cgroup_put(dir, file, text, (size_t)n);
}

static int
group_open(int at, const char *name)
{
	if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
		return -1;
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int
cgroup_leaf(int at, const char *name)
{
	int fd = group_open(at, name);

	if (fd >= 0)
		(void)cgroup_put(fd, "cgroup.max.descendants", "0", 1);
	return fd;
}

/* Controllers the kernel lacks are not limits we could set.  cpu: the agent
 * and the reserve have their share however many the workload runs. */
static void
control(int dir)
{
	static const char *const all[] = { "+pids", "+memory", "+cpu" };
	size_t i;

	for (i = 0; i < nitems(all); i++)
		(void)cgroup_put(
		    dir, "cgroup.subtree_control", all[i], strlen(all[i]));
}

static void
reserve_open(struct cgroups *cg)
{
	cg->reserve = group_open(cg->guest, "reserve");
	put_num(cg->reserve, "pids.max", cg->reserve_pids);
	put_num(cg->reserve, "memory.max", cg->reserve_mem);
}

void
cgroups_open(struct cgroups *cg, const struct limits *l)
{
	int root = open(ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cg->mem = l->mem;
	cg->reserve_mem = l->reserve;
	cg->pids = l->pids;
	cg->reserve_pids = l->reserve_pids;
	control(root);
	cg->guest = group_open(root, "guest");
	fd_close(&root);
	if (cg->guest < 0)
		return;
	control(cg->guest);
	cg->work = group_open(cg->guest, "workload");
	cg->rest = cgroup_leaf(cg->work, "rest");
	put_num(cg->guest, "cpu.weight", GUEST_WEIGHT);
	put_num(cg->guest, "memory.max", l->mem + l->reserve);
	put_num(cg->work, "memory.max", l->mem);
	put_num(cg->work, "pids.max", l->pids);
	reserve_open(cg);
}

void
cgroups_close(struct cgroups *cg)
{
	fd_close(&cg->guest);
	fd_close(&cg->work);
	fd_close(&cg->rest);
	fd_close(&cg->reserve);
}

/* What is used; what cannot be read has no limit. */
static long long
used(int dir, const char *file)
{
	int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	char text[32] = "";
	long long v = 0;

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0) {
		text[strcspn(text, "\n")] = '\0';
		if (num_parse(text, 0, INT64_MAX, &v) < 0)
			v = 0;
	}
	fd_close(&fd);
	return v;
}

bool
cgroups_is_full(const struct cgroups *cg)
{
	return cg->reserve >= 0 && !cg->reserve_used &&
	    (used(cg->work, "pids.current") > cg->pids - cg->reserve_pids ||
		used(cg->work, "memory.current") > cg->mem - cg->reserve_mem);
}

/*
 * Files that an exec wrote are charged to where it was, as long as they are
 * there.  A reserve with much of that is replaced; its charge goes to the
 * group above, and the workload, whose files they are now, has less.
 */
void
cgroups_reserve_free(struct cgroups *cg)
{
	long long left, all;

	cg->reserve_used = false;
	if (used(cg->reserve, "memory.current") > cg->reserve_mem / 8) {
		fd_close(&cg->reserve);
		(void)unlinkat(cg->guest, "reserve", AT_REMOVEDIR);
		reserve_open(cg);
	}
	all = used(cg->guest, "memory.current");
	left = all - used(cg->work, "memory.current") -
	    used(cg->reserve, "memory.current");
	if (left < 0 || left > cg->mem / 2)
		left = left < 0 ? 0 : cg->mem / 2;
	put_num(cg->work, "memory.max", cg->mem - left);
}
