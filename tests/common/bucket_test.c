#include "common/bucket.h"
#include "common/util.h"
#include "tests/suite/t.h"

static const struct bucket_rate rate = { 4, 10 };

/* What is taken at a time, and how long the next one would wait. */
static const struct {
	const char *name;
	long long at_ms;
	unsigned int takes;
	long long wait_ms;
} rows[] = {
	{ "full at first", 1000, 4, 100 },
	{ "none comes at once", 1001, 0, 99 },
	{ "one after its time", 1101, 1, 99 },
	{ "not saved beyond the burst", 100000, 4, 100 },
	{ "two after two", 100200, 2, 100 },
	{ "after days", 1LL << 50, 4, 100 },
};

static void
test_rows(void)
{
	struct bucket b = { 0 };
	unsigned int n;
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		for (n = 0; n < rows[i].takes; n++)
			t_eq(bucket_take(&b, &rate, rows[i].at_ms), 0);
		t_eq(bucket_take(&b, &rate, rows[i].at_ms), rows[i].wait_ms);
	}
}

const struct t_case t_cases[] = { { "rows", test_rows }, { NULL, NULL } };
