#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/excg.h"
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
	close_fd(&fd);
	return r;
}

void
excg_make(int root, struct excg *g)
{
	static unsigned int next;
	char name[NAME_MAX_LEN];
	int i;

	g->dir = -1;
	if (root < 0)
		return;
	for (i = 0; i < TRIES; i++) {
		g->id = next++ % IDS;
		name_of(g->id, name);
		/* empty by now, if an earlier one could not be removed */
		(void)unlinkat(root, name, AT_REMOVEDIR);
		if (mkdirat(root, name, 0755) < 0)
			continue;
		g->dir = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (g->dir < 0)
			(void)unlinkat(root, name, AT_REMOVEDIR);
		return;
	}
}

int
excg_enter(const struct excg *g)
{
	return g->dir < 0 ? 0 : put(g->dir, "cgroup.procs", "0", 1);
}

void
excg_kill(const struct excg *g)
{
	if (g->dir >= 0)
		(void)put(g->dir, "cgroup.kill", "1", 1);
}

/* Moves some of them out.  How many, 0 when none is left. */
static int
move_out(int root, int dir)
{
	char buf[MOVE_MAX + 1], *p = buf, *line;
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC), n = 0;
	ssize_t len;

	if (fd < 0)
		return 0;
	len = read(fd, buf, MOVE_MAX);
	close_fd(&fd);
	buf[len < 0 ? 0 : len] = '\0';
	while ((line = strsep(&p, "\n")) != NULL) {
		if (p == NULL)
			break; /* what follows the last newline is cut off */
		(void)put(root, "cgroup.procs", line, strlen(line));
		n++;
	}
	return n;
}

void
excg_release(int root, struct excg *g)
{
	char name[NAME_MAX_LEN];
	int i;

	if (g->dir < 0)
		return;
	name_of(g->id, name);
	for (i = 0; i < MOVE_ROUNDS; i++) {
		if (unlinkat(root, name, AT_REMOVEDIR) == 0 ||
		    move_out(root, g->dir) == 0)
			break;
	}
	(void)unlinkat(root, name, AT_REMOVEDIR);
	close_fd(&g->dir);
}
