#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/num.h"
#include "common/util.h"
#include "mewsd/mewsd.h"

/*
 * DIR/run/lock, which mewsd and all its rooms hold, so that no two orchds ever
 * share a store.  Rooms whose mewsd is gone end by themselves; one that is
 * stopped or hangs does not, and would keep every later suite out.  So the lock
 * names its mewsd: when that one is gone for sure, what still holds the lock is
 * killed.
 */
#define STEP_MS 20
#define WAIT_MS 10000 /* until it is given up */
#define PATIENCE_MS 5000 /* for rooms that see that their mewsd is gone */
#define NAMED_MAX 4 /* processes in the message */

/* Who took it: "PID START PIDNS", so that nobody else is taken for it. */
struct owner {
	long long pid;
	long long start; /* proc(5): clock ticks after boot */
	long long ns; /* inode of its pid namespace, in which pid counts */
};

static int
text_read(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	fd_close(&fd);
	if (n < 0)
		return -EIO;
	buf[n] = '\0';
	return 0;
}

/* When a process began; -1: it is not there, or has ended. */
static long long
start_of(long long pid)
{
	char path[40], text[512], *at, *save = NULL;
	long long start = -1;
	int field;

	(void)snprintf(path, sizeof(path), "/proc/%lld/stat", pid);
	if (text_read(path, text, sizeof(text)) < 0 ||
	    (at = strrchr(text, ')')) == NULL || at[1] == '\0')
		return -1;
	at = strtok_r(at + 1, " ", &save);
	if (at == NULL || at[0] == 'Z' || at[0] == 'X')
		return -1;
	for (field = 3; at != NULL && field < 22; field++)
		at = strtok_r(NULL, " ", &save);
	if (at == NULL || num_parse(at, 0, INT64_MAX, &start) < 0)
		return -1;
	return start;
}

static long long
own_ns(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) < 0 ? -1 : (long long)st.st_ino;
}

static void
owner_write(int fd)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "%d %lld %lld\n", getpid(),
	    start_of(getpid()), own_ns());

	/* without it a room that hangs would have to be found by a person */
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		log_warn("run/lock: %m: it does not say whose it is");
}

static int
owner_read(int fd, struct owner *ret)
{
	char text[96], *save = NULL, *a, *b, *c;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -ENOENT;
	text[n] = '\0';
	a = strtok_r(text, " \n", &save);
	b = strtok_r(NULL, " \n", &save);
	c = strtok_r(NULL, " \n", &save);
	if (a == NULL || b == NULL || c == NULL ||
	    num_parse(a, 1, INT32_MAX, &ret->pid) < 0 ||
	    num_parse(b, 0, INT64_MAX, &ret->start) < 0 ||
	    num_parse(c, 0, INT64_MAX, &ret->ns) < 0)
		return -EINVAL;
	return 0;
}

/* Its rooms have it at BOOT_LOCK_FD.  One that waits for it, as we do, has the
 * file open, too, but its descriptor's fdinfo names no lock. */
static bool
holds(const char *pid, const struct stat *lock)
{
	char path[40], info[1024];
	struct stat st;

	(void)snprintf(
	    path, sizeof(path), "/proc/%.10s/fd/%d", pid, BOOT_LOCK_FD);
	if (stat(path, &st) < 0 || st.st_dev != lock->st_dev ||
	    st.st_ino != lock->st_ino)
		return false;
	(void)snprintf(
	    path, sizeof(path), "/proc/%.10s/fdinfo/%d", pid, BOOT_LOCK_FD);
	return text_read(path, info, sizeof(info)) == 0 &&
	    strstr(info, "FLOCK") != NULL;
}

/* Kills one, which must still be who it was when its number stands for it. */
static void
kill_one(const char *pid, const struct stat *lock)
{
	long long v;
	int fd;

	if (num_parse(pid, 2, INT32_MAX, &v) < 0 ||
	    (fd = pidfd_open((pid_t)v, 0)) < 0)
		return;
	if (holds(pid, lock)) {
		log_warn("process %s holds the lock of a suite whose mewsd is "
			 "gone: killed",
		    pid);
		(void)pidfd_send_signal(fd, SIGKILL, NULL, 0);
	}
	fd_close(&fd);
}

/* Calls fn for each process that holds it; how many there are. */
static unsigned int
holders(int fd, void (*fn)(const char *pid, const struct stat *lock),
    char *names, size_t size)
{
	const struct dirent *d;
	struct stat lock;
	unsigned int n = 0;
	DIR *proc;

	if (fstat(fd, &lock) < 0 || (proc = opendir("/proc")) == NULL)
		return 0;
	while ((d = readdir(proc)) != NULL) {
		if (d->d_name[0] < '1' || d->d_name[0] > '9' ||
		    !holds(d->d_name, &lock))
			continue;
		if (fn != NULL)
			fn(d->d_name, &lock);
		if (n++ < NAMED_MAX && names != NULL)
			(void)snprintf(names + strlen(names),
			    size - strlen(names), " %.10s", d->d_name);
	}
	(void)closedir(proc);
	return n;
}

/* Only if it is known to be gone; a pid of another namespace is nobody's. */
static bool
owner_gone(int fd)
{
	struct owner o;

	return owner_read(fd, &o) == 0 && o.ns == own_ns() &&
	    start_of(o.pid) != o.start;
}

_Noreturn static void
give_up(const char *path, int fd)
{
	char names[64] = "";
	struct owner o;

	if (owner_read(fd, &o) == 0 && !owner_gone(fd))
		fatal("another suite holds %s: its mewsd is process %lld", path,
		    o.pid);
	(void)holders(fd, NULL, names, sizeof(names));
	fatal("another suite holds %s: its rooms do not end: processes%s", path,
	    names[0] == '\0' ? " that are not seen from here" : names);
}

int
lock_take(const struct conf *c)
{
	const struct timespec step = { .tv_nsec = STEP_MS * 1000000L };
	char path[2 * BOOT_PATH_MAX];
	int fd, ms;

	(void)snprintf(path, sizeof(path), "%s/lock", c->run);
	fd = open(
	    path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		fatal("%s: %m", path);
	for (ms = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; ms += STEP_MS) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			fatal("lock %s: %m", path);
		if (ms == 0)
			log_info("waiting for an earlier suite to end");
		if (ms == PATIENCE_MS && owner_gone(fd) && RULE(LOCK_DEAF))
			(void)holders(fd, kill_one, NULL, 0);
		if (ms >= WAIT_MS)
			give_up(path, fd);
		/* flock(2) has no deadline of its own, so it is asked again */
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
	}
	owner_write(fd);
	return fd;
}
