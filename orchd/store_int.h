#ifndef MEWS_STORE_INT_H
#define MEWS_STORE_INT_H

/* Between store.c (the worker), txn.c (what a transaction holds), sql.c
 * (statements, migrations) and rows.c (what a row is). */

#include <sqlite3.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "orchd/store.h"

#define STR_(x) #x
#define STR(x) STR_(x)

/* A column of a table and its place in the row's struct. */
enum col_type {
	COL_INT, /* an integer of 4 or 8 bytes */
	COL_BOOL,
	COL_TEXT, /* char[size], NUL-terminated */
	COL_BYTES, /* uint8_t[size], a BLOB of exactly that */
	COL_DOC, /* struct store_doc, but for its version */
};
#define COL_KEY 0x1u /* of the primary key */
#define COL_SET 0x2u /* changes while the row lives */
#define COL_SHOW 0x4u /* said in messages, with the key */
#define COL_HEX 0x8u /* said as 16 hex digits */
struct col {
	const char *name;
	enum col_type type;
	uint32_t offset, size, flags;
	int64_t min, max; /* COL_INT: what may be read */
	uint32_t words; /* bit i: an enum may be i; 0: min and max count */
	int (*check)(const char *s, size_t len, struct err *e); /* NULL: any */
};
struct row_type {
	const char *table;
	const struct col *cols;
	size_t ncols;
};
extern const struct row_type vm_rows, event_rows, idem_rows, tenant_rows;
extern const struct row_type audit_rows, audit_head_rows;

/*
 * rows.c: statements of a type.  A parameter has the name of the column whose
 * value it takes, also in statements that are written by hand; row_select's
 * has the columns in the order in which row_get reads them.
 */
struct jbuf;
void row_insert(const struct row_type *t, struct jbuf *b);
void row_upsert(const struct row_type *t, struct jbuf *b);
void row_update(const struct row_type *t, struct jbuf *b);
void row_delete(const struct row_type *t, struct jbuf *b);
void row_select(const struct row_type *t, const char *tail, struct jbuf *b);
/* A failed bind shows as a NOT NULL violation in step. */
void row_bind(const struct row_type *t, sqlite3_stmt *st, const void *row);
/* Texts are st's until its next step.  -EBADMSG: no row may be so; -ENOMEM. */
int row_get(
    const struct row_type *t, sqlite3_stmt *st, void *row, struct err *e);
/* The same, past what cannot be: bit i of *bad is column i's, which stays 0;
 * the first one's reason in e.  -ENOMEM. */
int row_get_some(const struct row_type *t, sqlite3_stmt *st, void *row,
    uint64_t *bad, struct err *e);
/* Whether bad has the column of that name. */
bool row_is_bad(const struct row_type *t, uint64_t bad, const char *name);
/* "vm uid 00000000000003e8 name web", for a person. */
void row_label(
    const struct row_type *t, sqlite3_stmt *st, char *buf, size_t cap);

/* wire_v2.c: the SQL functions v2_request(spec, name), v2_event(body). */
int wire_v2_functions(sqlite3 *db);

enum stmt {
	STMT_VM_PUT,
	STMT_VM_SET,
	STMT_VM_NAME,
	STMT_VM_ID,
	STMT_VM_DEL,
	STMT_EVENT_PUT,
	STMT_EVENT_TRIM,
	STMT_EVENT_SEQ,
	STMT_IDEM_PUT,
	STMT_IDEM_DEL,
	STMT_TENANT_PUT,
	STMT_TENANT_SET,
	STMT_TENANT_EVENTS,
	STMT_TENANT_IDEMS,
	STMT_TENANT_DEL,
	STMT_AUDIT_HEAD,
	STMT_AUDIT_PUT,
	STMT_AUDIT_SET,
	STMT_AUDIT_TRIM,
	STMT_AUDIT_GONE,
	STMT_AUDIT_GONE_HEAD,
	STMT_MAX
};

struct op;
struct txn {
	STAILQ_ENTRY(txn) entry;
	STAILQ_HEAD(op_list, op) ops;
	struct store *store;
	void (*done)(void *arg, int r);
	void *arg;
	bool needs_room;
	bool kept; /* committed: whatever becomes of others of its batch */
	int result;
};
STAILQ_HEAD(txn_list, txn);

/* txn.c: all of it, in order; the first failure ends it. */
int txn_apply(const struct txn *t, sqlite3_stmt *stmt[STMT_MAX]);

int sql_open(const char *path, bool readonly, sqlite3 **ret, struct err *e);
int sql_migrate(sqlite3 *db, struct err *e);
/* Of the store, and the one that this program makes. */
int sql_version(sqlite3 *db, int *ret, int *known, struct err *e);
int sql_prepare(sqlite3 *db, sqlite3_stmt *stmt[STMT_MAX], struct err *e);
int sql_prepare_events(
    sqlite3 *db, sqlite3_stmt **events, sqlite3_stmt **oldest, struct err *e);
void sql_finalize(sqlite3_stmt **stmt, size_t n);
int sql_exec(sqlite3 *db, const char *text);
/* Of an SQLite code: 0 or a negative errno; the same with words in e. */
int sql_errno(int rc);
int sql_err(sqlite3 *db, int rc, const char *what, struct err *e);
int sql_prepare_select(sqlite3 *db, const struct row_type *t, const char *tail,
    sqlite3_stmt **ret, struct err *e);
/* A parameter by its name; one that the statement does not have is none. */
void sql_bind_int(sqlite3_stmt *st, const char *name, int64_t v);
/* Ready to be bound and run again. */
void sql_reset(sqlite3_stmt *st);
int sql_read(
    sqlite3 *db, const struct store_load *cb, void *arg, struct err *e);

int sql_vm_put(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row);
int sql_vm_set(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row);
int sql_vm_name(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row);
int sql_vm_del(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row);
int sql_event(sqlite3_stmt *stmt[STMT_MAX], const struct event_row *row);
int sql_idem(sqlite3_stmt *stmt[STMT_MAX], const struct idem_row *row);
int sql_idem_del(sqlite3_stmt *stmt[STMT_MAX], const struct idem_row *row);
int sql_tenant_put(sqlite3_stmt *stmt[STMT_MAX], const struct tenant_row *row);
int sql_tenant_set(sqlite3_stmt *stmt[STMT_MAX], const struct tenant_row *row);
int sql_tenant_del(sqlite3_stmt *stmt[STMT_MAX], const struct tenant_row *row);
int sql_audit(sqlite3_stmt *stmt[STMT_MAX], const struct audit_row *row);
int sql_oldest(sqlite3_stmt *st, int64_t tenant, uint64_t *ret);
int sql_events(sqlite3_stmt *st, int64_t tenant, uint64_t after,
    unsigned int max, int (*cb)(void *arg, const struct event_row *),
    void *arg);

/* sql_audit.c: reading the trail, on a database that is read only. */
enum audit_stmt {
	AUDIT_ALL, /* behind a number over all chains */
	AUDIT_OF, /* of one chain, behind a number of it */
	AUDIT_ONE, /* one row of one chain */
	AUDIT_HEADS, /* from a tenant's on */
	AUDIT_STMTS
};
int sql_prepare_audit(
    sqlite3 *db, sqlite3_stmt *stmt[AUDIT_STMTS], struct err *e);
/* As store_audit(), store_audit_heads(). */
int sql_audit_read(sqlite3 *db, sqlite3_stmt *stmt[AUDIT_STMTS],
    const struct audit_query *q, store_audit_fn *cb, void *arg);
int sql_audit_heads(sqlite3_stmt *stmt[AUDIT_STMTS], int64_t from,
    store_audit_head_fn *cb, void *arg);
/* chain.c: SHA-256 of a row: of its chain and place there, its time, its entry
 * and the hash of the row before. */
void audit_hash(const struct audit_row *row, uint8_t hash[AUDIT_HASH_LEN]);

#endif
