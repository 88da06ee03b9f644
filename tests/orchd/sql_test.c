#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "proto/objects.h"
#include "tests/orchd/sqlstore.h"

/* The store's statements that change it, and what a failure of each leaves. */
#define VERSION "6" /* of a store that is new */

/* --- open --- */

static void
test_open(void)
{
	int on = -1;

	begin_empty();
	t_str(value("PRAGMA journal_mode"), "wal");
	t_str(value("PRAGMA synchronous"), "2"); /* FULL */
	t_str(value("PRAGMA foreign_keys"), "1");
	t_str(value("PRAGMA trusted_schema"), "0");
	t_str(value("PRAGMA temp_store"), "2"); /* MEMORY */
	t_str(value("PRAGMA cache_size"), "-512");
	t_str(value("PRAGMA busy_timeout"), "2000");
	t_eq(sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, -1, &on), 0);
	t_eq(on, 1);
	end();
}

static void
test_open_reader(void)
{
	sqlite3 *reader = NULL, *mine;

	begin();
	t_eq(sql_open(path, true, &reader, &e), 0);
	mine = db;
	db = reader;
	t_str(value("SELECT count(*) FROM tenant"), "1");
	t_str(value("PRAGMA busy_timeout"), "2000");
	t_true(strcmp(value("PRAGMA cache_size"), "-512") != 0); /* SQLite's */
	t_eq(sql_exec(reader, "DELETE FROM tenant"), -EROFS);
	db = mine;
	t_eq(sqlite3_close(reader), SQLITE_OK);
	end();
}

static void
opens_not(bool readonly, int r, const char *why)
{
	sqlite3 *const none = (sqlite3 *)(void *)&db;
	sqlite3 *got = none;

	memset(&e, 0, sizeof(e));
	blocks = t_live();
	t_eq(sql_open(path, readonly, &got, &e), r);
	t_eq(e.code, r);
	t_true(strncmp(e.msg, "store: ", 7) == 0);
	t_true(strstr(e.msg, path) != NULL);
	t_true(strstr(e.msg, why) != NULL);
	t_true(got == none);
	t_eq(t_live(), blocks);
	clean();
}

static void
test_open_not(void)
{
	static const char *const calls[] = { "open_v2", "db_config",
		"busy_timeout", "PRAGMA journal" };
	char name[128];
	size_t i;

	for (i = 0; i < nitems(calls); i++) {
		t_row(calls[i]);
		fresh();
		faulty_set(calls[i], 1, SQLITE_NOMEM);
		opens_not(false, -ENOMEM, "");
		t_true(faulty.what == NULL);
	}
	t_row("none to read");
	fresh();
	opens_not(true, -EIO, "unable to open");
	t_row("no folder");
	fresh();
	(void)rmdir(dir);
	opens_not(false, -EIO, "unable to open");
	t_row("a link");
	fresh();
	(void)snprintf(name, sizeof(name), "%s-link", path);
	t_eq(close(open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
	t_eq(symlink(name, path), 0);
	opens_not(false, -EIO, "unable to open");
}

static void
test_errno(void)
{
	static const struct {
		int rc, r;
	} rows[] = {
		{ SQLITE_OK, 0 },
		{ SQLITE_ROW, 0 },
		{ SQLITE_DONE, 0 },
		{ SQLITE_NOMEM, -ENOMEM },
		{ SQLITE_FULL, -ENOSPC },
		{ SQLITE_BUSY, -EBUSY },
		{ SQLITE_BUSY_SNAPSHOT, -EBUSY },
		{ SQLITE_LOCKED, -EBUSY },
		{ SQLITE_READONLY, -EROFS },
		{ SQLITE_CONSTRAINT_UNIQUE, -EEXIST },
		{ SQLITE_IOERR_NOMEM, -EIO },
		{ SQLITE_CORRUPT, -EIO },
		{ SQLITE_NOTADB, -EIO },
	};
	size_t i;

	begin_empty();
	for (i = 0; i < nitems(rows); i++) {
		t_row(sqlite3_errstr(rows[i].rc));
		faulty_set("SELECT", 1, rows[i].rc);
		t_eq(sql_exec(db, "SELECT 1"), rows[i].r);
	}
	t_eq(sql_exec(db, "SELECT 1"), 0);
	t_eq(sql_exec(db, "SELECT it"), -EIO);
	end();
}

/* --- migrations --- */

static void
test_migrate(void)
{
	begin_empty();
	execs[0] = '\0';
	t_eq(sql_migrate(db, &e), 0);
	/* each in a transaction of its own; what they set aside is in a file */
	t_str(execs,
	    "PRAGMA temp_store|"
	    "BEGIN EXCLUSIVE|CREATE TABLE tena|PRAGMA user_versi|COMMIT|"
	    "BEGIN EXCLUSIVE|ALTER TABLE vm AD|PRAGMA user_versi|COMMIT|"
	    "BEGIN EXCLUSIVE|ALTER TABLE vm AD|PRAGMA user_versi|COMMIT|"
	    "BEGIN EXCLUSIVE|ALTER TABLE vm DR|PRAGMA user_versi|COMMIT|"
	    "BEGIN EXCLUSIVE|ALTER TABLE tenan|PRAGMA user_versi|COMMIT|"
	    "BEGIN EXCLUSIVE|CREATE TABLE audi|PRAGMA user_versi|COMMIT|"
	    "PRAGMA temp_store|");
	t_str(value("PRAGMA user_version"), VERSION);
	t_str(value("PRAGMA temp_store"), "2");
	t_str(value("SELECT name FROM tenant"), "default");
	execs[0] = '\0';
	t_eq(sql_migrate(db, &e), 0); /* nothing is left to do */
	t_str(execs, "");
	end();
}

static void
test_newer(void)
{
	begin();
	sql("PRAGMA user_version = 7");
	t_eq(sql_migrate(db, &e), -EPROTO);
	t_eq(e.code, -EPROTO);
	t_str(e.msg, "store: version 7 is newer than this program knows (6)");
	end();
}

static void
migrates_not(const char *version, int r, const char *why)
{
	t_eq(sql_migrate(db, &e), r);
	t_true(faulty.what == NULL);
	t_eq(e.code, r);
	t_true(strncmp(e.msg, why, strlen(why)) == 0);
	t_true(sqlite3_get_autocommit(db) != 0);
	t_str(value("PRAGMA user_version"), version);
	t_str(value("PRAGMA temp_store"), "2");
	t_str(value("SELECT count(*) FROM sqlite_schema WHERE name = 'vm'"),
	    strcmp(version, "0") == 0 ? "0" : "1");
	memset(&e, 0, sizeof(e));
	t_eq(sql_migrate(db, &e), 0); /* all that was missing, the next time */
	t_str(value("PRAGMA user_version"), VERSION);
	end();
}

/* What fails is done as a whole or not, and those before it stay. */
static void
test_migrate_not(void)
{
	static const struct {
		const char *what;
		unsigned int nth;
		int rc;
		const char *version;
		int r;
		const char *why;
	} rows[] = {
		{ "prepare_v2", 1, SQLITE_NOMEM, "0", -ENOMEM,
		    "store: user_version: " },
		{ "step", 1, SQLITE_BUSY, "0", -EBUSY,
		    "store: user_version: " },
		{ "step", 1, SQLITE_DONE, "0", -EIO, "store: user_version: " },
		{ "create_function", 1, SQLITE_NOMEM, "0", -EIO,
		    "store: migration: " },
		{ "create_function", 2, SQLITE_NOMEM, "0", -EIO,
		    "store: migration: " },
		/* SQLite itself has seen no error then */
		{ "BEGIN", 1, SQLITE_BUSY, "0", -EIO, "store: migration: " },
		{ "CREATE", 1, SQLITE_FULL, "0", -EIO, "store: migration: " },
		{ "PRAGMA user_version = 1", 1, SQLITE_FULL, "0", -EIO,
		    "store: migration: " },
		{ "COMMIT", 1, SQLITE_FULL, "0", -EIO, "store: migration: " },
		{ "BEGIN", 3, SQLITE_BUSY, "2", -EIO, "store: migration: " },
		{ "COMMIT", 4, SQLITE_FULL, "3", -EIO, "store: migration: " },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].what);
		begin_empty();
		faulty_set(rows[i].what, rows[i].nth, rows[i].rc);
		migrates_not(rows[i].version, rows[i].r, rows[i].why);
	}
}

/* SQLite's own words, and its kind of failure. */
static void
test_migrate_why(void)
{
	begin_empty();
	sql("CREATE TABLE vm (a)");
	t_eq(sql_migrate(db, &e), -EIO);
	t_str(e.msg, "store: migration: table vm already exists");
	t_str(value("PRAGMA user_version"), "0");
	t_true(sqlite3_get_autocommit(db) != 0);
	end();
}

/* --- statements --- */

static void
test_prepare(void)
{
	static const char *const begins[STMT_MAX] = {
		[STMT_VM_PUT] = "INSERT INTO vm (",
		[STMT_VM_SET] = "UPDATE vm SET ",
		[STMT_VM_NAME] = "UPDATE vm SET name = :name WHERE uid = :uid",
		[STMT_VM_ID] = "UPDATE tenant SET last_id ",
		[STMT_VM_DEL] = "DELETE FROM vm WHERE uid = :uid",
		[STMT_EVENT_PUT] = "INSERT INTO event (",
		[STMT_EVENT_TRIM] = "DELETE FROM event ",
		[STMT_EVENT_SEQ] = "UPDATE tenant SET last_seq ",
		[STMT_IDEM_PUT] = "INSERT INTO idem (",
		[STMT_IDEM_DEL] = "DELETE FROM idem WHERE ",
		[STMT_TENANT_PUT] = "INSERT INTO tenant (",
		[STMT_TENANT_SET] = "UPDATE tenant SET spec ",
		[STMT_TENANT_EVENTS] = "DELETE FROM event WHERE tenant = :id",
		[STMT_TENANT_IDEMS] = "DELETE FROM idem WHERE tenant = :id",
		[STMT_TENANT_DEL] = "DELETE FROM tenant WHERE id = :id",
		[STMT_AUDIT_HEAD] = "SELECT tenant, first, last, hash FROM ",
		[STMT_AUDIT_PUT] = "INSERT INTO audit (",
		[STMT_AUDIT_SET] = "INSERT INTO audit_head (",
		[STMT_AUDIT_TRIM] = "DELETE FROM audit WHERE tenant = :tenant",
		[STMT_AUDIT_GONE] = "DELETE FROM audit WHERE tenant IN (",
		[STMT_AUDIT_GONE_HEAD] = "DELETE FROM audit_head WHERE ",
	};
	size_t i;

	begin();
	for (i = 0; i < STMT_MAX; i++) {
		t_row(begins[i]);
		t_true(stmt[i] != NULL &&
		    strncmp(sqlite3_sql(stmt[i]), begins[i],
			strlen(begins[i])) == 0);
	}
	t_true(stmt[STMT_MAX] == NULL);
	end();
}

static void
test_prepare_not(void)
{
	unsigned int n, i;

	for (n = 1; n <= STMT_MAX; n++) {
		begin();
		sql_finalize(stmt, STMT_MAX);
		faulty_set("prepare_v3", n, SQLITE_BUSY);
		t_eq(sql_prepare(db, stmt, &e), -EBUSY);
		t_true(strncmp(e.msg, "store: prepare: ", 16) == 0);
		for (i = 0; i < STMT_MAX; i++)
			t_eq(stmt[i] != NULL, i < n - 1);
		end();
	}
	begin();
	sql_finalize(stmt, STMT_MAX);
	t_fail_alloc(1); /* of the text */
	t_eq(sql_prepare(db, stmt, &e), -ENOMEM);
	t_eq(e.code, -ENOMEM);
	end();
}

static void
test_prepare_events(void)
{
	sqlite3_stmt *events = NULL, *oldest = NULL;
	unsigned int n;

	begin();
	t_eq(sql_prepare_events(db, &events, &oldest, &e), 0);
	t_true(strstr(sqlite3_sql(events), " LIMIT :max") != NULL);
	t_true(strstr(sqlite3_sql(oldest), "min(seq)") != NULL);
	sql_finalize(&events, 1);
	sql_finalize(&oldest, 1);
	for (n = 1; n <= 2; n++) {
		faulty_set("prepare_v3", n, SQLITE_BUSY);
		t_eq(sql_prepare_events(db, &events, &oldest, &e), -EBUSY);
		t_eq(e.code, -EBUSY);
		t_eq(events != NULL, n == 2);
		t_true(oldest == NULL);
		sql_finalize(&events, 1);
	}
	end();
}

static void
test_finalize(void)
{
	sqlite3_stmt *kept;

	begin();
	kept = stmt[2];
	sql_finalize(stmt, 2);
	t_true(stmt[0] == NULL);
	t_true(stmt[1] == NULL);
	t_true(stmt[2] == kept);
	t_true(kept != NULL && sqlite3_db_handle(kept) == db);
	end();
}

/* --- rows --- */

static void
test_vm(void)
{
	struct vm_row row = row_of(7, 7, "a"), twin = row_of(8, 9, "a");

	begin();
	t_eq(sql_vm_put(stmt, &row), 0);
	is_ready(stmt[STMT_VM_PUT]);
	is_ready(stmt[STMT_VM_ID]);
	t_str(value("SELECT name FROM vm WHERE uid = 7"), "a");
	t_str(value("SELECT last_id FROM tenant"), "7");
	t_eq(sql_vm_put(stmt, &twin), -EEXIST);
	is_ready(stmt[STMT_VM_PUT]);
	t_str(value("SELECT count(*) FROM vm"), "1");
	row.state = VM_STATUS_RUNNING;
	t_eq(sql_vm_set(stmt, &row), 0);
	t_str(value("SELECT state FROM vm"), "3");
	row.id = 90; /* of a name nothing else is written */
	(void)snprintf(row.name, sizeof(row.name), "b");
	t_eq(sql_vm_name(stmt, &row), 0);
	is_ready(stmt[STMT_VM_NAME]);
	t_str(value("SELECT name || id FROM vm"), "b7");
	faulty_set("step", 1, SQLITE_FULL);
	t_eq(sql_vm_del(stmt, &row), -ENOSPC);
	t_eq(sql_vm_del(stmt, &row), 0);
	is_ready(stmt[STMT_VM_DEL]);
	t_str(value("SELECT count(*) FROM vm"), "0");
	row.id = 70;
	faulty_set("step", 1, SQLITE_FULL); /* its number is not taken */
	t_eq(sql_vm_put(stmt, &row), -ENOSPC);
	t_str(value("SELECT count(*) FROM vm"), "0");
	faulty_set("step", 2, SQLITE_FULL);
	t_eq(sql_vm_put(stmt, &row), -ENOSPC);
	t_str(value("SELECT count(*) FROM vm"), "0");
	end();
}

static void
test_idem(void)
{
	struct idem_row row = { .tenant = 1, .owner = 7, .key = "k", .vm = 77 };

	begin();
	t_eq(sql_idem(stmt, &row), 0);
	is_ready(stmt[STMT_IDEM_PUT]);
	t_str(value("SELECT vm FROM idem WHERE key = 'k'"), "77");
	t_eq(sql_idem_del(stmt, &row), 0);
	t_str(value("SELECT count(*) FROM idem"), "0");
	end();
}

/* The oldest are looked for once there may be too many. */
static void
test_event(void)
{
	unsigned int n;

	begin();
	t_eq(put_event(1), 0);
	t_eq(steps, 2);
	is_ready(stmt[STMT_EVENT_PUT]);
	is_ready(stmt[STMT_EVENT_SEQ]);
	t_eq(put_event(STORE_EVENTS_MAX), 0);
	t_eq(steps, 2);
	t_str(value("SELECT count(*) FROM event"), "2");
	t_eq(put_event(STORE_EVENTS_MAX + 1), 0);
	t_eq(steps, 3);
	t_str(value("SELECT count(*) FROM event"), "2");
	t_str(value("SELECT min(seq) FROM event"), "10000");
	t_str(value("SELECT last_seq FROM tenant"), "10001");
	t_eq(put_event(1 + STORE_EVENTS_MAX), -EEXIST); /* it has one */
	for (n = 1; n <= 3; n++) {
		faulty_set("step", n, SQLITE_FULL);
		t_eq(put_event(STORE_EVENTS_MAX + 1 + n), -ENOSPC);
		t_eq(steps, n);
	}
	end();
}

const struct t_case t_cases[] = {
	{ "an open store", test_open },
	{ "a reader's", test_open_reader },
	{ "one that cannot be opened", test_open_not },
	{ "SQLite's errors", test_errno },
	{ "migrations", test_migrate },
	{ "a newer store", test_newer },
	{ "migrations that fail", test_migrate_not },
	{ "why one failed", test_migrate_why },
	{ "statements", test_prepare },
	{ "statements that cannot be", test_prepare_not },
	{ "statements of events", test_prepare_events },
	{ "statements that go", test_finalize },
	{ "vms", test_vm },
	{ "keys", test_idem },
	{ "an event", test_event },
	{ NULL, NULL },
};
