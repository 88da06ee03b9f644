#ifndef MEWS_TESTS_SQLSTORE_H
#define MEWS_TESTS_SQLSTORE_H

#include "orchd/store_int.h"
#include "tests/orchd/faulty_sql.h"
#include "tests/suite/t.h"

/* A store in a folder of its own, and its statements. */
extern char dir[64], path[96];
extern sqlite3 *db;
extern sqlite3_stmt *stmt[STMT_MAX + 1];
extern long blocks; /* that were allocated before */
extern struct err e;

/* The folder. */
void fresh(void);
void clean(void);
/* An open store without a table, and one that is as a new store is. */
void begin_empty(void);
void begin(void);
/* Nothing of it is left: no statement, no block. */
void end(void);
/* What it answers to a question of one number or text. */
const char *value(const char *question);
void sql(const char *text);
struct vm_row row_of(uint64_t vmid, int64_t id, const char *name);
int put_event(uint64_t seq);
/* Ready for the next row, and nothing of this one, with its sevens, is in it.
 */
void is_ready(sqlite3_stmt *st);

#endif
