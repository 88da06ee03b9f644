#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/detach.h"
#include "agent/execgroup.h"
#include "agent/raw.h"
#include "common/fds.h"
#include "common/num.h"

/* Names are used again.  One that is in use is skipped: by a command that goes
 * on, or by what another left behind.  There are more of them than commands. */
#define IDS 256
_Static_assert(
    IDS >= EXECS_MAX + DETACHED_MAX + 1, "one for each, and a spare");
#define NAME_MAX_LEN 16
/* Processes moved when an exec ends: more would hold up the agent. */
#define MOVE_ROUNDS 4
#define MOVE_MAX 512 /* bytes of pids a round */
#define SIGNAL_MAX 16384 /* bytes of pids; the group's end comes to all */
#define ROOT "/sys/fs/cgroup/"

static void
name_of(unsigned int id, char name[NAME_MAX_LEN])
{
	(void)snprintf(name, NAME_MAX_LEN, "exec-%u", id);
}

static int
parent_of(const struct execgroups *gs, const struct execgroup *g)
{
	return g->is_reserve ? gs->cg.reserve : gs->cg.work;
}

void
execgroup_make(struct execgroups *gs, struct execgroup *g)
{
	const bool is_full = gs->cg.guest >= 0 && cgroups_is_full(&gs->cg);
	char name[NAME_MAX_LEN];
	int i, at;

	*g = (struct execgroup){ .dir = -1 };
	if (!is_full && gs->spare.dir >= 0) {
		*g = gs->spare;
		gs->spare.dir = -1;
		return;
	}
	g->is_reserve = is_full;
	gs->cg.reserve_used |= is_full;
	at = parent_of(gs, g);
	for (i = 0; i < IDS && at >= 0; i++) {
		g->id = gs->next++ % IDS;
		name_of(g->id, name);
		/* empty by now, if an earlier one could not be removed */
		if (unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
			g->dir = cgroup_leaf(at, name);
			return;
		}
	}
}

int
execgroup_enter(const struct execgroup *g)
{
	long fd, r;

	fd = RAW(openat, g->dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return (int)fd;
	r = RAW(write, fd, "0", 1);
	(void)RAW(close, fd);
	return r < 0 ? (int)r : 0;
}

void
execgroup_kill(struct execgroup *g)
{
	if (g->dir < 0)
		return;
	g->killed = true;
	(void)cgroup_put(g->dir, "cgroup.kill", "1", 1);
}

/* Some of whom are in it, a pid a line.  How many bytes, or -errno. */
static ssize_t
pids_read(int dir, char *buf, size_t cap)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = read(fd, buf, cap - 1);
	len = len < 0 ? -errno : len;
	fd_close(&fd);
	buf[len < 0 ? 0 : len] = '\0';
	return len;
}

void
execgroup_signal(const struct execgroup *g, int sig)
{
	char buf[SIGNAL_MAX + 1], *p = buf, *line;
	long long pid;

	if (g->dir < 0 || pids_read(g->dir, buf, sizeof(buf)) < 0)
		return;
	while ((line = strsep(&p, "\n")) != NULL && p != NULL) {
		/* 0: in a pid namespace that is not ours to see */
		if (num_parse(line, 1, INT32_MAX, &pid) == 0)
			(void)kill((pid_t)pid, sig);
	}
}

/* Moves some of them out.  How many; 0: none is left; -errno. */
static int
move_out(int to, int dir)
{
	char buf[MOVE_MAX + 1], *p = buf, *line;
	ssize_t len = pids_read(dir, buf, sizeof(buf));
	int n = len < 0 ? (int)len : 0;

	while ((line = strsep(&p, "\n")) != NULL) {
		if (p == NULL)
			break; /* what follows the last newline is cut off */
		(void)cgroup_put(to, "cgroup.procs", line, strlen(line));
		n++;
	}
	return n;
}

static void
execgroup_remove(const struct execgroups *gs, struct execgroup *g)
{
	char name[NAME_MAX_LEN];

	if (g->dir < 0)
		return;
	name_of(g->id, name);
	(void)unlinkat(parent_of(gs, g), name, AT_REMOVEDIR);
	fd_close(&g->dir);
}

void
execgroup_release(struct execgroups *gs, struct execgroup *g)
{
	int i, n = 1;

	for (i = 0; i < MOVE_ROUNDS && n > 0 && g->dir >= 0; i++)
		n = move_out(gs->cg.rest, g->dir);
	/* the reserve is for the next one: it cannot be kept occupied */
	if (n > 0 && g->is_reserve)
		execgroup_kill(g);
	/* some kernels (6.1.176 is one) hold the kills that a group has seen
	 * against who is born into it, now: each child would die at birth */
	if (n == 0 && gs->spare.dir < 0 && !g->killed && !g->is_reserve) {
		gs->spare = *g; /* nobody is left who could fork into it */
		g->dir = -1;
	}
	execgroup_remove(gs, g);
	if (g->is_reserve)
		cgroups_reserve_free(&gs->cg);
}

void
execgroups_close(struct execgroups *gs)
{
	execgroup_remove(gs, &gs->spare);
	cgroups_close(&gs->cg);
}
