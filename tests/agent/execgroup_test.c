#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/detach.h"
#include "agent/execgroup.h"
#include "common/fds.h"
#include "tests/suite/t.h"

/* Groups as directories: one with a file in it is in use, as one with a process
 * is. */

static int parent = -1;
static bool is_refused;

bool
cgroups_is_full(const struct cgroups *cg)
{
	(void)cg;
	return false;
}

int
cgroup_leaf(int at, const char *name)
{
	if (is_refused || mkdirat(at, name, 0700) < 0)
		return -1;
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int
cgroup_put(int dir, const char *file, const char *text, size_t len)
{
	(void)dir;
	(void)file;
	(void)text;
	(void)len;
	return 0;
}

void
cgroups_reserve_free(struct cgroups *cg)
{
	(void)cg;
}

void
cgroups_close(struct cgroups *cg)
{
	(void)cg;
}

static void
occupy(const struct execgroup *g)
{
	int fd = openat(g->dir, "busy", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	t_true(fd >= 0);
	fd_close(&fd);
}

static void
leave(struct execgroup *g)
{
	char name[32];

	(void)unlinkat(g->dir, "busy", 0);
	fd_close(&g->dir);
	(void)snprintf(name, sizeof(name), "exec-%u", g->id);
	(void)unlinkat(parent, name, AT_REMOVEDIR);
}

/* However many go on, and wherever their names are, the next has a group. */
static void
names(void)
{
	struct execgroups gs = EXECGROUPS_NONE;
	struct execgroup stay[EXECS_MAX + DETACHED_MAX], g;
	char dir[] = "/tmp/execgroup_test.XXXXXX";
	size_t i, n = sizeof(stay) / sizeof(stay[0]), without = 0;

	t_true(mkdtemp(dir) != NULL);
	gs.cg.work = parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (i = 0; i < n; i++) {
		execgroup_make(&gs, &stay[i]);
		t_true(stay[i].dir >= 0);
		occupy(&stay[i]);
	}
	for (i = 0; i < 600; i++) {
		execgroup_make(&gs, &g);
		without += g.dir < 0;
		if (g.dir >= 0)
			leave(&g);
	}
	t_eq(without, 0);
	/* where none can be made it is not tried for ever */
	is_refused = true;
	gs.next = 0;
	leave(&stay[0]);
	execgroup_make(&gs, &g);
	t_eq(g.dir, -1);
	t_eq(gs.next, 1);
	is_refused = false;
	for (i = 1; i < n; i++)
		leave(&stay[i]);
	fd_close(&parent);
	t_eq(rmdir(dir), 0);
}

const struct t_case t_cases[] = { { "names", names }, { NULL, NULL } };
