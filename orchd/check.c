#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/util.h"
#include "orchd/check.h"
#include "orchd/store_int.h"
#include "orchd/stored.h"
#include "orchd/tenant/tenant.h"
#include "proto/jbuf.h"

#define LINE 400
#define SQL_MAX 2048
#define HEAP_MAX (64LL * 1024 * 1024)
/* Of the file's head (sqlite.org/fileformat2.html): how it is written. */
#define HEAD_LEN 100
#define HEAD_WRITTEN 18
#define WITH_JOURNAL 1

struct check {
	sqlite3 *db;
	int out;
	uint64_t faults;
	bool has_default; /* the tenant that every store has */
	uint64_t rows[5]; /* by kinds[] */
};

/* Whatever the store says in it: only what is fit to print. */
static void say(const struct check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
say(const struct check *c, const char *fmt, ...)
{
	char line[LINE], *p;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (p = line; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	(void)dprintf(c->out, "%s\n", line);
}

static void
fault(struct check *c, const char *what, const char *why)
{
	if (++c->faults <= CHECK_FAULTS_MAX)
		say(c, "%s: %s", what, why);
}

static void
sql_fault(struct check *c, const char *what)
{
	fault(c, what, sqlite3_errmsg(c->db));
}

/* --- what SQLite finds --- */

static const char *
text_of(sqlite3_stmt *st, int i)
{
	const char *s = (const char *)sqlite3_column_text(st, i);

	return s != NULL ? s : "?";
}

static void
integrity_row(struct check *c, sqlite3_stmt *st)
{
	if (strcmp(text_of(st, 0), "ok") != 0)
		fault(c, "database", text_of(st, 0));
}

static void
reference_row(struct check *c, sqlite3_stmt *st)
{
	char why[LINE];

	(void)snprintf(why, sizeof(why), "row %s is of no %s", text_of(st, 1),
	    text_of(st, 2));
	fault(c, text_of(st, 0), why);
}

static void
each(struct check *c, const char *sql,
    void (*row)(struct check *c, sqlite3_stmt *st))
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(c->db, sql, -1, &st, NULL);

	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		if ((rc = sqlite3_step(st)) == SQLITE_ROW)
			row(c, st);
	}
	if (rc != SQLITE_DONE)
		sql_fault(c, "database");
	(void)sqlite3_finalize(st);
}

/* --- what a start would find --- */

union any_row {
	struct vm_row vm;
	struct event_row event;
	struct idem_row idem;
	struct tenant_row tenant;
	struct audit_row audit;
};

static int
restore(const struct stored *s, const struct store_doc *doc, void *obj,
    struct err *e)
{
	int r = table_restore(s, doc->version, doc->text, doc->len, obj, e);

	if (r == 0)
		table_clear(s->table, obj);
	return r;
}

static int
of_tenant(struct check *c, const union any_row *row, struct err *e)
{
	struct tenant_spec spec = { 0 };

	c->has_default |= strcmp(row->tenant.name, TENANT_DEFAULT) == 0;
	return restore(&stored_tenant, &row->tenant.spec, &spec, e);
}

static int
of_vm(struct check *c, const union any_row *row, struct err *e)
{
	struct vm_create rq = { 0 };

	(void)c;
	return restore(&stored_request, &row->vm.request, &rq, e);
}

static int
of_event(struct check *c, const union any_row *row, struct err *e)
{
	struct event_view ev = { 0 };

	(void)c;
	return restore(&stored_event, &row->event.body, &ev, e);
}

/* Its own hash; that it follows the one before is looked at for all. */
static int
of_audit(struct check *c, const union any_row *row, struct err *e)
{
	struct audit_entry en = { 0 };
	uint8_t hash[AUDIT_HASH_LEN];

	(void)c;
	audit_hash(&row->audit, hash);
	if (memcmp(hash, row->audit.hash, sizeof(hash)) != 0)
		return err_set(e, -EBADMSG, "it is not what it was");
	return restore(&stored_audit, &row->audit.entry, &en, e);
}

static const struct {
	const struct row_type *type;
	const char *name; /* for people */
	/* What stands in it whole; NULL: nothing does. */
	int (*doc)(struct check *, const union any_row *, struct err *);
} kinds[] = {
	{ &tenant_rows, "tenants", of_tenant },
	{ &vm_rows, "vms", of_vm },
	{ &event_rows, "events", of_event },
	{ &idem_rows, "keys", NULL },
	{ &audit_rows, "rows of the trail", of_audit },
};
_Static_assert(nitems(kinds) == nitems(((struct check *)NULL)->rows), "each");

static void
check_row(struct check *c, size_t kind, sqlite3_stmt *st)
{
	const struct row_type *t = kinds[kind].type;
	union any_row row = { 0 };
	struct err e = { 0 };
	char label[160];
	int r = row_get(t, st, &row, &e);

	c->rows[kind]++;
	if (r == 0 && kinds[kind].doc != NULL)
		r = kinds[kind].doc(c, &row, &e);
	if (r == 0)
		return;
	row_label(t, st, label, sizeof(label));
	fault(c, label, e.msg[0] != '\0' ? e.msg : strerrordesc_np(-r));
}

static void
check_rows(struct check *c, size_t kind)
{
	sqlite3_stmt *st = NULL;
	struct jbuf sql;
	int rc = SQLITE_NOMEM;

	jbuf_init(&sql, SQL_MAX);
	row_select(kinds[kind].type, "", &sql);
	if (sql.r == 0)
		rc = sqlite3_prepare_v2(c->db, sql.p, -1, &st, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		if ((rc = sqlite3_step(st)) == SQLITE_ROW)
			check_row(c, kind, st);
	}
	if (rc != SQLITE_DONE)
		sql_fault(c, kinds[kind].type->table);
	(void)sqlite3_finalize(st);
	jbuf_free(&sql);
}

/* --- the trail --- */

/* Rows behind the first that is kept, and heads, that no row is before. */
static const char unlinked[] =
    "SELECT a.tenant, a.n, 'does not follow the one before' FROM audit a"
    " JOIN audit_head h ON h.tenant = a.tenant"
    " LEFT JOIN audit p ON p.tenant = a.tenant AND p.n = a.n - 1"
    " WHERE a.n <> h.first AND (p.hash IS NULL OR p.hash <> a.prev)"
    " UNION ALL "
    "SELECT a.tenant, a.n, 'is of a chain without a head' FROM audit a"
    " WHERE NOT EXISTS"
    " (SELECT 1 FROM audit_head h WHERE h.tenant = a.tenant)"
    " UNION ALL "
    "SELECT h.tenant, h.last, 'is missing, or not the one that was written'"
    " FROM audit_head h"
    " LEFT JOIN audit a ON a.tenant = h.tenant AND a.n = h.last"
    " WHERE a.hash IS NULL OR a.hash <> h.hash"
    " UNION ALL "
    "SELECT h.tenant, h.first, 'is missing' FROM audit_head h"
    " LEFT JOIN audit a ON a.tenant = h.tenant AND a.n = h.first"
    " WHERE a.hash IS NULL";

static void
unlinked_row(struct check *c, sqlite3_stmt *st)
{
	char why[LINE];

	(void)snprintf(why, sizeof(why), "row %s of tenant %s %s",
	    text_of(st, 1), text_of(st, 0), text_of(st, 2));
	fault(c, "audit", why);
}

/* --- all of it --- */

/* A file that somebody made, in memory, as if it needed no WAL: it has none. */
static int
open_file(struct check *c, int fd, struct err *e)
{
	unsigned char *p;
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < HEAD_LEN)
		return err_set(e, -EBADMSG, "it is no store");
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE,
	    fd, 0);
	if (p == MAP_FAILED)
		return err_errno(e, -errno, "mmap");
	p[HEAD_WRITTEN] = p[HEAD_WRITTEN + 1] = WITH_JOURNAL;
	rc = sqlite3_open_v2(":memory:", &c->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_deserialize(c->db, "main", p, st.st_size,
		    st.st_size, SQLITE_DESERIALIZE_READONLY);
	return rc == SQLITE_OK
	    ? 0
	    : err_set(e, sql_errno(rc), "%s", sqlite3_errstr(rc));
}

/* An older one is what a start makes today's of; its rows are not yet. */
static void
check_db(struct check *c)
{
	int version = 0, known = 0;
	struct err e = { 0 };
	size_t i;

	if (sql_version(c->db, &version, &known, &e) < 0) {
		fault(c, "database", e.msg);
		return;
	}
	each(c, "PRAGMA integrity_check(" STR(CHECK_FAULTS_MAX) ")",
	    integrity_row);
	each(c, "PRAGMA foreign_key_check", reference_row);
	if (version > known || version == 0) {
		fault(c, "version",
		    version == 0 ? "it is no store of mews"
				 : "it is of a later mews than this one");
		return;
	}
	if (version < known) {
		say(c,
		    "version %d: its rows were not looked at: a start makes "
		    "them those of version %d first",
		    version, known);
		return;
	}
	for (i = 0; i < nitems(kinds); i++)
		check_rows(c, i);
	each(c, unlinked, unlinked_row);
	if (!c->has_default)
		fault(c, "tenant", "there is no tenant " TENANT_DEFAULT);
	say(c,
	    "version %d: %" PRIu64 " tenants, %" PRIu64 " vms, %" PRIu64
	    " events, %" PRIu64 " keys, %" PRIu64 " rows of the trail",
	    version, c->rows[0], c->rows[1], c->rows[2], c->rows[3],
	    c->rows[4]);
}

uint64_t
check_store(const char *path, int fd, int out)
{
	struct check c = { .out = out };
	struct err e = { 0 };
	int r;

	(void)sqlite3_hard_heap_limit64(HEAP_MAX);
	r = fd >= 0 ? open_file(&c, fd, &e) : sql_open(path, true, &c.db, &e);
	if (r < 0)
		fault(&c, "database", e.msg);
	else
		check_db(&c);
	(void)sqlite3_close(c.db);
	if (c.faults > CHECK_FAULTS_MAX)
		say(&c, "and %" PRIu64 " more", c.faults - CHECK_FAULTS_MAX);
	if (c.faults == 0)
		say(&c, "good");
	else
		say(&c, "%" PRIu64 " faults", c.faults);
	return c.faults;
}
