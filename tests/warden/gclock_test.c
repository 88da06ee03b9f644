#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/suite/t.h"
#include "warden/call.h"
#include "warden/gclock.h"

#define MS 1000000LL
#define AT (1760000000LL * 1000 * MS)

/* --- the rest of the warden --- */

static char set_to[64]; /* what the agent was last told */
static unsigned int sets;
static long asked_in; /* milliseconds; -1: not */
static void (*set_done)(void *arg, const struct call_answer *a);

int
call_mux(struct yamux *y, enum http_method method, const char *target,
    const void *body, size_t len,
    void (*done)(void *arg, const struct call_answer *a), void *arg,
    struct call **ret)
{
	(void)y;
	(void)arg;
	t_eq(method, HTTP_PUT);
	t_str(target, "/v1/clock");
	(void)snprintf(
	    set_to, sizeof(set_to), "%.*s", (int)len, (const char *)body);
	set_done = done;
	*ret = (struct call *)set_to;
	sets++;
	return 0;
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

static struct yamux *
to_mux(void *arg)
{
	return arg;
}

static void
to_kick(void *arg)
{
	(void)arg;
}

static void
to_soon(void *arg, long ms)
{
	(void)arg;
	asked_in = ms;
}

static const struct gclock_ops ops = { to_mux, to_kick, to_soon };

static void
hear(struct gclock *g, int64_t guest_ns, int64_t rtt_us)
{
	char text[64];
	struct call_answer ans = { .status = 200,
		.body = (const uint8_t *)text };

	ans.len = (size_t)snprintf(
	    text, sizeof(text), "{\"time_ns\":%lld}", (long long)guest_ns);
	asked_in = -1;
	gclock_heard(g, &ans, AT, rtt_us);
}

/* Right from the start: looked at twice more, and then as it comes. */
static void
rounds(void)
{
	struct gclock g = { .ops = &ops, .arg = set_to };

	sets = 0;
	gclock_start(&g);
	t_eq(asked_in, 0);
	hear(&g, AT + MS, 2000);
	t_eq(asked_in, 1000);
	hear(&g, AT + MS, 2000);
	t_eq(asked_in, 1000);
	hear(&g, AT + MS, 2000);
	t_eq(asked_in, -1);
	t_eq(sets, 0);
	gclock_start(&g); /* it stood */
	t_eq(asked_in, 0);
	hear(&g, AT + MS, 2000);
	t_eq(asked_in, 1000);
}

/* An answer on a slow way is asked for again, but not for ever. */
static void
slow(void)
{
	struct gclock g = { .ops = &ops, .arg = set_to };
	unsigned int i;

	sets = 0;
	gclock_start(&g);
	for (i = 1; i < 8; i++) {
		hear(&g, AT - 500 * MS, 60000);
		t_eq(asked_in, 200);
		t_eq(sets, 0);
	}
	hear(&g, AT - 500 * MS, 60000);
	t_eq(sets, 1);
	t_str(set_to, "{\"offset_ns\":530000000}");
}

/* One correction at a time, and a look at what it did. */
static void
wrong(void)
{
	static const struct call_answer ok = { .status = 200 };
	struct gclock g = { .ops = &ops, .arg = set_to };

	sets = 0;
	gclock_start(&g);
	hear(&g, AT + 51 * MS, 2000);
	t_eq(sets, 1);
	t_str(set_to, "{\"offset_ns\":-50000000}");
	t_eq(asked_in, -1);
	hear(&g, AT + 51 * MS, 2000);
	t_eq(sets, 1);
	t_eq(asked_in, -1);
	set_done(&g, &ok);
	t_eq(asked_in, 1000);
	t_true(g.call == NULL);
}

/* What a guest may say instead of its time. */
static void
liars(void)
{
	static const char *const texts[] = { "", "{}", "[1]",
		"{\"time_ns\":\"now\"}", "{\"time_ns\":1e400}",
		"{\"time_ns\":99999999999999999999}" };
	struct gclock g = { .ops = &ops, .arg = set_to };
	size_t i;

	sets = 0;
	gclock_start(&g);
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct call_answer ans = { .status = 200,
			.body = (const uint8_t *)texts[i],
			.len = strlen(texts[i]) };

		gclock_heard(&g, &ans, AT, 2000);
	}
	t_eq(sets, 0);
}

const struct t_case t_cases[] = { { "a guest's clock", offsets },
	{ "rounds", rounds }, { "a slow way", slow },
	{ "a wrong clock", wrong }, { "no time", liars }, { NULL, NULL } };
