#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "orchd/store_int.h"

#define BUSY_MS 2000

/*
 * Numbered migrations: number n is applied when the store is at n - 1, each
 * in one transaction with the bump of user_version.  Never edited once
 * released; what changes comes as the next number.
 */
static const char *const migrations[] = {
	/* 1: the spine; every object carries its tenant */
	"CREATE TABLE tenant ("
	" id INTEGER PRIMARY KEY,"
	" name TEXT NOT NULL UNIQUE,"
	" last_id INTEGER NOT NULL DEFAULT 0," /* VM ids are never reused */
	" last_seq INTEGER NOT NULL DEFAULT 0" /* nor event numbers */
	") STRICT;"
	"INSERT INTO tenant (id, name) VALUES (1, 'default');"
	"CREATE TABLE vm ("
	" uid INTEGER PRIMARY KEY,"
	" tenant INTEGER NOT NULL REFERENCES tenant(id),"
	" id INTEGER NOT NULL,"
	" name TEXT NOT NULL,"
	" desired INTEGER NOT NULL,"
	" state INTEGER NOT NULL,"
	" reason INTEGER NOT NULL,"
	" exit_status INTEGER NOT NULL,"
	" slot INTEGER NOT NULL UNIQUE,"
	" ipv4 INTEGER NOT NULL UNIQUE,"
	" mac BLOB NOT NULL UNIQUE,"
	" detail TEXT NOT NULL,"
	" created_ns INTEGER NOT NULL,"
	" updated_ns INTEGER NOT NULL,"
	" spec BLOB NOT NULL,"
	" UNIQUE (tenant, name),"
	" UNIQUE (tenant, id)"
	") STRICT;"
	"CREATE TABLE event ("
	" tenant INTEGER NOT NULL REFERENCES tenant(id),"
	" seq INTEGER NOT NULL,"
	" at_ns INTEGER NOT NULL,"
	" body BLOB NOT NULL,"
	" PRIMARY KEY (tenant, seq)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE idem ("
	" tenant INTEGER NOT NULL REFERENCES tenant(id),"
	" owner INTEGER NOT NULL,"
	" key TEXT NOT NULL,"
	" verb INTEGER NOT NULL,"
	" vm INTEGER NOT NULL,"
	" hash BLOB NOT NULL,"
	" at_ns INTEGER NOT NULL,"
	" PRIMARY KEY (tenant, owner, key)"
	") STRICT, WITHOUT ROWID;"
	"CREATE INDEX idem_at ON idem (at_ns);",
	/* 2: that a VM is ready is news once, not with each new launchd */
	"ALTER TABLE vm ADD COLUMN told_ready INTEGER NOT NULL DEFAULT 0;",
};

static const char *const texts[STMT_MAX] = {
	[STMT_VM_PUT] =
	    "INSERT INTO vm (uid, tenant, id, name, desired, state, reason,"
	    " exit_status, slot, ipv4, mac, detail, created_ns, updated_ns,"
	    " spec, told_ready) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,"
	    " ?12,?13,?14,?15,?16) ON CONFLICT (uid) DO UPDATE SET"
	    " desired = ?5, state = ?6, reason = ?7, exit_status = ?8,"
	    " detail = ?12, updated_ns = ?14, told_ready = ?16",
	[STMT_VM_SET] = "UPDATE vm SET desired = ?2, state = ?3, reason = ?4,"
			" exit_status = ?5, detail = ?6, updated_ns = ?7,"
			" told_ready = ?8 WHERE uid = ?1",
	[STMT_VM_ID] = "UPDATE tenant SET last_id = max(last_id, ?2)"
		       " WHERE id = ?1",
	[STMT_VM_DEL] = "DELETE FROM vm WHERE uid = ?1",
	[STMT_EVENT_PUT] = "INSERT INTO event (tenant, seq, at_ns, body)"
			   " VALUES (?1, ?2, ?3, ?4)",
	[STMT_EVENT_TRIM] = "DELETE FROM event WHERE tenant = ?1 AND seq <= ?2",
	[STMT_EVENT_SEQ] = "UPDATE tenant SET last_seq = max(last_seq, ?2)"
			   " WHERE id = ?1",
	[STMT_IDEM_PUT] = "INSERT INTO idem (tenant, owner, key, verb, vm,"
			  " hash, at_ns) VALUES (?1,?2,?3,?4,?5,?6,?7)"
			  " ON CONFLICT (tenant, owner, key) DO UPDATE SET"
			  " verb = ?4, vm = ?5, hash = ?6, at_ns = ?7",
	[STMT_IDEM_DEL] = "DELETE FROM idem WHERE tenant = ?1 AND owner = ?2"
			  " AND key = ?3",
	[STMT_IDEM_TRIM] = "DELETE FROM idem WHERE at_ns < ?1",
};

static const char events_text[] =
    "SELECT seq, at_ns, body FROM event WHERE tenant = ?1 AND seq > ?2"
    " ORDER BY seq LIMIT ?3";

static int
errno_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	default:
		return -EIO;
	}
}

static int
sql_err(sqlite3 *db, int rc, const char *what, struct err *e)
{
	return err_set(e, errno_of(rc) == 0 ? -EIO : errno_of(rc),
	    "store: %s: %s", what,
	    db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(db));
}

int
sql_exec(sqlite3 *db, const char *text)
{
	return errno_of(sqlite3_exec(db, text, NULL, NULL, NULL));
}

int
sql_open(const char *path, bool readonly, sqlite3 **ret, struct err *e)
{
	const int how = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
	    (readonly ? SQLITE_OPEN_READONLY
		      : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
	/* synchronous=FULL: an answered request is on the disk (I8) */
	static const char pragmas[] =
	    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
	    "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
	    "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;"
	    "PRAGMA cache_size = -512;";
	sqlite3 *db = NULL;
	int rc, on;

	rc = sqlite3_open_v2(path, &db, how, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, &on);
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(db, BUSY_MS);
	if (rc == SQLITE_OK && !readonly)
		rc = sqlite3_exec(db, pragmas, NULL, NULL, NULL);
	if (rc != SQLITE_OK) {
		int r = sql_err(db, rc, path, e);

		(void)sqlite3_close(db);
		return r;
	}
	*ret = db;
	return 0;
}

static int
get_version(sqlite3 *db, int *ret, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int(st, 0);
	(void)sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : sql_err(db, rc, "user_version", e);
}

int
sql_migrate(sqlite3 *db, struct err *e)
{
	char bump[64];
	int at = 0, r;

	if ((r = get_version(db, &at, e)) < 0)
		return r;
	if (at > (int)nitems(migrations))
		return err_set(e, -EPROTO,
		    "store: version %d is newer than this program knows (%zu)",
		    at, nitems(migrations));
	for (; at < (int)nitems(migrations); at++) {
		(void)snprintf(
		    bump, sizeof(bump), "PRAGMA user_version = %d", at + 1);
		if (sql_exec(db, "BEGIN EXCLUSIVE") < 0 ||
		    sql_exec(db, migrations[at]) < 0 ||
		    sql_exec(db, bump) < 0 || sql_exec(db, "COMMIT") < 0) {
			r = sql_err(db, sqlite3_errcode(db), "migration", e);
			(void)sql_exec(db, "ROLLBACK");
			return r;
		}
	}
	return 0;
}

int
sql_prepare(sqlite3 *db, sqlite3_stmt *stmt[STMT_MAX], struct err *e)
{
	size_t i;
	int rc;

	for (i = 0; i < STMT_MAX; i++) {
		rc = sqlite3_prepare_v3(db, texts[i], -1,
		    SQLITE_PREPARE_PERSISTENT, &stmt[i], NULL);
		if (rc != SQLITE_OK)
			return sql_err(db, rc, "prepare", e);
	}
	return 0;
}

int
sql_prepare_events(sqlite3 *db, sqlite3_stmt **ret, struct err *e)
{
	int rc = sqlite3_prepare_v3(
	    db, events_text, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);

	return rc == SQLITE_OK ? 0 : sql_err(db, rc, "prepare", e);
}

void
sql_finalize(sqlite3_stmt **stmt, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		(void)sqlite3_finalize(stmt[i]);
		stmt[i] = NULL;
	}
}

/* Runs a statement that returns no rows and makes it ready again. */
static int
run(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
	return rc == SQLITE_DONE ? 0 : errno_of(rc);
}

/* A failed bind shows as a NOT NULL violation in step. */
static void
bind_text(sqlite3_stmt *st, int i, const char *s)
{
	(void)sqlite3_bind_text(st, i, s, -1, SQLITE_STATIC);
}

static void
bind_int(sqlite3_stmt *st, int i, int64_t v)
{
	(void)sqlite3_bind_int64(st, i, v);
}

static void
bind_blob(sqlite3_stmt *st, int i, const void *p, size_t len)
{
	(void)sqlite3_bind_blob64(st, i, p, len, SQLITE_STATIC);
}

int
sql_vm_put(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row)
{
	sqlite3_stmt *st = stmt[STMT_VM_ID];
	int r;

	bind_int(st, 1, row->tenant);
	bind_int(st, 2, row->id);
	if ((r = run(st)) < 0)
		return r;
	st = stmt[STMT_VM_PUT];
	bind_int(st, 1, (int64_t)row->uid);
	bind_int(st, 2, row->tenant);
	bind_int(st, 3, row->id);
	bind_text(st, 4, row->name);
	bind_int(st, 5, row->desired);
	bind_int(st, 6, row->state);
	bind_int(st, 7, row->reason);
	bind_int(st, 8, row->exit_status);
	bind_int(st, 9, row->slot);
	bind_int(st, 10, row->ipv4);
	bind_blob(st, 11, row->mac, sizeof(row->mac));
	bind_text(st, 12, row->detail);
	bind_int(st, 13, row->created_ns);
	bind_int(st, 14, row->updated_ns);
	bind_blob(st, 15, row->spec, row->speclen);
	bind_int(st, 16, row->told_ready);
	return run(st);
}

int
sql_vm_set(sqlite3_stmt *st, const struct vm_row *row)
{
	bind_int(st, 1, (int64_t)row->uid);
	bind_int(st, 2, row->desired);
	bind_int(st, 3, row->state);
	bind_int(st, 4, row->reason);
	bind_int(st, 5, row->exit_status);
	bind_text(st, 6, row->detail);
	bind_int(st, 7, row->updated_ns);
	bind_int(st, 8, row->told_ready);
	return run(st);
}

int
sql_idem_del(sqlite3_stmt *st, const struct idem_row *row)
{
	bind_int(st, 1, row->tenant);
	bind_int(st, 2, row->owner);
	bind_text(st, 3, row->key);
	return run(st);
}

int
sql_vm_del(sqlite3_stmt *st, uint64_t uid)
{
	bind_int(st, 1, (int64_t)uid);
	return run(st);
}

int
sql_event(sqlite3_stmt *stmt[STMT_MAX], const struct event_row *row)
{
	sqlite3_stmt *st = stmt[STMT_EVENT_PUT];
	int r;

	bind_int(st, 1, row->tenant);
	bind_int(st, 2, (int64_t)row->seq);
	bind_int(st, 3, row->at_ns);
	bind_blob(st, 4, row->body, row->len);
	if ((r = run(st)) < 0)
		return r;
	st = stmt[STMT_EVENT_SEQ];
	bind_int(st, 1, row->tenant);
	bind_int(st, 2, (int64_t)row->seq);
	if ((r = run(st)) < 0 || row->seq <= STORE_EVENTS_MAX)
		return r;
	st = stmt[STMT_EVENT_TRIM];
	bind_int(st, 1, row->tenant);
	bind_int(st, 2, (int64_t)(row->seq - STORE_EVENTS_MAX));
	return run(st);
}

int
sql_idem(sqlite3_stmt *stmt[STMT_MAX], const struct idem_row *row)
{
	sqlite3_stmt *st = stmt[STMT_IDEM_PUT];
	int r;

	bind_int(st, 1, row->tenant);
	bind_int(st, 2, row->owner);
	bind_text(st, 3, row->key);
	bind_int(st, 4, row->verb);
	bind_int(st, 5, (int64_t)row->vm);
	bind_blob(st, 6, row->hash, sizeof(row->hash));
	bind_int(st, 7, row->at_ns);
	if ((r = run(st)) < 0)
		return r;
	st = stmt[STMT_IDEM_TRIM];
	bind_int(st, 1, row->at_ns - STORE_IDEM_TTL_S * 1000000000LL);
	return run(st);
}

static void
get_text(sqlite3_stmt *st, int i, char *dst, size_t cap)
{
	const unsigned char *s = sqlite3_column_text(st, i);

	(void)snprintf(dst, cap, "%s", s == NULL ? "" : (const char *)s);
}

static int
get_vm(sqlite3_stmt *st, const struct store_load *cb, void *arg)
{
	struct vm_row row = { 0 };

	row.uid = (uint64_t)sqlite3_column_int64(st, 0);
	row.tenant = sqlite3_column_int64(st, 1);
	row.id = sqlite3_column_int64(st, 2);
	get_text(st, 3, row.name, sizeof(row.name));
	row.desired = (uint32_t)sqlite3_column_int64(st, 4);
	row.state = (uint32_t)sqlite3_column_int64(st, 5);
	row.reason = (uint32_t)sqlite3_column_int64(st, 6);
	row.exit_status = sqlite3_column_int(st, 7);
	row.slot = (uint32_t)sqlite3_column_int64(st, 8);
	row.ipv4 = (uint32_t)sqlite3_column_int64(st, 9);
	if (sqlite3_column_bytes(st, 10) != sizeof(row.mac))
		return -EBADMSG;
	memcpy(row.mac, sqlite3_column_blob(st, 10), sizeof(row.mac));
	get_text(st, 11, row.detail, sizeof(row.detail));
	row.created_ns = sqlite3_column_int64(st, 12);
	row.updated_ns = sqlite3_column_int64(st, 13);
	row.spec = sqlite3_column_blob(st, 14);
	row.speclen = (size_t)sqlite3_column_bytes(st, 14);
	row.told_ready = sqlite3_column_int(st, 15) != 0;
	return cb->vm(arg, &row);
}

static int
get_idem(sqlite3_stmt *st, const struct store_load *cb, void *arg)
{
	struct idem_row row = { 0 };

	row.tenant = sqlite3_column_int64(st, 0);
	row.owner = (uint32_t)sqlite3_column_int64(st, 1);
	get_text(st, 2, row.key, sizeof(row.key));
	row.verb = (uint32_t)sqlite3_column_int64(st, 3);
	row.vm = (uint64_t)sqlite3_column_int64(st, 4);
	if (sqlite3_column_bytes(st, 5) != sizeof(row.hash))
		return -EBADMSG;
	memcpy(row.hash, sqlite3_column_blob(st, 5), sizeof(row.hash));
	row.at_ns = sqlite3_column_int64(st, 6);
	return cb->idem(arg, &row);
}

static int
get_tenant(sqlite3_stmt *st, const struct store_load *cb, void *arg)
{
	char name[STORE_NAME_MAX];

	get_text(st, 1, name, sizeof(name));
	return cb->tenant(arg, sqlite3_column_int64(st, 0), name,
	    (uint64_t)sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3));
}

int
sql_read(sqlite3 *db, const struct store_load *cb, void *arg, struct err *e)
{
	static const struct {
		const char *text;
		int (*fn)(sqlite3_stmt *, const struct store_load *, void *);
	} reads[] = {
		{ "SELECT id, name, last_seq, last_id FROM tenant ORDER BY id",
		    get_tenant },
		{ "SELECT uid, tenant, id, name, desired, state, reason,"
		  " exit_status, slot, ipv4, mac, detail, created_ns,"
		  " updated_ns, spec, told_ready FROM vm ORDER BY tenant, id",
		    get_vm },
		{ "SELECT tenant, owner, key, verb, vm, hash, at_ns FROM idem"
		  " ORDER BY at_ns",
		    get_idem },
	};
	size_t i;

	for (i = 0; i < nitems(reads); i++) {
		sqlite3_stmt *st = NULL;
		int rc, r = 0;

		rc = sqlite3_prepare_v2(db, reads[i].text, -1, &st, NULL);
		if (rc != SQLITE_OK)
			return sql_err(db, rc, "read", e);
		while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
			if ((r = reads[i].fn(st, cb, arg)) < 0)
				break;
		}
		(void)sqlite3_finalize(st);
		if (r < 0)
			return err_errno(
			    e, r, "store: a row that makes no sense");
		if (rc != SQLITE_DONE)
			return sql_err(db, rc, "read", e);
	}
	return 0;
}

int
sql_events(sqlite3_stmt *st, int64_t tenant, uint64_t after, unsigned int max,
    int (*cb)(void *arg, const struct event_row *), void *arg)
{
	int rc, r = 0, n = 0;

	bind_int(st, 1, tenant);
	bind_int(st, 2, (int64_t)after);
	bind_int(st, 3, (int64_t)max);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct event_row row = { .tenant = tenant };

		row.seq = (uint64_t)sqlite3_column_int64(st, 0);
		row.at_ns = sqlite3_column_int64(st, 1);
		row.body = sqlite3_column_blob(st, 2);
		row.len = (size_t)sqlite3_column_bytes(st, 2);
		if ((r = cb(arg, &row)) < 0)
			break;
		n++;
	}
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
	if (r < 0)
		return r;
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? n : errno_of(rc);
}
