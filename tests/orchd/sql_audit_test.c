#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "tests/orchd/sqlstore.h"

/* The trail: chains that grow, are read, and tell what was done to them. */

static sqlite3_stmt *rd[AUDIT_STMTS];

static void
start(void)
{
	begin();
	t_eq(sql_prepare_audit(db, rd, &e), 0);
}

static void
finish(void)
{
	sql_finalize(rd, AUDIT_STMTS);
	end();
}

static int
put(int64_t tenant, const char *text)
{
	const struct audit_row row = {
		.tenant = tenant, .at_ns = 5, .entry = { text, strlen(text), 1 }
	};

	return sql_audit(stmt, &row);
}

/* --- what is read of it --- */

static char said[512];

static int
say_row(void *arg, const struct audit_row *row, bool is_intact)
{
	const size_t n = strlen(said);

	(void)arg;
	t_true(row->entry.len > 0 || row->entry.text == NULL);
	(void)snprintf(said + n, sizeof(said) - n, "%lld/%llu %.*s%s;",
	    (long long)row->tenant, (unsigned long long)row->n,
	    (int)row->entry.len, row->entry.len > 0 ? row->entry.text : "",
	    is_intact ? "" : " BAD");
	return 0;
}

static int
say_head(void *arg, const struct audit_head *h)
{
	const size_t n = strlen(said);

	(void)snprintf(said + n, sizeof(said) - n, "%lld %llu-%llu;",
	    (long long)h->tenant, (unsigned long long)h->first,
	    (unsigned long long)h->last);
	return arg != NULL ? *(int *)arg : 0;
}

#define SHOWS(tenant, after, max, n, want)                               \
	do {                                                             \
		const struct audit_query q = { (tenant), (after), (max), \
			NULL };                                          \
		said[0] = '\0';                                          \
		t_eq(sql_audit_read(db, rd, &q, say_row, NULL), (n));    \
		t_str(said, (want));                                     \
	} while (0)
#define HEADS(from, want)                                           \
	do {                                                        \
		said[0] = '\0';                                     \
		t_eq(sql_audit_heads(rd, from, say_head, NULL), 0); \
		t_str(said, (want));                                \
	} while (0)

static void
two_chains(void)
{
	start();
	t_eq(put(1, "a"), 0);
	t_eq(put(0, "b"), 0);
	t_eq(put(1, "c"), 0);
	t_eq(put(1, "d"), 0);
}

static void
chains(void)
{
	const struct audit_query all = { AUDIT_ANY, 0, 9, say_head };
	struct audit_query own = { 1, 1, 9, say_head };

	start();
	SHOWS(AUDIT_ANY, 0, 9, 0, "");
	HEADS(0, "");
	finish();
	two_chains();
	SHOWS(AUDIT_ANY, 0, 9, 4, "1/1 a;0/1 b;1/2 c;1/3 d;");
	SHOWS(AUDIT_ANY, 2, 1, 1, "1/2 c;");
	SHOWS(1, 0, 9, 3, "1/1 a;1/2 c;1/3 d;");
	SHOWS(1, 1, 1, 1, "1/2 c;");
	SHOWS(1, 3, 9, 0, "");
	SHOWS(0, 0, 9, 1, "0/1 b;");
	SHOWS(2, 0, 9, 0, "");
	HEADS(0, "0 1-1;1 1-3;");
	HEADS(1, "1 1-3;");
	/* with the last rows, of that moment */
	said[0] = '\0';
	t_eq(sql_audit_read(db, rd, &all, say_row, NULL), 4);
	t_str(said, "1/1 a;0/1 b;1/2 c;1/3 d;0 1-1;1 1-3;");
	said[0] = '\0';
	t_eq(sql_audit_read(db, rd, &own, say_row, NULL), 2);
	t_str(said, "1/2 c;1/3 d;1 1-3;");
	own.after = 3; /* none is left */
	said[0] = '\0';
	t_eq(sql_audit_read(db, rd, &own, say_row, NULL), 0);
	t_str(said, "1 1-3;");
	own.after = 1;
	own.max = 2;
	said[0] = '\0';
	t_eq(sql_audit_read(db, rd, &own, say_row, NULL), 2);
	t_str(said, "1/2 c;1/3 d;");
	finish();
}

/* As docs/api.md says it; made by another program. */
static void
hashes(void)
{
	static const uint8_t want[AUDIT_HASH_LEN] = { 0xf5, 0xab, 0x88, 0x25,
		0x1b, 0x53, 0x46, 0xc2, 0x78, 0x76, 0xc0, 0xc9, 0x82, 0x3b,
		0xaa, 0xdb, 0xc2, 0xa4, 0x3e, 0xba, 0x45, 0x55, 0x09, 0x11,
		0x8b, 0xbd, 0x44, 0x18, 0xda, 0x40, 0x87, 0x80 };
	struct audit_row row = { .tenant = 0x0102030405060708,
		.n = 0x1112131415161718,
		.at_ns = 0x2122232425262728,
		.entry = { "entry", 5, 0x31323334 } };
	uint8_t hash[AUDIT_HASH_LEN];
	size_t i;

	for (i = 0; i < sizeof(row.prev); i++)
		row.prev[i] = (uint8_t)i;
	audit_hash(&row, hash);
	t_mem(hash, sizeof(hash), want, sizeof(want));
}

/* RULE AUDIT_CHAIN: what was done to the rows shows. */
static void
tampered(void)
{
	static const struct {
		const char *did, *shows, *heads;
	} rows[] = {
		{ "UPDATE audit SET entry = 'x' WHERE seq = 3",
		    "1/1 a;0/1 b;1/2 x BAD;1/3 d;", "0 1-1;1 1-3;" },
		{ "UPDATE audit SET at_ns = 6 WHERE seq = 3",
		    "1/1 a;0/1 b;1/2 c BAD;1/3 d;", "0 1-1;1 1-3;" },
		{ "UPDATE audit SET entry_v = 2 WHERE seq = 3",
		    "1/1 a;0/1 b;1/2 c BAD;1/3 d;", "0 1-1;1 1-3;" },
		{ "UPDATE audit SET hash = zeroblob(32) WHERE seq = 3",
		    "1/1 a;0/1 b;1/2 c BAD;1/3 d BAD;", "0 1-1;1 1-3;" },
		{ "UPDATE audit SET hash = zeroblob(3) WHERE seq = 3",
		    "1/1 a;0/1 b;1/2  BAD;1/3 d BAD;", "0 1-1;1 1-3;" },
		/* another chain's */
		{ "UPDATE audit SET tenant = 2 WHERE seq = 2",
		    "1/1 a;2/1 b BAD;1/2 c;1/3 d;", "0 1-1;1 1-3;" },
		/* removed: within, at the beginning, at the end */
		{ "DELETE FROM audit WHERE seq = 3", "1/1 a;0/1 b;1/3 d BAD;",
		    "0 1-1;1 1-3;" },
		{ "DELETE FROM audit WHERE seq = 1", "0/1 b;1/2 c BAD;1/3 d;",
		    "0 1-1;1 1-3;" },
		{ "DELETE FROM audit WHERE seq = 4", "1/1 a;0/1 b;1/2 c;",
		    "0 1-1;1 1-3;" },
		/* in another order */
		{ "UPDATE audit SET n = CASE n WHEN 2 THEN -3 ELSE -2 END "
		  "WHERE tenant = 1 AND n > 1; UPDATE audit SET n = -n "
		  "WHERE n < 0",
		    "1/1 a;0/1 b;1/3 c BAD;1/2 d BAD;", "0 1-1;1 1-3;" },
		/* begun anew behind what was cut off */
		{ "DELETE FROM audit WHERE seq = 1;"
		  "UPDATE audit SET n = n - 1 WHERE tenant = 1",
		    "0/1 b;1/1 c BAD;1/2 d BAD;", "0 1-1;1 1-3;" },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].did);
		two_chains();
		sql(rows[i].did);
		SHOWS(AUDIT_ANY, 0, 9, strstr(rows[i].did, "DELETE") ? 3 : 4,
		    rows[i].shows);
		HEADS(0, rows[i].heads);
		finish();
	}
}

/* One without a head has no first row, whatever another's head says. */
static void
headless(void)
{
	two_chains();
	t_eq(put(0, "e"), 0);
	sql("DELETE FROM audit_head WHERE tenant = 0");
	sql("UPDATE audit_head SET first = 2 WHERE tenant = 1");
	sql("DELETE FROM audit WHERE tenant = 0 AND n = 1");
	SHOWS(0, 0, 9, 1, "0/2 e BAD;");
	finish();
}

/* The oldest go, and the chain holds. */
static void
bounded(void)
{
	int i;

	start();
	sql("BEGIN");
	t_eq(put(0, "h"), 0);
	for (i = 0; i < STORE_AUDIT_MAX; i++)
		t_eq(put(1, "x"), 0);
	HEADS(0, "0 1-1;1 1-10000;");
	t_eq(put(1, "y"), 0);
	t_eq(put(1, "z"), 0);
	sql("COMMIT");
	HEADS(0, "0 1-1;1 3-10002;");
	t_str(value("SELECT count(*) FROM audit"), "10001");
	SHOWS(1, 0, 2, 2, "1/3 x;1/4 x;");
	SHOWS(1, 10000, 9, 2, "1/10001 y;1/10002 z;");
	sql("DELETE FROM audit WHERE n = 3");
	SHOWS(1, 0, 1, 1, "1/4 x BAD;");
	finish();
}

/* A chain outlives its tenant, and is not another's; of those the last ones
 * are kept. */
static void
gone(void)
{
	struct tenant_row t = { .name = "t", .spec = { "{}", 2, 1 } };
	int i;

	start();
	t_eq(put(0, "h"), 0);
	t_eq(put(1, "d"), 0);
	for (i = 2; i < 2 + STORE_AUDIT_GONE_MAX + 2; i++) {
		t.id = i;
		t_eq(sql_tenant_put(stmt, &t), 0);
		t_eq(put(i, "x"), 0);
		t_eq(sql_tenant_del(stmt, &t), 0);
	}
	HEADS(STORE_AUDIT_GONE_MAX + 2, "66 1-1;67 1-1;");
	t_str(value("SELECT min(tenant) FROM audit WHERE tenant > 1"), "4");
	t_str(
	    value("SELECT min(tenant) FROM audit_head WHERE tenant > 1"), "4");
	t_str(value("SELECT count(*) FROM audit WHERE tenant < 2"), "2");
	t_str(value("SELECT count(*) FROM audit_head WHERE tenant < 2"), "2");
	finish();
}

/* One call of SQLite fails: nothing is told that is not so. */
static void
failing(void)
{
	const struct audit_query two = { 1, 0, 2, NULL };
	const struct audit_query heads = { 1, 0, 9, say_head };
	unsigned int n;
	int stop = -ELOOP;

	for (n = 1; n <= 3; n++) {
		two_chains();
		faulty_set("step", n, SQLITE_IOERR);
		t_eq(put(1, "e"), -EIO);
		faulty_set(NULL, 0, 0);
		t_eq(put(0, "f"), 0);
		finish();
	}
	/* the first is that of BEGIN */
	for (n = 2; n <= 7; n++) {
		char row[16];

		(void)snprintf(row, sizeof(row), "step %u", n);
		t_row(row);

		two_chains();
		sql("DELETE FROM audit WHERE seq = 1");
		faulty_set("step", n, SQLITE_IOERR);
		t_eq(sql_audit_read(db, rd, &two, say_row, NULL), -EIO);
		faulty_set(NULL, 0, 0);
		SHOWS(0, 0, 9, 1, "0/1 b;");
		finish();
	}
	two_chains();
	faulty_set("step", 2, SQLITE_IOERR);
	t_eq(sql_audit_heads(rd, 0, say_head, NULL), -EIO);
	faulty_set(NULL, 0, 0);
	t_eq(sql_audit_heads(rd, 0, say_head, &stop), -ELOOP);
	t_eq(sql_audit_read(db, rd, &heads, say_row, &stop), -ELOOP);
	sql("UPDATE audit_head SET hash = zeroblob(3)");
	t_eq(sql_audit_heads(rd, 0, say_head, NULL), -EBADMSG);
	t_eq(put(1, "e"), -EBADMSG);
	finish();
}

const struct t_case t_cases[] = { { "chains", chains }, { "hashes", hashes },
	{ "tampered", tampered }, { "headless", headless },
	{ "bounded", bounded }, { "gone", gone }, { "failing", failing },
	{ NULL, NULL } };
