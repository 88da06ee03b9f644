#ifndef MEWS_STORE_INT_H
#define MEWS_STORE_INT_H

/* Between store.c (transactions, the worker) and sql.c (statements). */

#include <sqlite3.h>
#include <stdbool.h>

#include "orchd/store.h"

enum op_kind {
	OP_VM_PUT,
	OP_VM_SET,
	OP_VM_DEL,
	OP_EVENT,
	OP_IDEM,
	OP_IDEM_DEL
};

enum stmt {
	STMT_VM_PUT,
	STMT_VM_SET,
	STMT_VM_ID,
	STMT_VM_DEL,
	STMT_EVENT_PUT,
	STMT_EVENT_TRIM,
	STMT_EVENT_SEQ,
	STMT_IDEM_PUT,
	STMT_IDEM_DEL,
	STMT_IDEM_TRIM,
	STMT_MAX
};

int sql_open(const char *path, bool readonly, sqlite3 **ret, struct err *e);
int sql_migrate(sqlite3 *db, struct err *e);
int sql_prepare(sqlite3 *db, sqlite3_stmt *stmt[STMT_MAX], struct err *e);
int sql_prepare_events(sqlite3 *db, sqlite3_stmt **ret, struct err *e);
void sql_finalize(sqlite3_stmt **stmt, size_t n);
int sql_exec(sqlite3 *db, const char *text);
int sql_read(
    sqlite3 *db, const struct store_load *cb, void *arg, struct err *e);

int sql_vm_put(sqlite3_stmt *stmt[STMT_MAX], const struct vm_row *row);
int sql_vm_set(sqlite3_stmt *st, const struct vm_row *row);
int sql_vm_del(sqlite3_stmt *st, uint64_t uid);
int sql_event(sqlite3_stmt *stmt[STMT_MAX], const struct event_row *row);
int sql_idem(sqlite3_stmt *stmt[STMT_MAX], const struct idem_row *row);
int sql_idem_del(sqlite3_stmt *st, const struct idem_row *row);
int sql_events(sqlite3_stmt *st, int64_t tenant, uint64_t after,
    unsigned int max, int (*cb)(void *arg, const struct event_row *),
    void *arg);

#endif
