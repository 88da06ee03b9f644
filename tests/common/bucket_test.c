#include "common/bucket.h"
#include "common/util.h"
#include "tests/suite/t.h"

static void
test_takes(void)
{
	struct bucket b;

	bucket_init(&b, 3, 10, 0);
	t_true(bucket_take(&b, 10, 0));
	t_true(!bucket_take(&b, 1, 0));
	t_true(!bucket_take(&b, 1, 333));
	t_true(bucket_take(&b, 1, 334));
	t_true(!bucket_take(&b, 1, 666));
	t_true(bucket_take(&b, 1, 667)); /* a third each: none is lost */
	t_eq(bucket_left(&b, 100000), 10);
	t_eq(bucket_left(&b, 0), 10); /* a clock that goes back */
	t_true(bucket_take(&b, 10, INT64_MAX));
	t_true(!bucket_take(&b, 1, INT64_MAX));
}

/* What is taken at a time, and how long the next one would wait. */
static const struct {
	const char *name;
	int64_t at_ms;
	unsigned int takes;
	int64_t wait_ms;
} rows[] = {
	{ "full at first", 1000, 4, 100 },
	{ "none comes at once", 1001, 0, 99 },
	{ "one after its time", 1101, 1, 99 },
	{ "not saved beyond the burst", 100000, 4, 100 },
	{ "two after two", 100200, 2, 100 },
	{ "after days", 1LL << 50, 4, 100 },
};

static void
test_waits(void)
{
	struct bucket b;
	unsigned int n;
	size_t i;

	bucket_init(&b, 10, 4, 1000);
	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		for (n = 0; n < rows[i].takes; n++)
			t_true(bucket_take(&b, 1, rows[i].at_ms));
		t_eq(bucket_wait_ms(&b, 1, rows[i].at_ms), rows[i].wait_ms);
	}
	t_eq(bucket_wait_ms(&b, 4, 1LL << 50), 400);
}

const struct t_case t_cases[] = { { "takes", test_takes },
	{ "waits", test_waits }, { NULL, NULL } };
