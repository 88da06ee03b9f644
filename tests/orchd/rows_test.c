#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "orchd/store_int.h"
#include "proto/jbuf.h"
#include "tests/suite/t.h"

/* Rows and their columns, by a table of our own: a column of each type. */
struct nest {
	uint64_t id;
	uint32_t eggs;
	int32_t depth;
	uint32_t word;
	bool warm;
	char name[6];
	char behind_name;
	uint8_t ring[4];
	struct store_doc doc;
	uint32_t none;
};

static int
ring_check(const char *ring, size_t len, struct err *e)
{
	t_eq(len, 4);
	return ring[0] == 9 ? err_set(e, -EBADMSG, "nine") : 0;
}

#define COL(m, ct)                                                    \
	.name = #m, .type = (ct), .offset = offsetof(struct nest, m), \
	.size = sizeof(((struct nest *)0)->m)
static const struct col cols[] = {
	{ COL(id, COL_INT), .flags = COL_KEY | COL_HEX, .min = INT64_MIN,
	    .max = INT64_MAX },
	{ COL(eggs, COL_INT), .flags = COL_SET, .max = UINT32_MAX },
	{ COL(depth, COL_INT), .flags = COL_SET, .min = -10, .max = 10 },
	{ COL(word, COL_INT), .words = 1U | 1U << 31 },
	{ COL(warm, COL_BOOL), .flags = COL_SET },
	{ COL(name, COL_TEXT), .flags = COL_SHOW },
	{ COL(ring, COL_BYTES), .check = ring_check },
	{ COL(doc, COL_DOC) },
	/* not one of its columns */
	{ COL(none, COL_INT), .flags = COL_KEY | COL_SET | COL_SHOW },
};
static const struct row_type nests = { "nest", cols, nitems(cols) - 1 };
#define NAMES "id, eggs, depth, word, warm, name, ring, doc"
#define VALUES ":id, :eggs, :depth, :word, :warm, :name, :ring, :doc"

static sqlite3 *db;

static void
begin(void)
{
	t_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
	t_eq(sqlite3_exec(db,
		 "CREATE TABLE nest (id PRIMARY KEY, eggs, depth, word, warm,"
		 " name, ring, doc)",
		 NULL, NULL, NULL),
	    SQLITE_OK);
}

static sqlite3_stmt *
prepare(const char *text)
{
	sqlite3_stmt *st = NULL;

	t_eq(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
	return st;
}

/* --- statements --- */

static void
select_nests(const struct row_type *t, struct jbuf *b)
{
	row_select(t, "ORDER BY id", b);
}

static void
test_text(void)
{
	static const struct {
		void (*make)(const struct row_type *, struct jbuf *);
		const char *want;
	} rows[] = {
		{ row_insert,
		    "INSERT INTO nest (" NAMES ") VALUES (" VALUES ")" },
		{ row_upsert,
		    "INSERT INTO nest (" NAMES ") VALUES (" VALUES ")"
		    " ON CONFLICT (id) DO UPDATE SET"
		    " eggs = :eggs, depth = :depth, warm = :warm" },
		{ row_update,
		    "UPDATE nest SET eggs = :eggs, depth = :depth,"
		    " warm = :warm WHERE id = :id" },
		{ row_delete, "DELETE FROM nest WHERE id = :id" },
		{ select_nests, "SELECT " NAMES " FROM nest ORDER BY id" },
	};
	struct jbuf b;
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].want);
		jbuf_init(&b, 4096);
		rows[i].make(&nests, &b);
		t_str(b.p, rows[i].want);
		jbuf_free(&b);
	}
}

/* --- there and back --- */

static int
back(struct nest *n, const char *change, struct err *e)
{
	sqlite3_stmt *st;
	struct jbuf b;
	int r;

	t_eq(sqlite3_exec(db, change, NULL, NULL, NULL), SQLITE_OK);
	jbuf_init(&b, 4096);
	row_select(&nests, "", &b);
	st = prepare(b.p);
	jbuf_free(&b);
	t_eq(sqlite3_step(st), SQLITE_ROW);
	memset(n, 0x55, sizeof(*n));
	memset(e, 0, sizeof(*e));
	r = row_get(&nests, st, n, e);
	if (r == 0) { /* a text of the statement's */
		t_mem(n->doc.text, n->doc.len, "{}", 2);
		t_eq(n->behind_name, 0x55);
	}
	(void)sqlite3_finalize(st);
	return r;
}

static void
put(const struct nest *n)
{
	sqlite3_stmt *st;
	struct jbuf b;

	jbuf_init(&b, 4096);
	row_upsert(&nests, &b);
	st = prepare(b.p);
	jbuf_free(&b);
	row_bind(&nests, st, n);
	t_eq(sqlite3_step(st), SQLITE_DONE);
	(void)sqlite3_finalize(st);
}

static const struct nest whole = { .id = UINT64_MAX,
	.eggs = UINT32_MAX,
	.depth = -10,
	.word = 31,
	.warm = true,
	.name = "merle",
	.ring = { 1, 2, 3, 0 },
	.doc = { "{}", 2, 0 } };

static void
test_back(void)
{
	struct nest n;
	struct err e;

	begin();
	put(&whole);
	t_eq(back(&n, "", &e), 0);
	t_eq(n.id, whole.id);
	t_eq(n.eggs, whole.eggs);
	t_eq(n.depth, whole.depth);
	t_eq(n.word, whole.word);
	t_eq(n.warm, true);
	t_str(n.name, "merle");
	t_mem(n.ring, 4, whole.ring, 4);
	(void)sqlite3_close(db);
}

/* What may be read, and what no row may hold. */
static void
test_limits(void)
{
	static const struct {
		const char *change, *why; /* "": it may be */
	} rows[] = {
		{ "depth = 10", "" },
		{ "depth = 11", "depth: 11 cannot be" },
		{ "depth = -11", "depth: -11 cannot be" },
		{ "eggs = 0", "" },
		{ "eggs = -1", "eggs: -1 cannot be" },
		{ "eggs = 4294967296", "eggs: 4294967296 cannot be" },
		{ "word = 0", "" },
		{ "word = 1", "word: 1 cannot be" },
		{ "word = 32", "word: 32 cannot be" },
		{ "word = -1", "word: -1 cannot be" },
		{ "warm = 0", "" },
		{ "name = ''", "" },
		{ "name = 'merles'", "name: too long, or a NUL in it" },
		{ "name = 'a' || char(0)", "name: too long, or a NUL in it" },
		{ "ring = X'010203'", "ring: 3 bytes instead of 4" },
		{ "ring = X'0102030405'", "ring: 5 bytes instead of 4" },
		{ "ring = X'09020304'", "ring: nine" },
	};
	char change[128];
	struct nest n;
	struct err e;
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].change);
		begin();
		put(&whole);
		(void)snprintf(change, sizeof(change), "UPDATE nest SET %s",
		    rows[i].change);
		t_eq(back(&n, change, &e),
		    rows[i].why[0] == '\0' ? 0 : -EBADMSG);
		t_str(e.msg, rows[i].why);
		(void)sqlite3_close(db);
	}
}

/* Past what cannot be: which columns, and why the first. */
static void
test_some(void)
{
	static const struct {
		const char *values, *why;
		uint64_t bad;
	} rows[] = {
		{ "1, 2, 3, 0, 1, 'a', X'01020304', '{}'", "", 0 },
		{ "1, -1, 3, 7, 1, 'a', X'0102', '{}'", "eggs: -1 cannot be",
		    1U << 1 | 1U << 3 | 1U << 6 },
		{ "1, 2, 3, 0, 1, 'too long', X'01020304', '{}'",
		    "name: too long, or a NUL in it", 1U << 5 },
	};
	char text[128];
	sqlite3_stmt *st;
	struct nest n;
	struct err e;
	uint64_t bad;
	size_t i;

	begin();
	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].values);
		(void)snprintf(text, sizeof(text), "SELECT %s", rows[i].values);
		st = prepare(text);
		t_eq(sqlite3_step(st), SQLITE_ROW);
		memset(&n, 0x55, sizeof(n));
		memset(&e, 0, sizeof(e));
		bad = UINT64_MAX;
		t_eq(row_get_some(&nests, st, &n, &bad, &e), 0);
		t_eq(bad, rows[i].bad);
		t_str(e.msg, rows[i].why);
		t_eq(n.id, 1);
		t_eq(n.eggs, i == 1 ? 0 : 2);
		t_str(n.name, i == 2 ? "" : "a");
		t_eq(row_is_bad(&nests, bad, "eggs"), i == 1);
		t_eq(row_is_bad(&nests, bad, "doc"), false);
		(void)sqlite3_finalize(st);
	}
	(void)sqlite3_close(db);
}

/* What may be anything is fit to print. */
static void
test_label(void)
{
	static const struct {
		const char *values, *want;
	} rows[] = {
		{ "1000, 2, 3, 0, 1, 'a ~'",
		    "nest id 00000000000003e8 name a ~" },
		{ "-1, 2, 3, 0, 1, char(27) || 'x' || char(127)",
		    "nest id ffffffffffffffff name ?x?" },
		{ "1, 2, 3, 0, 1, NULL", "nest id 0000000000000001 name ?" },
	};
	char text[128], label[64];
	sqlite3_stmt *st;
	size_t i;

	begin();
	for (i = 0; i < nitems(rows); i++) {
		(void)snprintf(text, sizeof(text), "SELECT %s", rows[i].values);
		st = prepare(text);
		t_eq(sqlite3_step(st), SQLITE_ROW);
		row_label(&nests, st, label, sizeof(label));
		t_str(label, rows[i].want);
		(void)sqlite3_finalize(st);
	}
	(void)sqlite3_close(db);
}

const struct t_case t_cases[] = { { "statements", test_text },
	{ "there and back", test_back }, { "limits", test_limits },
	{ "what can be read of one", test_some }, { "its label", test_label },
	{ NULL, NULL } };
