#ifndef MEWS_BATCH_H
#define MEWS_BATCH_H

/* What store.c collects and its worker writes as one commit. */

#include <sqlite3.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "orchd/store_int.h"

struct reserve;

/* Where it is written; the worker's alone. */
struct batch_to {
	sqlite3 *db;
	sqlite3_stmt **stmt; /* STMT_MAX of them */
	struct reserve *reserve;
};

/*
 * Each gets its result.  On a full disk what takes something new in is refused;
 * what ends something, and what has happened, is written without it, and if
 * need be with what the reserve gave back.  Whether that is whole afterwards.
 */
bool batch_run(const struct batch_to *to, struct txn_list *batch);
/* The end of a transaction that came to r: on the disk, or undone. */
int batch_end(sqlite3 *db, int r);

#endif
