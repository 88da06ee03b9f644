#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/util.h"
#include "orchd/store_int.h"
#include "proto/jbuf.h"

#define BUSY_MS 2000
#define SQL_MAX 2048 /* bytes of a statement */

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
	/* 3: what is stored whole outlives a build; v2_*: wire_v2.c.  An event
	 * that was damaged is one that cannot be read, a VM stops it. */
	"ALTER TABLE vm ADD COLUMN request TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE vm ADD COLUMN request_v INTEGER NOT NULL DEFAULT 1;"
	"UPDATE vm SET request = v2_request(spec, name);"
	"ALTER TABLE vm DROP COLUMN spec;"
	"ALTER TABLE event RENAME COLUMN body TO wire;"
	"ALTER TABLE event ADD COLUMN body TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE event ADD COLUMN body_v INTEGER NOT NULL DEFAULT 1;"
	"UPDATE event SET body = v2_event(wire);"
	"ALTER TABLE event DROP COLUMN wire;",
	/* 4: the state says what is wanted */
	"ALTER TABLE vm DROP COLUMN desired;",
	/* 5: who is in a tenant, and what it may have */
	("ALTER TABLE tenant ADD COLUMN spec TEXT NOT NULL DEFAULT '{}';"
	 "ALTER TABLE tenant ADD COLUMN spec_v INTEGER NOT NULL DEFAULT 1;"),
	/* 6: who did what.  Both outlive their tenant; 0 is the host's own */
	("CREATE TABLE audit ("
	 " seq INTEGER PRIMARY KEY," /* over all of them */
	 " tenant INTEGER NOT NULL,"
	 " n INTEGER NOT NULL,"
	 " at_ns INTEGER NOT NULL,"
	 " entry TEXT NOT NULL,"
	 " entry_v INTEGER NOT NULL,"
	 " prev BLOB NOT NULL,"
	 " hash BLOB NOT NULL,"
	 " UNIQUE (tenant, n)"
	 ") STRICT;"
	 "CREATE TABLE audit_head ("
	 " tenant INTEGER PRIMARY KEY,"
	 " first INTEGER NOT NULL," /* that is kept */
	 " last INTEGER NOT NULL,"
	 " hash BLOB NOT NULL" /* of that */
	 ") STRICT;"),
};

#define GONE_CHAINS                                                           \
	"SELECT tenant FROM audit_head WHERE tenant > 0 AND tenant NOT IN"    \
	" (SELECT id FROM tenant) ORDER BY tenant DESC LIMIT -1 OFFSET " STR( \
	    STORE_AUDIT_GONE_MAX)

/* Each is made from its type's columns, or written here (store_int.h). */
static const struct {
	const struct row_type *type;
	void (*make)(const struct row_type *t, struct jbuf *b);
	const char *text;
} stmts[STMT_MAX] = {
	[STMT_VM_PUT] = { &vm_rows, row_upsert, NULL },
	[STMT_VM_SET] = { &vm_rows, row_update, NULL },
	[STMT_VM_NAME] = { &vm_rows, NULL,
	    "UPDATE vm SET name = :name WHERE uid = :uid" },
	[STMT_VM_ID] = { &vm_rows, NULL,
	    "UPDATE tenant SET last_id = max(last_id, :id)"
	    " WHERE id = :tenant" },
	[STMT_VM_DEL] = { &vm_rows, row_delete, NULL },
	[STMT_EVENT_PUT] = { &event_rows, row_insert, NULL },
	[STMT_EVENT_TRIM] = { &event_rows, NULL,
	    "DELETE FROM event WHERE tenant = :tenant"
	    " AND seq <= :seq - " STR(STORE_EVENTS_MAX) },
	[STMT_EVENT_SEQ] = { &event_rows, NULL,
	    "UPDATE tenant SET last_seq = max(last_seq, :seq)"
	    " WHERE id = :tenant" },
	[STMT_IDEM_PUT] = { &idem_rows, row_upsert, NULL },
	[STMT_IDEM_DEL] = { &idem_rows, row_delete, NULL },
	[STMT_TENANT_PUT] = { &tenant_rows, row_insert, NULL },
	[STMT_TENANT_SET] = { &tenant_rows, row_update, NULL },
	[STMT_TENANT_EVENTS] = { &tenant_rows, NULL,
	    "DELETE FROM event WHERE tenant = :id" },
	[STMT_TENANT_IDEMS] = { &tenant_rows, NULL,
	    "DELETE FROM idem WHERE tenant = :id" },
	[STMT_TENANT_DEL] = { &tenant_rows, row_delete, NULL },
	[STMT_AUDIT_HEAD] = { &audit_head_rows, NULL,
	    "SELECT tenant, first, last, hash FROM audit_head"
	    " WHERE tenant = :tenant" },
	[STMT_AUDIT_PUT] = { &audit_rows, NULL,
	    "INSERT INTO audit (tenant, n, at_ns, entry, entry_v, prev, hash)"
	    " VALUES (:tenant, :n, :at_ns, :entry, :entry_v, :prev, :hash)" },
	[STMT_AUDIT_SET] = { &audit_head_rows, row_upsert, NULL },
	[STMT_AUDIT_TRIM] = { &audit_head_rows, NULL,
	    "DELETE FROM audit WHERE tenant = :tenant AND n < :first" },
	/* of those whose tenant is no more, all but the newest */
	[STMT_AUDIT_GONE] = { &tenant_rows, NULL,
	    "DELETE FROM audit WHERE tenant IN (" GONE_CHAINS ")" },
	[STMT_AUDIT_GONE_HEAD] = { &tenant_rows, NULL,
	    "DELETE FROM audit_head WHERE tenant IN (" GONE_CHAINS ")" },
};

static const char events_tail[] =
    "WHERE tenant = :tenant AND seq > :after ORDER BY seq LIMIT :max";

int
sql_errno(int rc)
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

int
sql_err(sqlite3 *db, int rc, const char *what, struct err *e)
{
	return err_set(e, sql_errno(rc) == 0 ? -EIO : sql_errno(rc),
	    "store: %s: %s", what,
	    db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(db));
}

int
sql_exec(sqlite3 *db, const char *text)
{
	return sql_errno(sqlite3_exec(db, text, NULL, NULL, NULL));
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
sql_version(sqlite3 *db, int *ret, int *known, struct err *e)
{
	*known = (int)nitems(migrations);
	return get_version(db, ret, e);
}

/* All of it or none: number n + 1, on a store that is at n. */
static int
migrate_one(sqlite3 *db, int n, struct err *e)
{
	char bump[64];
	int r;

	(void)snprintf(bump, sizeof(bump), "PRAGMA user_version = %d", n + 1);
	if (sql_exec(db, "BEGIN EXCLUSIVE") == 0 &&
	    sql_exec(db, migrations[n]) == 0 && sql_exec(db, bump) == 0 &&
	    sql_exec(db, "COMMIT") == 0)
		return 0;
	r = sql_err(db, sqlite3_errcode(db), "migration", e);
	(void)sql_exec(db, "ROLLBACK");
	return r;
}

int
sql_migrate(sqlite3 *db, struct err *e)
{
	int at = 0, r;

	if ((r = get_version(db, &at, e)) < 0)
		return r;
	if (at > (int)nitems(migrations))
		return err_set(e, -EPROTO,
		    "store: version %d is newer than this program knows (%zu)",
		    at, nitems(migrations));
	if (at == (int)nitems(migrations))
		return 0;
	if (wire_v2_functions(db) != SQLITE_OK)
		return sql_err(db, sqlite3_errcode(db), "migration", e);
	/* a statement that changes all rows keeps what was, to undo it: not in
	 * memory, of which a big store needs more than we may have */
	(void)sql_exec(db, "PRAGMA temp_store = FILE");
	while (r == 0 && at < (int)nitems(migrations))
		r = migrate_one(db, at++, e);
	(void)sql_exec(db, "PRAGMA temp_store = MEMORY");
	return r;
}

static int
prepare(sqlite3 *db, const char *text, sqlite3_stmt **ret, struct err *e)
{
	int rc = sqlite3_prepare_v3(
	    db, text, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);

	return rc == SQLITE_OK ? 0 : sql_err(db, rc, "prepare", e);
}

/* Of a text that was made, which goes. */
static int
prepare_made(sqlite3 *db, struct jbuf *b, sqlite3_stmt **ret, struct err *e)
{
	int r = b->r < 0 ? sql_err(NULL, SQLITE_NOMEM, "prepare", e)
			 : prepare(db, b->p, ret, e);

	jbuf_free(b);
	return r;
}

int
sql_prepare_select(sqlite3 *db, const struct row_type *t, const char *tail,
    sqlite3_stmt **ret, struct err *e)
{
	struct jbuf text;

	jbuf_init(&text, SQL_MAX);
	row_select(t, tail, &text);
	return prepare_made(db, &text, ret, e);
}

int
sql_prepare(sqlite3 *db, sqlite3_stmt *stmt[STMT_MAX], struct err *e)
{
	struct jbuf b;
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < STMT_MAX; i++) {
		if (stmts[i].make == NULL) {
			r = prepare(db, stmts[i].text, &stmt[i], e);
			continue;
		}
		jbuf_init(&b, SQL_MAX);
		stmts[i].make(stmts[i].type, &b);
		r = prepare_made(db, &b, &stmt[i], e);
	}
	return r;
}

int
sql_prepare_events(
    sqlite3 *db, sqlite3_stmt **events, sqlite3_stmt **oldest, struct err *e)
{
	int r = sql_prepare_select(db, &event_rows, events_tail, events, e);

	return r < 0
	    ? r
	    : prepare(db, "SELECT min(seq) FROM event WHERE tenant = :tenant",
		  oldest, e);
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

void
sql_reset(sqlite3_stmt *st)
{
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

/* One of the statements of a row's type, which returns no rows. */
static int
run_row(sqlite3_stmt *stmt[STMT_MAX], enum stmt which, const void *row)
{
	int rc;

	row_bind(stmts[which].type, stmt[which], row);
	rc = sqlite3_step(stmt[which]);
	sql_reset(stmt[which]);
	return rc == SQLITE_DONE ? 0 : sql_errno(rc);
}

int
sql_vm_put(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row)
{
	int r = run_row(stmt, STMT_VM_ID, row);

	return r < 0 ? r : run_row(stmt, STMT_VM_PUT, row);
}

int
sql_vm_set(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row)
{
	return run_row(stmt, STMT_VM_SET, row);
}

int
sql_vm_name(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row)
{
	return run_row(stmt, STMT_VM_NAME, row);
}

int
sql_vm_del(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row)
{
	return run_row(stmt, STMT_VM_DEL, row);
}

int
sql_event(sqlite3_stmt *stmt[STMT_MAX], const struct event_row *row)
{
	int r;

	if ((r = run_row(stmt, STMT_EVENT_PUT, row)) < 0 ||
	    (r = run_row(stmt, STMT_EVENT_SEQ, row)) < 0)
		return r;
	return row->seq <= STORE_EVENTS_MAX
	    ? 0
	    : run_row(stmt, STMT_EVENT_TRIM, row);
}

int
sql_idem(sqlite3_stmt *stmt[STMT_MAX], const struct idem_row *row)
{
	return run_row(stmt, STMT_IDEM_PUT, row);
}

int
sql_idem_del(sqlite3_stmt *stmt[STMT_MAX], const struct idem_row *row)
{
	return run_row(stmt, STMT_IDEM_DEL, row);
}

int
sql_tenant_put(sqlite3_stmt *stmt[STMT_MAX], const struct tenant_row *row)
{
	return run_row(stmt, STMT_TENANT_PUT, row);
}

int
sql_tenant_set(sqlite3_stmt *stmt[STMT_MAX], const struct tenant_row *row)
{
	return run_row(stmt, STMT_TENANT_SET, row);
}

int
sql_tenant_del(sqlite3_stmt *stmt[STMT_MAX], const struct tenant_row *row)
{
	int r;

	if ((r = run_row(stmt, STMT_TENANT_EVENTS, row)) < 0 ||
	    (r = run_row(stmt, STMT_TENANT_IDEMS, row)) < 0 ||
	    (r = run_row(stmt, STMT_TENANT_DEL, row)) < 0 ||
	    (r = run_row(stmt, STMT_AUDIT_GONE, row)) < 0)
		return r;
	return run_row(stmt, STMT_AUDIT_GONE_HEAD, row);
}

/* The chain's head; of one that begins: nothing. */
static int
audit_head(sqlite3_stmt *stmt[STMT_MAX], int64_t tenant, struct audit_head *ret)
{
	sqlite3_stmt *st = stmt[STMT_AUDIT_HEAD];
	int rc, r;

	*ret = (struct audit_head){ .tenant = tenant, .first = 1 };
	row_bind(&audit_head_rows, st, ret);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		r = row_get(&audit_head_rows, st, ret, NULL);
	else
		r = rc == SQLITE_DONE ? 0 : sql_errno(rc);
	sql_reset(st);
	return r;
}

int
sql_audit(sqlite3_stmt *stmt[STMT_MAX], const struct audit_row *row)
{
	struct audit_row a = *row;
	struct audit_head h;
	const uint64_t kept = STORE_AUDIT_MAX;
	int r;

	if ((r = audit_head(stmt, row->tenant, &h)) < 0)
		return r;
	a.n = h.last + 1;
	memcpy(a.prev, h.hash, sizeof(a.prev));
	audit_hash(&a, a.hash);
	if ((r = run_row(stmt, STMT_AUDIT_PUT, &a)) < 0)
		return r;
	h.last = a.n;
	memcpy(h.hash, a.hash, sizeof(h.hash));
	if (h.last - h.first >= kept) {
		h.first = h.last - kept + 1;
		if ((r = run_row(stmt, STMT_AUDIT_TRIM, &h)) < 0)
			return r;
	}
	return run_row(stmt, STMT_AUDIT_SET, &h);
}

union any_row {
	struct vm_row vm;
	struct idem_row idem;
	struct tenant_row tenant;
};

static int
give_vm(const union any_row *row, const struct store_load *cb, void *arg,
    struct err *e)
{
	return cb->vm(arg, &row->vm, e);
}

static int
give_idem(const union any_row *row, const struct store_load *cb, void *arg,
    struct err *e)
{
	(void)e;
	return cb->idem(arg, &row->idem);
}

static int
give_tenant(const union any_row *row, const struct store_load *cb, void *arg,
    struct err *e)
{
	return cb->tenant(arg, &row->tenant, e);
}

/* A VM that cannot be read; given when all others are. */
struct broken_item {
	STAILQ_ENTRY(broken_item) entry;
	struct vm_broken b;
};
STAILQ_HEAD(broken_list, broken_item);

static int
keep_broken(sqlite3_stmt *st, const struct err *why, struct broken_list *list)
{
	struct broken_item *i = calloc(1, sizeof(*i));
	struct err e = *why;
	uint64_t bad;
	int r;

	if (i == NULL)
		return -ENOMEM;
	if ((r = row_get_some(&vm_rows, st, &i->b.row, &bad, &e)) < 0) {
		free(i);
		return r;
	}
	i->b.has_name = !row_is_bad(&vm_rows, bad, "name");
	i->b.has_slot = !row_is_bad(&vm_rows, bad, "slot");
	i->b.has_ipv4 = !row_is_bad(&vm_rows, bad, "ipv4");
	i->b.row.request = (struct store_doc){ 0 };
	(void)snprintf(i->b.why, sizeof(i->b.why), "%.120s", e.msg);
	STAILQ_INSERT_TAIL(list, i, entry);
	return 0;
}

/* The list is empty afterwards. */
static int
give_broken(struct broken_list *list, int r, const struct store_load *cb,
    void *arg, struct err *e)
{
	struct broken_item *i;

	while ((i = STAILQ_FIRST(list)) != NULL) {
		if (r == 0 && (r = cb->broken(arg, &i->b)) < 0)
			(void)err_set(e, r, "store: vm %016llx: %s",
			    (unsigned long long)i->b.row.vmid,
			    strerrordesc_np(-r));
		STAILQ_REMOVE_HEAD(list, entry);
		free(i);
	}
	return r;
}

/* The row that st is at, to its callback.  What fails names the row. */
static int
read_row(sqlite3_stmt *st, const struct row_type *t,
    int (*give)(
	const union any_row *, const struct store_load *, void *, struct err *),
    const struct store_load *cb, void *arg, struct broken_list *broken,
    struct err *e)
{
	union any_row row = { 0 };
	struct err why = { 0 };
	char label[128];
	int r;

	if ((r = row_get(t, st, &row, &why)) == 0)
		r = give(&row, cb, arg, &why);
	if (r == -EBADMSG && t == &vm_rows &&
	    (r = keep_broken(st, &why, broken)) < 0)
		why.msg[0] = '\0';
	if (r == 0 || (r == -EBADMSG && t == &idem_rows))
		return 0;
	row_label(t, st, label, sizeof(label));
	return err_set(e, r, "store: %s: %s", label,
	    why.msg[0] != '\0' ? why.msg : strerrordesc_np(-r));
}

int
sql_read(sqlite3 *db, const struct store_load *cb, void *arg, struct err *e)
{
	static const struct {
		const struct row_type *type;
		const char *tail;
		int (*give)(const union any_row *, const struct store_load *,
		    void *, struct err *);
	} reads[] = {
		{ &tenant_rows, "ORDER BY id", give_tenant },
		{ &vm_rows, "ORDER BY tenant, id", give_vm },
		{ &idem_rows, "ORDER BY at_ns", give_idem },
	};
	struct broken_list broken = STAILQ_HEAD_INITIALIZER(broken);
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < nitems(reads); i++) {
		sqlite3_stmt *st = NULL;
		int rc = SQLITE_DONE;

		r = sql_prepare_select(
		    db, reads[i].type, reads[i].tail, &st, e);
		while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW)
			r = read_row(st, reads[i].type, reads[i].give, cb, arg,
			    &broken, e);
		if (r == 0 && rc != SQLITE_DONE)
			r = sql_err(db, rc, "read", e);
		(void)sqlite3_finalize(st);
	}
	return give_broken(&broken, r, cb, arg, e);
}

void
sql_bind_int(sqlite3_stmt *st, const char *name, int64_t v)
{
	const int i = sqlite3_bind_parameter_index(st, name);

	if (i != 0)
		(void)sqlite3_bind_int64(st, i, v);
}

int
sql_oldest(sqlite3_stmt *st, int64_t tenant, uint64_t *ret)
{
	int rc;

	sql_bind_int(st, ":tenant", tenant);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) /* NULL, where there is none, reads as 0 */
		*ret = (uint64_t)sqlite3_column_int64(st, 0);
	sql_reset(st);
	return rc == SQLITE_ROW ? 0 : sql_errno(rc);
}

int
sql_events(sqlite3_stmt *st, int64_t tenant, uint64_t after, unsigned int max,
    int (*cb)(void *arg, const struct event_row *), void *arg)
{
	int rc, r = 0, n = 0;

	sql_bind_int(st, ":tenant", tenant);
	sql_bind_int(st, ":after", (int64_t)after);
	sql_bind_int(st, ":max", (int64_t)max);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct event_row row = { 0 };

		r = row_get(&event_rows, st, &row, NULL);
		if (r == -EBADMSG) /* its reader finds that it is none */
			row.body = (struct store_doc){ 0 };
		else if (r < 0)
			break;
		if ((r = cb(arg, &row)) < 0)
			break;
		n++;
	}
	sql_reset(st);
	if (r < 0)
		return r;
	return rc == SQLITE_DONE ? n : sql_errno(rc);
}
