#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/util.h"
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
static long blocks;

static void
begin(void)
{
	blocks = t_live();
	memset(&o, 0, sizeof(o));
	idems_init(&o.idems);
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
	t_eq(t_live(), blocks);
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

static void
test_no_memory(void)
{
	struct idem_row row;
	int n;

	begin();
	t_eq(look("a", 7, 5, &row), IDEM_NEW);
	for (n = 1; n <= 2; n++) {
		t_fail_alloc(n);
		t_eq(idem_use(&o, &row), -ENOMEM);
		t_true(t_alloc_failed());
		t_eq(look("a", 7, 5, &row), IDEM_NEW);
		t_eq(o.idems.n, 0);
	}
	t_eq(idem_use(&o, &row), 0);
	end();
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

/* A request's hash is in the store: it is the same in every build. */
static void
test_hash(void)
{
	static const struct {
		const char *one, *two, *doc, *want;
	} rows[] = {
		{ "x", "y", "doc",
		    "49f25a56c09241024b41bfa6b643e038edd6ae88e7a7bb9867894d9ce2dd0a6f" },
		{ "x", "", "",
		    "3eeba7249d5b2948cfb76e60150067dec842e889d287a8c4aaa2fdf7a23a3d91" },
		{ "", "", "d",
		    "2b8f2cc57297179a1c456be800df3f3421e867a7c62c90de3eaa7db864179493" },
	};
	struct idem_row row;
	char got[2 * sizeof(row.hash) + 1];
	size_t i, n;

	begin();
	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].one);
		t_eq(look_vars(rows[i].one, rows[i].two, rows[i].doc,
			 strlen(rows[i].doc), &row),
		    IDEM_NEW);
		for (n = 0; n < sizeof(row.hash); n++)
			(void)snprintf(got + 2 * n, 3, "%02x", row.hash[n]);
		t_str(got, rows[i].want);
	}
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
	now_ms += 1;
	t_eq(look("b", 7, 5, &row), IDEM_NEW);
	row.vm = 42;
	t_eq(idem_use(&o, &row), 0);
	t_eq(idem_use(&o, &row), -EEXIST); /* it is in use */
	t_eq(o.idems.n, 2);
	t_eq(look("b", 7, 5, &row), IDEM_AGAIN);
	t_eq(row.vm, 42);
	end();
}

/* So many go with one that is new, the oldest first, from here and from the
 * store. */
static void
test_old(void)
{
	struct idem_row row;
	char key[16];
	int i;

	begin();
	for (i = 0; i < 40; i++) {
		(void)snprintf(key, sizeof(key), "%d", i);
		use(key, 7);
	}
	now_ms += DAY_MS + 1;
	said[0] = '\0';
	use("a", 7);
	t_str(
	    said, "-0 -1 -2 -3 -4 -5 -6 -7 -8 -9 -10 -11 -12 -13 -14 -15 +a ");
	t_eq(o.idems.n, 25);
	t_eq(look("16", 7, 5, &row), IDEM_NEW);
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

static void
use_many(unsigned int n, uint32_t owner)
{
	char key[16];
	unsigned int i;

	for (i = 0; i < n; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i);
		said[0] = '\0';
		use(key, owner);
	}
}

/* The more are listed, the fewer each has: all of theirs fit. */
static void
test_shared(void)
{
	static const struct {
		const char *name;
		uint32_t users, admins;
		unsigned int max;
	} rows[] = {
		{ "none", 0, 0, 4096 },
		{ "a few", 9, 0, 4096 },
		{ "as many as have all", 1, 15, 4096 },
		{ "one more", 16, 1, 65536 / 17 },
		{ "a power of two", 32, 0, 2048 },
		{ "many", 256, 33, 226 },
	};
	struct idem_row row;
	char want[64];
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin();
		o.listed[SHARE_USER] = rows[i].users;
		o.listed[SHARE_ADMIN] = rows[i].admins;
		use_many(rows[i].max, 7);
		(void)snprintf(want, sizeof(want), "+k%u ", rows[i].max - 1);
		t_str(said, want); /* all fit */
		use("other", 8);
		said[0] = '\0';
		use("one more", 7);
		t_str(said, "-k0 +one more ");
		t_eq(look("k1", 7, 5, &row), IDEM_AGAIN);
		t_eq(look("other", 8, 5, &row), IDEM_AGAIN);
		end();
	}
}

/* Who is listed no more, or never was, has keys as well: of all too many, the
 * oldest goes of who has the most, and nobody's who has few. */
static void
test_full(void)
{
	struct idem_row row;
	char key[16];
	unsigned int i;

	begin();
	t_eq(look("first", 1, 5, &row), IDEM_NEW);
	t_eq(idem_load(&o, &row), 0);
	for (i = 1; i < IDEM_MAX - 1; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i);
		t_eq(look(key, 100 + i % 64, 5, &row), IDEM_NEW);
		t_eq(idem_load(&o, &row), 0);
	}
	t_eq(look("last", 7, 5, &row), IDEM_NEW);
	t_eq(idem_load(&o, &row), 0);
	idem_forget(&o, &row);
	said[0] = '\0';
	use("a", 7);
	t_str(said, "+a "); /* it is full, and not too full */
	t_eq(o.idems.n, IDEM_MAX);
	t_eq(look("b", 7, 5, &row), IDEM_NEW);
	t_eq(idem_load(&o, &row), -1); /* the store has no more than that */
	said[0] = '\0';
	use("b", 7);
	t_str(said, "-k1 +b "); /* of 101, the first that has 1,024 */
	t_eq(o.idems.n, IDEM_MAX);
	end();
}

static enum idem_verdict
use_in(int64_t tenant, uint32_t owner, const char *key)
{
	const struct api_req req = { .conn = 1, .key = "k" };
	struct idem_row row, old = { 0 };
	struct api_req named = req;
	enum idem_verdict v;

	(void)snprintf(named.key, sizeof(named.key), "%s", key);
	v = idem_look(&o, tenant, owner, &named, 5, "doc", 3, &row);
	if (v == IDEM_NEW) {
		t_eq(idem_use(&o, &row), 0);
		if (idem_put(&o, NULL, &row, &old))
			idem_forget(&o, &old);
	}
	return v;
}

/* However many people a tenant has, and keys each: another's stay. */
static void
test_tenants(void)
{
	char key[16];
	unsigned int i;

	begin();
	for (i = 0; i < 100; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i);
		t_eq(use_in(2, 7, key), IDEM_NEW);
		t_eq(use_in(3 + i, 8, key), IDEM_NEW);
	}
	for (i = 0; i < 2 * IDEM_MAX; i++) {
		(void)snprintf(key, sizeof(key), "%u", i);
		said[0] = '\0';
		t_eq(use_in(1, 1000 + i % 500, key), IDEM_NEW);
	}
	t_eq(o.idems.n, IDEM_MAX);
	for (i = 0; i < 100; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i);
		t_eq(use_in(2, 7, key), IDEM_AGAIN);
		t_eq(use_in(3 + i, 8, key), IDEM_AGAIN);
	}
	/* of its people who have the most lose first */
	for (i = 0; i < 1000; i++) {
		(void)snprintf(key, sizeof(key), "greedy%u", i);
		t_eq(use_in(1, 9, key), IDEM_NEW);
	}
	t_eq(use_in(1, 9, "greedy0"), IDEM_NEW);
	idem_forget_tenant(&o, 1);
	t_eq(o.idems.n, 200);
	end();
}

/* Of two tenants that have as many it is the older one. */
static void
test_tie(void)
{
	char key[16];
	unsigned int i;

	begin();
	for (i = 0; i < IDEM_MAX; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i);
		said[0] = '\0';
		t_eq(use_in(1 + i % 2, 100 + i / 2 % 16, key), IDEM_NEW);
	}
	said[0] = '\0';
	t_eq(use_in(3, 7, "one"), IDEM_NEW);
	t_str(said, "-k0 +one ");
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
	{ "no memory", test_no_memory }, { "another request", test_other },
	{ "its hash", test_hash }, { "its row", test_row },
	{ "the clock is set", test_clock_set }, { "a day", test_day },
	{ "old ones go", test_old }, { "read from the store", test_read },
	{ "too many", test_many }, { "shared", test_shared },
	{ "full", test_full }, { "of tenants", test_tenants },
	{ "a tie", test_tie }, { "not written", test_unwritten },
	{ NULL, NULL } };
