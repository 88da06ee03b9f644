#include <errno.h>

#include "common/util.h"
#include "orchd/link/passing.h"
#include "tests/suite/t.h"

/* One user and one admin: a quarter and an eighth are kept. */
static const uint32_t listed[SHARE_LISTED] = { 1, 1 };
static const struct share_who user = { 1000, SHARE_USER };
static const struct share_who admin = { 0, SHARE_ADMIN };
#define USERS (PASSING_MAX - PASSING_MAX / SHARE_KEPT_ADMINS)

static void
fill(struct passing *p)
{
	uint64_t id;

	p->n = 7; /* of whatever was there */
	passing_init(p, 2000, listed);
	t_eq(p->share.total, PASSING_MAX);
	for (id = 1; id <= USERS; id++)
		t_eq(passing_add(p, user, id), 0);
	t_eq(p->n, USERS);
}

static void
test_full(void)
{
	const long blocks = t_live();
	struct passing p;

	fill(&p);
	t_eq(passing_add(&p, user, USERS + 1), -EBUSY);
	t_eq(p.n, USERS);
	t_true(!passing_end(&p, USERS + 1));
	t_eq(passing_add(&p, admin, USERS + 2), 0);
	t_eq(share_has(&p.share, admin), 1);
	passing_clear(&p);
	t_eq(t_live(), blocks);
}

/* By the connections that there may be. */
static void
test_total(void)
{
	static const struct {
		uint32_t max_conns;
		uint64_t total;
	} rows[] = { { 0, 256 }, { 3, 256 }, { 64, 272 }, { 256, 320 },
		{ 1023, 511 }, { 1024, 512 }, { 1028, 512 },
		{ UINT32_MAX, 512 } };
	struct passing p;
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		passing_init(&p, rows[i].max_conns, listed);
		t_eq(p.share.total, rows[i].total);
		passing_clear(&p);
	}
}

/* In any order, each once, and whose it was. */
static void
test_ends(void)
{
	static const uint64_t ids[] = { 7, 1, USERS, 2 };
	const long blocks = t_live();
	struct passing p;
	size_t i;

	fill(&p);
	t_eq(passing_add(&p, admin, 9999), 0);
	for (i = 0; i < nitems(ids); i++) {
		t_true(passing_end(&p, ids[i]));
		t_true(!passing_end(&p, ids[i]));
		t_eq(p.n, USERS - i);
		t_eq(share_has(&p.share, user), USERS - 1 - i);
	}
	t_true(!passing_end(&p, 0));
	t_eq(share_has(&p.share, admin), 1);
	t_true(passing_end(&p, 9999));
	t_eq(share_has(&p.share, admin), 0);
	for (i = 0; i < nitems(ids); i++)
		t_eq(passing_add(&p, user, 10000 + i), 0);
	t_eq(passing_add(&p, user, 20000), -EBUSY);
	passing_clear(&p);
	t_eq(p.n, 0);
	t_eq(share_has(&p.share, user), 0);
	t_true(!passing_end(&p, 10000));
	t_eq(passing_add(&p, user, 1), 0);
	passing_clear(&p);
	t_eq(t_live(), blocks);
}

/* One that there is no memory for is none. */
static void
test_memory(void)
{
	const long blocks = t_live();
	struct passing p;
	unsigned int n;

	for (n = 0; n < 2; n++) { /* his first, and one more */
		passing_init(&p, 64, listed);
		if (n > 0)
			t_eq(passing_add(&p, user, 1), 0);
		t_fail_alloc(1);
		t_eq(passing_add(&p, user, 2), -ENOMEM);
		t_true(t_alloc_failed());
		t_eq(p.n, n);
		t_eq(share_has(&p.share, user), n);
		t_true(!passing_end(&p, 2));
		passing_clear(&p);
		t_eq(t_live(), blocks);
	}
	for (n = 1; n <= 2; n++) {
		passing_init(&p, 64, listed);
		t_fail_alloc(n);
		t_eq(passing_add(&p, user, 1), -ENOMEM);
		t_true(t_alloc_failed());
		t_eq(share_has(&p.share, user), 0);
		passing_clear(&p);
		t_eq(t_live(), blocks);
	}
}

const struct t_case t_cases[] = { { "passing, total", test_total },
	{ "passing, full", test_full }, { "passing, ends", test_ends },
	{ "passing, no memory", test_memory }, { NULL, NULL } };
