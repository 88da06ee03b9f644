#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/logmarks.h"
#include "common/util.h"
#include "tests/suite/t.h"

#define S INT64_C(1000000000)
#define T0 (INT64_C(1700000000) * S) /* when it begins */

static char path[64];
static int dir, log_fd;
static struct logmarks marks;
static off_t len; /* of the log */

static void
begin(void)
{
	(void)snprintf(path, sizeof(path), "/tmp/marks.XXXXXX");
	t_true(mkdtemp(path) != NULL);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	log_fd = openat(dir, "x", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	len = 0;
	logmarks_init(&marks, dir, "x", 0600);
	logmarks_load(&marks, 0, T0);
}

static void
done(void)
{
	static const char *const names[] = { "x", "x.at", "x.1", "x.1.at" };
	size_t i;

	fd_close(&log_fd);
	for (i = 0; i < nitems(names); i++) {
		(void)unlinkat(dir, names[i], 0);
		(void)unlinkat(dir, names[i], AT_REMOVEDIR);
	}
	t_eq(rmdir(path), 0);
	fd_close(&dir);
}

/* So many bytes come at that moment, as logfile.c writes them. */
static void
come(off_t n, int64_t at_ns)
{
	const struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
		{ .tv_sec = at_ns / S, .tv_nsec = at_ns % S } };

	logmarks_add(&marks, (uint64_t)len, at_ns);
	len += n;
	t_eq(ftruncate(log_fd, len), 0);
	t_eq(futimens(log_fd, t), 0);
}

static long long
since(int64_t ns)
{
	return logmarks_find(dir, "x", log_fd, ns);
}

static off_t
size_of(const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, 0) < 0 ? -1 : st.st_size;
}

/* To the second, and never too late. */
static void
times(void)
{
	begin();
	t_eq(since(1), 0); /* of nothing */
	come(0, T0); /* a mark as soon as there may be bytes */
	t_eq(size_of("x.at"), 16);
	come(100, T0);
	come(10, T0 + S / 2); /* too soon for another mark */
	come(50, T0 + 60 * S);
	come(50, T0 + 120 * S);
	t_eq(size_of("x.at"), 48);
	t_eq(since(1), 0);
	t_eq(since(T0 + S / 2), 0);
	t_eq(since(T0 + S), 0);
	t_eq(since(T0 + 2 * S), 110);
	t_eq(since(T0 + 60 * S), 110);
	t_eq(since(T0 + 62 * S), 160);
	t_eq(since(T0 + 120 * S), 160);
	t_eq(since(T0 + 122 * S), 210);
	done();
}

/* One byte every two seconds for days: no more marks than there may be, and
 * what is shown too much is a mark's bytes. */
static void
driblets(void)
{
	const int n = 40000;
	int i, worst = 0;

	begin();
	for (i = 0; i < n; i++)
		come(1, T0 + 2 * S * i);
	t_true(size_of("x.at") <= (off_t)LOGMARKS_SIZE(n));
	t_true(size_of("x.at") > (off_t)LOGMARKS_SIZE(n) - 64);
	for (i = 0; i < n; i += 7) {
		const long long at = since(T0 + 2 * S * i);

		t_true(at <= i);
		if (i - at > worst)
			worst = (int)(i - at);
	}
	t_true(worst > 0 && worst <= LOGMARKS_BYTES);
	done();
}

/* A clock that is set: what came since, by the clock of its moment, is there.
 */
static void
clock_set(void)
{
	begin();
	come(100, T0 + 3600 * S);
	come(100, T0); /* back by an hour */
	come(100, T0 + 60 * S);
	t_eq(size_of("x.at"), 48);
	t_eq(since(T0 + 30 * S), 0); /* more than has to be */
	t_eq(since(T0 + 3602 * S), 300);
	come(100, T0 + 7200 * S); /* on by two */
	t_eq(since(T0 + 3602 * S), 300);
	t_eq(since(T0 + 7200 * S), 300);
	done();
}

/* Another life of launchd goes on with what there is. */
static void
restarts(void)
{
	begin();
	come(100, T0);
	come(100, T0 + 60 * S);
	logmarks_init(&marks, dir, "x", 0600);
	logmarks_load(&marks, 200, T0 + 60 * S);
	come(100, T0 + 61 * S); /* within the last mark's second */
	t_eq(size_of("x.at"), 32);
	come(100, T0 + 120 * S);
	t_eq(since(T0 + 100 * S), 300);
	t_eq(since(T0 + 60 * S), 100);
	/* the file is another's: cut short, and written since */
	len = 50;
	logmarks_load(&marks, 50, T0 + 200 * S);
	t_eq(size_of("x.at"), -1);
	come(50, T0 + 300 * S);
	t_eq(since(T0 + 199 * S), 0);
	t_eq(since(T0 + 250 * S), 50);
	done();
}

static void
write_marks(const void *p, size_t n)
{
	int fd =
	    openat(dir, "x.at", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	t_eq(pwrite(fd, p, n, 0), (long long)n);
	fd_close(&fd);
}

/* Without marks, or with none that can be: all came until it was written. */
static void
unknown(void)
{
	static const struct {
		const char *name;
		struct logmark k[3];
		size_t n;
	} rows[] = {
		{ "none", { { 0 } }, 0 },
		{ "cut", { { 0, T0 } }, 15 },
		{ "not from the beginning", { { 8, T0 } }, 16 },
		{ "backwards", { { 0, T0 }, { 50, T0 }, { 49, T0 } }, 48 },
		{ "a hole", { { 0, T0 }, { 0, 0 } }, 32 },
		{ "past the end", { { 0, T0 }, { 101, T0 } }, 32 },
	};
	size_t i;

	begin();
	come(100, T0 + 60 * S);
	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		write_marks(rows[i].k, rows[i].n);
		t_eq(since(T0 + 30 * S), 0);
		t_eq(since(T0 + 62 * S), 100);
		/* and they are made anew with the next bytes */
		logmarks_load(&marks, 100, T0 + 60 * S);
	}
	t_row("made anew");
	write_marks(rows[1].k, 15);
	logmarks_load(&marks, 100, T0 + 60 * S);
	come(100, T0 + 120 * S);
	t_eq(since(T0 + 90 * S), 100);
	t_row("lost meanwhile");
	t_eq(unlinkat(dir, "x.at", 0), 0);
	come(100, T0 + 180 * S);
	come(100, T0 + 240 * S);
	t_eq(since(T0 + 179 * S), 0); /* when those came nobody knows now */
	t_eq(since(T0 + 200 * S), 300);
	t_row("written after the last mark");
	len += 100;
	t_eq(ftruncate(log_fd, len), 0);
	t_eq(since(T0 + 300 * S), 300);
	done();
}

/* What cannot be written costs the marks alone; what is no file is left. */
static void
in_the_way(void)
{
	begin();
	t_eq(mkdirat(dir, "x.at", 0700), 0);
	come(100, T0);
	come(100, T0 + 60 * S);
	t_eq(since(T0 + 60 * S), 0);
	t_eq(since(T0 + 62 * S), 200);
	t_eq(unlinkat(dir, "x.at", AT_REMOVEDIR), 0);
	come(100, T0 + 120 * S);
	t_eq(since(T0 + 60 * S), 0);
	t_eq(since(T0 + 100 * S), 200);
	t_eq(unlinkat(dir, "x.at", 0), 0);
	t_eq(symlinkat("x.1", dir, "x.at"), 0);
	come(100, T0 + 180 * S);
	t_eq(size_of("x.1"), -1);
	done();
}

static void
rotates(void)
{
	begin();
	come(100, T0);
	come(100, T0 + 60 * S);
	logmarks_forget(dir, "x.1");
	t_eq(renameat(dir, "x", dir, "x.1"), 0);
	logmarks_rotate(&marks, "x.1");
	t_eq(size_of("x.at"), -1);
	t_eq(logmarks_find(dir, "x.1", log_fd, T0 + 30 * S), 100);
	t_eq(logmarks_find(dir, "x.1", log_fd, T0 + 62 * S), 200);
	fd_close(&log_fd);
	log_fd = openat(dir, "x", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	len = 0;
	logmarks_load(&marks, 0, T0 + 60 * S);
	come(10, T0 + 60 * S);
	t_eq(since(T0 + 30 * S), 0);
	t_eq(since(T0 + 62 * S), 10);
	done();
}

const struct t_case t_cases[] = {
	{ "times", times },
	{ "driblets", driblets },
	{ "clock set", clock_set },
	{ "restarts", restarts },
	{ "unknown", unknown },
	{ "in the way", in_the_way },
	{ "rotates", rotates },
	{ NULL, NULL },
};
