#include <errno.h>
#include <unistd.h>

#include "common/util.h"
#include "mewsd/watch.h"
#include "tests/suite/t.h"

/* What a room that was asked and does not answer is, after how many looks. */
static const struct {
	const char *name;
	char state;
	bool ready;
	unsigned int step_ms; /* of a processor, between two looks */
	enum watch_said want;
	unsigned int looks;
} rows[] = {
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

	for (i = 0; i < nitems(rows); i++) {
		struct watch_seen seen = { rows[i].state, 12345 };
		struct watch w = { 0 };
		enum watch_said said = WATCH_FINE;
		unsigned int n = 0;

		t_row(rows[i].name);
		watch_reset(&w);
		if (rows[i].ready) {
			t_eq(watch_look(&w, true, &seen), WATCH_ASK);
			(void)watch_ask(&w);
		}
		while (said == WATCH_FINE && n < 1000) {
			said = watch_look(&w, rows[i].ready, &seen);
			seen.used_ms += rows[i].step_ms;
			n++;
		}
		t_eq(said, rows[i].want);
		t_eq(n, rows[i].looks);
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
	{ "see", test_see },
	{ NULL, NULL },
};
