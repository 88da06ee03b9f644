#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/num.h"
#include "common/util.h"
#include "mewsd/mewsd.h"

/*
 * What only one suite of a host may have, whatever its DIR: a bridge in its
 * network namespace, uids in its user namespace.  Each is a file of root's that
 * its mewsd holds a lock on and that names what it is about; a file that nobody
 * holds is nobody's, and goes.
 */
#define FOLDER "/run/mews-claims"
#define TRIES 100 /* for the folder, which others hold for a moment */
#define STEP_MS 20

struct claims {
	int dir;
	const struct conf *conf;
	unsigned long long net; /* inodes of namespaces */
	unsigned long long user;
};

static unsigned long long
ns_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : (unsigned long long)st.st_ino;
}

static int
folder_open(void)
{
	const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
	struct stat st;
	int fd, i;

	if (mkdir(FOLDER, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_uid != 0 || (st.st_mode & 022) != 0) {
		fd_close(&fd);
		return -EPERM;
	}
	for (i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (i >= TRIES) {
			fd_close(&fd);
			return -EWOULDBLOCK;
		}
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
	}
	return fd;
}

static void
bridge_name(const struct claims *cl, char *buf, size_t size)
{
	(void)snprintf(
	    buf, size, "bridge-%llu-%s", cl->net, cl->conf->netd.bridge);
}

/* "uids-NS-BASE-COUNT" of our namespace, some of which are ours, too. */
static bool
uids_meet(const struct claims *cl, const char *name)
{
	const struct uids *u = &cl->conf->uids;
	char text[64], *save = NULL, *kind, *ns, *base, *count;
	long long n, b, c;

	if (snprintf(text, sizeof(text), "%s", name) >= (int)sizeof(text))
		return false;
	kind = strtok_r(text, "-", &save);
	ns = strtok_r(NULL, "-", &save);
	base = strtok_r(NULL, "-", &save);
	count = strtok_r(NULL, "-", &save);
	return kind != NULL && ns != NULL && base != NULL && count != NULL &&
	    strcmp(kind, "uids") == 0 && num_parse(ns, 0, INT64_MAX, &n) == 0 &&
	    (unsigned long long)n == cl->user &&
	    num_parse(base, 0, UINT32_MAX, &b) == 0 &&
	    num_parse(count, 1, UINT32_MAX, &c) == 0 &&
	    b < (long long)u->base + u->count && u->base < b + c;
}

/* What its holder wrote: "process PID, RUN". */
_Noreturn static void
refuse(const struct claims *cl, int fd, const char *name)
{
	const struct uids *u = &cl->conf->uids;
	char text[BOOT_PATH_MAX + 32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	if (name[0] == 'b')
		fatal("bridge = %s: another suite has it in this network "
		      "namespace (%s): choose another name",
		    cl->conf->netd.bridge, text);
	fatal("uid_base = %u: another suite has uids of the range to %u (%s): "
	      "choose others",
	    u->base, u->base + u->count - 1, text);
}

/* One that is there: gone when nobody holds it, or no business of ours. */
static void
look(const struct claims *cl, const char *name)
{
	char bridge[64];
	int fd = openat(
	    cl->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	bridge_name(cl, bridge, sizeof(bridge));
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		(void)unlinkat(cl->dir, name, 0);
	else if (strcmp(name, bridge) == 0 || uids_meet(cl, name))
		refuse(cl, fd, name);
	fd_close(&fd);
}

/* Held from now on, by this descriptor, which is never closed. */
static int
hold(const struct claims *cl, const char *name)
{
	char text[BOOT_PATH_MAX + 32];
	int n,
	    fd = openat(
		cl->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	n = snprintf(
	    text, sizeof(text), "process %d, %s", getpid(), cl->conf->run);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || write(fd, text, (size_t)n) != n)
		return -errno;
	return 0;
}

static int
claim(struct claims *cl)
{
	const struct uids *u = &cl->conf->uids;
	const struct dirent *d;
	char name[64];
	DIR *dir;
	int fd, r;

	if ((cl->dir = folder_open()) < 0)
		return cl->dir;
	/* closedir() closes its own; ours goes on to hold the lock */
	fd = openat(cl->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || (dir = fdopendir(fd)) == NULL)
		return -errno;
	while ((d = readdir(dir)) != NULL) {
		if (d->d_name[0] != '.')
			look(cl, d->d_name);
	}
	(void)closedir(dir);
	bridge_name(cl, name, sizeof(name));
	if ((r = hold(cl, name)) < 0)
		return r;
	(void)snprintf(
	    name, sizeof(name), "uids-%llu-%u-%u", cl->user, u->base, u->count);
	return hold(cl, name);
}

void
claims_take(const struct conf *c)
{
	struct claims cl = { .dir = -1,
		.conf = c,
		.net = ns_of("/proc/self/ns/net"),
		.user = ns_of("/proc/self/ns/user") };
	const int r = claim(&cl);

	if (r < 0)
		log_warn(FOLDER ": %s: another suite with this bridge or these "
				"uids would not be noticed",
		    strerrordesc_np(-r));
	if (cl.dir >= 0)
		fd_close(&cl.dir);
}
