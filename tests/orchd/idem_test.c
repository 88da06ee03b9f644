#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "orchd/object/idem.h"
#include "orchd/orchd.h"
#include "tests/suite/t.h"

/* Keys and time; the store and both clocks are played. */
#define DAY_MS (INT64_C(86400) * 1000)

static int64_t now_ms, wall_ns;
static char said[256];

int64_t
clock_us(void)
{
	return now_ms * 1000;
}

int64_t
clock_ms(void)
{
	return now_ms;
}

int64_t
clock_wall_ns(void)
{
	return wall_ns;
}

static void
say(const char *what, const struct idem_row *row)
{
	const size_t n = strlen(said);

	(void)snprintf(said + n, sizeof(said) - n, "%s%s ", what, row->key);
}

void
txn_idem(struct txn *t, const struct idem_row *row)
{
	(void)t;
	say("+", row);
}

void
txn_idem_del(struct txn *t, const struct idem_row *row)
{
	(void)t;
	say("-", row);
}

static struct orchd o;

static void
begin(void)
{
	memset(&o, 0, sizeof(o));
	RB_INIT(&o.idems.tree);
	TAILQ_INIT(&o.idems.age);
	now_ms = 1000;
	wall_ns = INT64_C(1700000000) * 1000000000;
	said[0] = '\0';
}

static void
end(void)
{
	struct idem *i;

	while ((i = TAILQ_FIRST(&o.idems.age)) != NULL) {
		const struct idem_row row = i->row;

		idem_forget(&o, &row);
	}
	t_eq(o.idems.n, 0);
}

static enum idem_verdict
look(const char *key, uint32_t owner, uint32_t verb, struct idem_row *row)
{
	struct api_req req = { .conn = 1 };

	(void)snprintf(req.key, sizeof(req.key), "%s", key);
	return idem_look(&o, 1, owner, &req, verb, "doc", 3, row);
}

static void
use(const char *key, uint32_t owner)
{
	struct idem_row row, old = { 0 };

	t_eq(look(key, owner, 5, &row), IDEM_NEW);
	t_eq(idem_use(&o, &row), 0);
	if (idem_put(&o, NULL, &row, &old))
		idem_forget(&o, &old);
}

static void
test_again(void)
{
	struct idem_row row;

	begin();
	use("a", 7);
	t_eq(look("a", 7, 5, &row), IDEM_AGAIN);
	t_eq(look("a", 7, 6, &row), IDEM_OTHER);
	t_eq(look("a", 8, 5, &row), IDEM_NEW);
	t_eq(look("", 7, 5, &row), IDEM_NEW);
	end();
}

static enum idem_verdict
look_vars(const char *one, const char *two, const char *doc, size_t len,
    struct idem_row *row)
{
	struct api_req req = { .conn = 1, .key = "a" };

	(void)snprintf(req.var[0], sizeof(req.var[0]), "%s", one);
	(void)snprintf(req.var[1], sizeof(req.var[1]), "%s", two);
	return idem_look(&o, 1, 7, &req, 5, doc, len, row);
}

/* Another request is one whose path or document differs, in any part. */
static void
test_other(void)
{
	struct idem_row row;

	begin();
	t_eq(look_vars("x", "y", "d", 1, &row), IDEM_NEW);
	row.vm = 42;
	t_eq(idem_use(&o, &row), 0);
	t_eq(look_vars("x", "y", "d", 1, &row), IDEM_AGAIN);
	t_eq(row.vm, 42);
	t_eq(look_vars("z", "y", "d", 1, &row), IDEM_OTHER);
	t_eq(look_vars("x", "z", "d", 1, &row), IDEM_OTHER);
	t_eq(look_vars("xy", "", "d", 1, &row), IDEM_OTHER);
	t_eq(look_vars("x", "", "d", 1, &row), IDEM_OTHER);
	t_eq(look_vars("x", "y", "e", 1, &row), IDEM_OTHER);
	t_eq(look_vars("x", "y", "", 0, &row), IDEM_OTHER);
	row.tenant = 2;
	t_eq(idem_use(&o, &row), 0); /* another tenant's is another key */
	t_eq(o.idems.n, 2);
	end();
}

/* What the store is given of a key is of this request alone. */
static void
test_row(void)
{
	struct idem_row row;
	static const struct idem_row none;

	begin();
	memset(&row, 0xff, sizeof(row));
	t_eq(look("", 7, 5, &row), IDEM_NEW);
	t_mem(&row, sizeof(row), &none, sizeof(none));
	memset(&row, 0xff, sizeof(row));
	t_eq(look("a", 7, 5, &row), IDEM_NEW);
	t_eq(row.tenant, 1);
	t_eq(row.owner, 7);
	t_eq(row.verb, 5);
	t_eq(row.vm, 0);
	t_eq(row.at_ns, wall_ns);
	t_str(row.key, "a");
	t_eq(row.key[sizeof(row.key) - 1], 0);
	end();
}

/* The host's clock is set, by a day or by years: no key is lost, none stays. */
static void
test_clock_set(void)
{
	struct idem_row row;

	begin();
	use("a", 7);
	wall_ns += 3 * DAY_MS * 1000000;
	use("b", 7);
	t_str(said, "+a +b ");
	t_eq(look("a", 7, 5, &row), IDEM_AGAIN);
	wall_ns -= 900 * DAY_MS * 1000000;
	t_eq(look("a", 7, 5, &row), IDEM_AGAIN);
	t_eq(look("b", 7, 5, &row), IDEM_AGAIN);
	end();
}

static void
test_day(void)
{
	struct idem_row row;

	begin();
	use("a", 7);
	now_ms += DAY_MS / 2;
	use("b", 7);
	now_ms += DAY_MS / 2;
	t_eq(look("a", 7, 5, &row), IDEM_AGAIN);
	now_ms++;
	t_eq(look("a", 7, 5, &row), IDEM_NEW);
	t_eq(look("b", 7, 5, &row), IDEM_AGAIN);
	said[0] = '\0';
	use("c", 7); /* it goes from the store as well */
	t_str(said, "-a +c ");
	t_eq(o.idems.n, 2);
	/* used anew when it was not dropped yet */
	now_ms += DAY_MS;
	said[0] = '\0';
	use("b", 7);
	t_str(said, "+b ");
	t_eq(look("b", 7, 5, &row), IDEM_AGAIN);
	end();
}

/* What the store has is a day old from when it was read. */
static void
test_read(void)
{
	struct idem_row row = {
		.tenant = 1, .owner = 7, .key = "a", .at_ns = 1
	};
	struct idem_row got;

	begin();
	t_eq(look("a", 7, 5, &row), IDEM_NEW);
	row.at_ns = 1;
	t_eq(idem_load(&o, &row), 0);
	t_eq(look("a", 7, 5, &got), IDEM_AGAIN);
	now_ms += DAY_MS + 1;
	t_eq(look("a", 7, 5, &got), IDEM_NEW);
	end();
}

/* Who has too many loses his oldest, and nobody else's. */
static void
test_many(void)
{
	struct idem_row row;
	char key[16];
	int i;

	begin();
	use("other", 8);
	for (i = 0; i <= IDEM_OWNER_MAX; i++) {
		(void)snprintf(key, sizeof(key), "k%d", i);
		said[0] = '\0';
		use(key, 7);
	}
	t_str(said, "-k0 +k4096 ");
	t_eq(look("k0", 7, 5, &row), IDEM_NEW);
	t_eq(look("k1", 7, 5, &row), IDEM_AGAIN);
	t_eq(look("other", 8, 5, &row), IDEM_AGAIN);
	end();
}

/* The more are listed, the fewer each has: all of theirs fit. */
static void
test_shared(void)
{
	struct idem_row row;
	char key[16];
	int i;

	begin();
	o.listed[SHARE_USER] = 256;
	o.listed[SHARE_ADMIN] = 33;
	use("other", 8);
	for (i = 0; i <= IDEM_MAX / 289; i++) {
		(void)snprintf(key, sizeof(key), "k%d", i);
		said[0] = '\0';
		use(key, 7);
	}
	t_str(said, "-k0 +k226 ");
	t_eq(look("k1", 7, 5, &row), IDEM_AGAIN);
	t_eq(look("other", 8, 5, &row), IDEM_AGAIN);
	end();
}

/* While the store takes nothing, nothing is forgotten, and there is an end. */
static void
test_unwritten(void)
{
	struct idem_row row;
	char key[16];
	int i;

	begin();
	for (i = 0; i < IDEM_MAX + IDEM_SPARE; i++) {
		(void)snprintf(key, sizeof(key), "k%d", i);
		t_eq(look(key, 7, 5, &row), IDEM_NEW);
		t_eq(idem_use(&o, &row), 0);
	}
	t_eq(look("one more", 7, 5, &row), IDEM_NEW);
	t_eq(idem_use(&o, &row), -EBUSY);
	t_eq(look("k0", 7, 5, &row), IDEM_AGAIN);
	/* one that is too old makes room for itself */
	now_ms += DAY_MS + 1;
	t_eq(look("k0", 7, 5, &row), IDEM_NEW);
	t_eq(idem_use(&o, &row), 0);
	end();
}

const struct t_case t_cases[] = { { "again", test_again },
	{ "another request", test_other }, { "its row", test_row },
	{ "the clock is set", test_clock_set }, { "a day", test_day },
	{ "read from the store", test_read }, { "too many", test_many },
	{ "shared", test_shared }, { "not written", test_unwritten },
	{ NULL, NULL } };
