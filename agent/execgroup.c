#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/execgroup.h"
#include "agent/raw.h"
#include "common/fds.h"

/* Names are used again; one whose exec left too many behind is skipped. */
#define IDS 256
#define TRIES 8
#define NAME_MAX_LEN 16
/* Processes moved when an exec ends: more would hold up the agent. */
#define MOVE_ROUNDS 4
#define MOVE_MAX 512 /* bytes of pids a round */

static void
name_of(unsigned int id, char name[NAME_MAX_LEN])
{
	(void)snprintf(name, NAME_MAX_LEN, "exec-%u", id);
}

static int
put(int dir, const char *file, const char *text, size_t len)
{
	int fd = openat(dir, file, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, len) < 0)
		r = -errno;
	fd_close(&fd);
	return r;
}

void
execgroup_make(struct execgroups *gs, struct execgroup *g)
{
	char name[NAME_MAX_LEN];
	int i;

	*g = gs->spare;
	gs->spare.dir = -1;
	g->killed = false;
	if (g->dir >= 0 || gs->root < 0)
		return;
	for (i = 0; i < TRIES; i++) {
		g->id = gs->next++ % IDS;
		name_of(g->id, name);
		/* empty by now, if an earlier one could not be removed */
		(void)unlinkat(gs->root, name, AT_REMOVEDIR);
		if (mkdirat(gs->root, name, 0755) < 0)
			continue;
		g->dir =
		    openat(gs->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (g->dir < 0)
			(void)unlinkat(gs->root, name, AT_REMOVEDIR);
		return;
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
	(void)put(g->dir, "cgroup.kill", "1", 1);
}

/* Moves some of them out.  How many; 0: none is left; -errno. */
static int
move_out(int root, int dir)
{
	char buf[MOVE_MAX + 1], *p = buf, *line;
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC), n = 0;
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = read(fd, buf, MOVE_MAX);
	n = len < 0 ? -errno : 0;
	fd_close(&fd);
	buf[len < 0 ? 0 : len] = '\0';
	while ((line = strsep(&p, "\n")) != NULL) {
		if (p == NULL)
			break; /* what follows the last newline is cut off */
		(void)put(root, "cgroup.procs", line, strlen(line));
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
	(void)unlinkat(gs->root, name, AT_REMOVEDIR);
	fd_close(&g->dir);
}

void
execgroup_release(struct execgroups *gs, struct execgroup *g)
{
	int i, n = 1;

	if (g->dir < 0)
		return;
	for (i = 0; i < MOVE_ROUNDS && n > 0; i++)
		n = move_out(gs->root, g->dir);
	/* some kernels (6.1.176 is one) hold the kills that a group has seen
	 * against who is born into it, now: each child would die at birth */
	if (n == 0 && gs->spare.dir < 0 && !g->killed) {
		gs->spare = *g; /* nobody is left who could fork into it */
		g->dir = -1;
	}
	execgroup_remove(gs, g);
}

void
execgroups_close(struct execgroups *gs)
{
	execgroup_remove(gs, &gs->spare);
	fd_close(&gs->root);
}
