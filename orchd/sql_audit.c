#include <errno.h>
#include <string.h>

#include "orchd/store_int.h"

/* Tables are read whole rows at a time; who asks for a part says where. */
static const char *const tails[AUDIT_STMTS] = {
	[AUDIT_ALL] = "WHERE seq > :after ORDER BY seq LIMIT :max",
	[AUDIT_OF] =
	    "WHERE tenant = :tenant AND n > :after ORDER BY n LIMIT :max",
	[AUDIT_ONE] = "WHERE tenant = :tenant AND n = :after",
	[AUDIT_HEADS] = "WHERE tenant >= :tenant ORDER BY tenant",
};

int
sql_prepare_audit(sqlite3 *db, sqlite3_stmt *stmt[AUDIT_STMTS], struct err *e)
{
	int i, r = 0;

	for (i = 0; r == 0 && i < AUDIT_STMTS; i++)
		r = sql_prepare_select(db,
		    i == AUDIT_HEADS ? &audit_head_rows : &audit_rows, tails[i],
		    &stmt[i], e);
	return r;
}

/* The hash of row n of a chain.  0, -ENOENT, or another negative errno. */
static int
hash_of(
    sqlite3_stmt *st, int64_t tenant, uint64_t n, uint8_t hash[AUDIT_HASH_LEN])
{
	struct audit_row row = { 0 };
	int rc, r;

	sql_bind_int(st, ":tenant", tenant);
	sql_bind_int(st, ":after", (int64_t)n);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		r = row_get(&audit_rows, st, &row, NULL);
	else
		r = rc == SQLITE_DONE ? -ENOENT : sql_errno(rc);
	memcpy(hash, row.hash, AUDIT_HASH_LEN);
	sql_reset(st);
	return r;
}

/* The first row that is kept; 0 where the chain has no head. */
static int
first_of(sqlite3_stmt *st, int64_t tenant, uint64_t *ret)
{
	struct audit_head h = { 0 };
	int rc, r = 0;

	sql_bind_int(st, ":tenant", tenant);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		r = row_get(&audit_head_rows, st, &h, NULL);
	else if (rc != SQLITE_DONE)
		r = sql_errno(rc);
	/* the next one's, where it has none */
	*ret = rc == SQLITE_ROW && h.tenant == tenant ? h.first : 0;
	sql_reset(st);
	return r == -EBADMSG ? 0 : r;
}

/* 1: it is; 0: not; or a negative errno. */
static int
is_intact(sqlite3_stmt *stmt[AUDIT_STMTS], const struct audit_row *row)
{
	static const uint8_t zeros[AUDIT_HASH_LEN];
	uint8_t hash[AUDIT_HASH_LEN];
	uint64_t first;
	int r;

	audit_hash(row, hash);
	if (memcmp(hash, row->hash, sizeof(hash)) != 0)
		return 0;
	if (row->n == 1)
		return memcmp(row->prev, zeros, sizeof(zeros)) == 0;
	r = hash_of(stmt[AUDIT_ONE], row->tenant, row->n - 1, hash);
	if (r == 0)
		return memcmp(row->prev, hash, sizeof(hash)) == 0;
	if (r != -ENOENT)
		return r == -EBADMSG ? 0 : r;
	/* the one before is gone: is it to be? */
	r = first_of(stmt[AUDIT_HEADS], row->tenant, &first);
	return r < 0 ? r : row->n == first;
}

static int
give(sqlite3_stmt *stmt[AUDIT_STMTS], sqlite3_stmt *st, store_audit_fn *cb,
    void *arg)
{
	struct audit_row row = { 0 };
	int r = row_get(&audit_rows, st, &row, NULL);

	if (r == -EBADMSG) {
		row.entry = (struct store_doc){ 0 };
		r = 0; /* shown as what it is: broken */
	} else if (r == 0)
		r = is_intact(stmt, &row);
	return r < 0 ? r : cb(arg, &row, r != 0);
}

static int
read_rows(sqlite3_stmt *stmt[AUDIT_STMTS], const struct audit_query *q,
    store_audit_fn *cb, void *arg)
{
	sqlite3_stmt *st = stmt[q->tenant == AUDIT_ANY ? AUDIT_ALL : AUDIT_OF];
	int rc, r = 0, n = 0;

	sql_bind_int(st, ":tenant", q->tenant);
	sql_bind_int(st, ":after", (int64_t)q->after);
	sql_bind_int(st, ":max", q->max);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		if ((r = give(stmt, st, cb, arg)) < 0)
			break;
		n++;
	}
	sql_reset(st);
	if (r < 0)
		return r;
	return rc == SQLITE_DONE ? n : sql_errno(rc);
}

int
sql_audit_heads(sqlite3_stmt *stmt[AUDIT_STMTS], int64_t from,
    store_audit_head_fn *cb, void *arg)
{
	sqlite3_stmt *st = stmt[AUDIT_HEADS];
	int rc, r = 0;

	sql_bind_int(st, ":tenant", from);
	while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct audit_head h = { 0 };

		r = row_get(&audit_head_rows, st, &h, NULL);
		if (r == 0)
			r = cb(arg, &h);
	}
	sql_reset(st);
	if (r != 0)
		return r;
	return rc == SQLITE_DONE ? 0 : sql_errno(rc);
}

int
sql_audit_read(sqlite3 *db, sqlite3_stmt *stmt[AUDIT_STMTS],
    const struct audit_query *q, store_audit_fn *cb, void *arg)
{
	int r;

	/* rows and what they are held against are of one moment */
	if ((r = sql_exec(db, "BEGIN")) < 0)
		return r;
	r = read_rows(stmt, q, cb, arg);
	if (r >= 0 && (unsigned int)r < q->max && q->heads != NULL) {
		const int e = sql_audit_heads(stmt,
		    q->tenant == AUDIT_ANY ? 0 : q->tenant, q->heads, arg);

		r = e < 0 ? e : r;
	}
	(void)sql_exec(db, "COMMIT");
	return r;
}
