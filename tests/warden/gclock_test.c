#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/suite/t.h"
#include "warden/call.h"
#include "warden/gclock.h"

#define MS 1000000LL
#define AT (1760000000LL * 1000 * MS)

/* What gclock.c asks of others; only its sum is tried here. */
int
call_mux(struct yamux *y, enum http_method method, const char *target,
    const void *body, size_t len,
    void (*done)(void *arg, const struct call_answer *a), void *arg,
    struct call **ret)
{
	(void)y, (void)method, (void)target, (void)body, (void)len, (void)done;
	(void)arg, (void)ret;
	abort();
}

void
call_free(struct call *c)
{
	(void)c;
}

static const struct {
	const char *name;
	int64_t rtt_us, guest, off;
	bool is;
} rows[] = {
	{ "right", 2000, AT + 1 * MS, 0, false },
	{ "right, slow way", 40000, AT + 2 * MS, 0, false },
	{ "late by more than the way", 2000, AT - 4 * MS, 5 * MS, true },
	{ "early", 2000, AT + 51 * MS, -50 * MS, true },
	{ "as much as the way", 10000, AT - 1 * MS, 0, false },
	{ "an hour", 1000, AT - 3600000 * MS, 3600000 * MS + MS / 2, true },
	{ "at the end of numbers", 1000, INT64_MIN, 0, false },
	{ "before 1970", 1000, -1, AT + MS / 2 + 1, true },
};

static void
offsets(void)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t off = 0;

		t_row(rows[i].name);
		t_eq(gclock_offset(AT, rows[i].rtt_us, rows[i].guest, &off),
		    rows[i].is);
		if (rows[i].is)
			t_eq(off, rows[i].off);
	}
}

const struct t_case t_cases[] = { { "a guest's clock", offsets },
	{ NULL, NULL } };
