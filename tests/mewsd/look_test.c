#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/util.h"
#include "mewsd/watch.h"
#include "tests/suite/t.h"

#define PLAYED 77 /* whose stat is played */

static const char *stat_text;

/* watch.c's. */
int
open(const char *path, int flags, ...)
{
	int fd;

	t_eq(flags, O_RDONLY | O_CLOEXEC);
	if (stat_text == NULL || strcmp(path, "/proc/77/stat") != 0)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
	fd = memfd_create("stat", MFD_CLOEXEC);
	t_eq(write(fd, stat_text, strlen(stat_text)), strlen(stat_text));
	t_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* What a room that was asked and does not answer is, after how many looks. */
static const struct {
	const char *name;
	char state;
	bool ready;
	unsigned int step_ms; /* of a processor, between two looks */
	enum watch_said want;
	unsigned int looks;
} looks[] = {
	{ "stopped", 'T', true, 0, WATCH_STOPPED, 4 },
	{ "stopped at its start", 'T', false, 0, WATCH_STOPPED, 4 },
	{ "computes", 'R', true, 2000, WATCH_BUSY, 16 },
	{ "computes, on a busy machine", 'R', true, 100, WATCH_BUSY, 301 },
	{ "reads much at its start", 'R', false, 2000, WATCH_FINE, 1000 },
	{ "waits for a processor", 'R', true, 0, WATCH_FINE, 1000 },
	{ "waits for a disk", 'D', true, 0, WATCH_FINE, 1000 },
	{ "held by a debugger", 't', true, 0, WATCH_FINE, 1000 },
	{ "sleeps", 'S', true, 0, WATCH_ASLEEP, 30 },
	{ "sleeps at its start", 'S', false, 0, WATCH_ASLEEP, 30 },
	{ "works and sleeps", 'S', true, 50, WATCH_BUSY, 601 },
	{ "is gone", '?', true, 0, WATCH_FINE, 1000 },
};

static void
test_rows(void)
{
	size_t i;

	for (i = 0; i < nitems(looks); i++) {
		struct watch_seen seen = { looks[i].state, 12345 };
		struct watch w = { 0 };
		enum watch_said said = WATCH_FINE;
		unsigned int n = 0;

		t_row(looks[i].name);
		watch_reset(&w);
		if (looks[i].ready) {
			t_eq(watch_look(&w, true, &seen), WATCH_ASK);
			(void)watch_ask(&w);
		}
		while (said == WATCH_FINE && n < 1000) {
			said = watch_look(&w, looks[i].ready, &seen);
			seen.used_ms += looks[i].step_ms;
			n++;
		}
		t_eq(said, looks[i].want);
		t_eq(n, looks[i].looks);
	}
}

static void
test_answers(void)
{
	const struct watch_seen stopped = { 'T', 0 }, runs = { 'S', 0 };
	struct watch w = { 0 };
	uint64_t id;

	t_eq(watch_answer(&w, 0), -EINVAL);
	id = watch_ask(&w);
	t_eq(watch_answer(&w, id + 1), -EINVAL);
	t_eq(watch_answer(&w, id), 0);
	t_eq(watch_answer(&w, id), -EINVAL);
	/* of the life before */
	id = watch_ask(&w);
	watch_reset(&w);
	t_eq(watch_answer(&w, id), -EINVAL);
	t_true(watch_ask(&w) != id);
	/* one that was stopped for a while only */
	t_eq(watch_look(&w, true, &stopped), WATCH_FINE);
	t_eq(watch_look(&w, true, &stopped), WATCH_FINE);
	t_eq(watch_look(&w, true, &stopped), WATCH_FINE);
	t_eq(watch_look(&w, true, &runs), WATCH_FINE);
	t_eq(watch_look(&w, true, &stopped), WATCH_FINE);
	t_eq(watch_look(&w, true, &stopped), WATCH_FINE);
	t_eq(watch_look(&w, true, &stopped), WATCH_FINE);
	t_eq(watch_look(&w, true, &stopped), WATCH_STOPPED);
}

/* At each bound, and one before. */
static void
test_bounds(void)
{
	static const struct {
		const char *name;
		char state;
		bool ready;
		unsigned int looks;
		uint64_t first, used; /* at the first look, and all others */
		enum watch_said want; /* of the last */
	} rows[] = {
		{ "idle", 'S', true, 30, 7, 506, WATCH_ASLEEP },
		{ "not idle", 'S', true, 30, 7, 507, WATCH_FINE },
		{ "idle, not so long", 'S', true, 29, 7, 7, WATCH_FINE },
		{ "of another life", 'S', true, 30, 900, 7, WATCH_ASLEEP },
		{ "busy", 'R', true, 2, 7, 30007, WATCH_BUSY },
		{ "not so busy", 'R', true, 2, 7, 30006, WATCH_FINE },
		{ "busy at its start", 'R', false, 2, 7, 30007, WATCH_FINE },
		{ "stopped and busy", 'T', true, 4, 7, 7, WATCH_STOPPED },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct watch_seen seen = { rows[i].state, rows[i].first };
		struct watch w = { 0 };
		unsigned int n;

		t_row(rows[i].name);
		if (rows[i].ready)
			(void)watch_ask(&w);
		for (n = 1; n < rows[i].looks; n++) {
			t_eq(watch_look(&w, rows[i].ready, &seen), WATCH_FINE);
			seen.used_ms = rows[i].used;
		}
		t_eq(watch_look(&w, rows[i].ready, &seen), rows[i].want);
		t_eq(w.looks, rows[i].looks);
		t_eq(w.used_ms, rows[i].first);
	}
}

/* What it took to begin does not count, nor what was before an answer. */
static void
test_begins(void)
{
	const struct watch_seen stopped = { 'T', 5 };
	struct watch w = { 0 };
	uint64_t id;
	int i;

	for (i = 0; i < 3; i++)
		t_eq(watch_look(&w, false, &stopped), WATCH_FINE);
	t_eq(w.stopped, 3);
	t_eq(watch_look(&w, true, &stopped), WATCH_ASK);
	t_eq(w.looks, 0);
	t_eq(w.stopped, 0);
	t_eq(w.used_ms, 0);
	for (i = 0; i < 2; i++) {
		id = watch_ask(&w);
		t_eq(id, i + 1);
		t_true(w.asked);
		t_eq(watch_look(&w, true, &stopped), WATCH_FINE);
		t_eq(watch_look(&w, true, &stopped), WATCH_FINE);
		t_eq(watch_look(&w, true, &stopped), WATCH_FINE);
		t_eq(w.looks, 3);
		t_eq(watch_answer(&w, id), 0);
		t_true(!w.asked);
		t_eq(w.looks, 0);
		t_eq(w.id, id);
	}
}

static void
test_wants(void)
{
	const struct watch calm = { 0 }, asked = { .asked = true };

	t_true(watch_wants(&calm, false));
	t_true(!watch_wants(&calm, true));
	t_true(watch_wants(&asked, false));
	t_true(watch_wants(&asked, true));
}

/* Its name may be anything. */
static void
test_stat(void)
{
#define BEFORE " 4 5 6 7 -1 9 10 11 12 13"
	static const struct {
		const char *text;
		char state;
		uint64_t ticks;
	} rows[] = {
		{ "77 (x) S" BEFORE " 1400 15 16 17\n", 'S', 1415 },
		{ "77 (a) R 1 (b)) D" BEFORE " 14 1500 16", 'D', 1514 },
		{ "77 (x) T" BEFORE " 1409", 'T', 1409 },
		{ "77 (x) T" BEFORE " 14 90", 'T', 104 },
		{ "77 (x) T" BEFORE " 14a 90", 'T', 104 },
		{ "77 (x) R" BEFORE, 'R', 0 },
		{ "77 (x) R", 'R', 0 },
		{ "77 (x)", '?', 0 },
		{ "77 (x)S 4", '?', 0 },
		{ "77 x S 4", '?', 0 },
		{ "", '?', 0 },
	};
	const uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	const int fd = dup(0);
	struct watch_seen seen;
	size_t i;

	(void)close(fd);
	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].text);
		stat_text = rows[i].text;
		watch_see(PLAYED, &seen);
		t_eq(seen.state, rows[i].state);
		t_eq(seen.used_ms, rows[i].ticks * 1000 / hz);
	}
	t_eq(dup(0), fd); /* none was left open */
	(void)close(0); /* and any number will do */
	stat_text = rows[0].text;
	watch_see(PLAYED, &seen);
	t_eq(seen.state, rows[0].state);
	t_eq(dup(fd), 0);
	(void)close(fd);
	stat_text = NULL;
}

static void
test_see(void)
{
	struct watch_seen seen;

	watch_see(getpid(), &seen);
	t_eq(seen.state, 'R');
	watch_see(-1, &seen);
	t_eq(seen.state, '?');
}

const struct t_case t_cases[] = {
	{ "rows", test_rows },
	{ "answers", test_answers },
	{ "bounds", test_bounds },
	{ "begins", test_begins },
	{ "wants", test_wants },
	{ "stat", test_stat },
	{ "see", test_see },
	{ NULL, NULL },
};
