#ifndef MEWS_COPY_H
#define MEWS_COPY_H

#include <sqlite3.h>
#include <stdint.h>

/*
 * The store as it is at one moment, in a file of its own that has no name: made
 * in steps by the connection that writes the store, so what is written between
 * two of them is in it and it begins anew for nobody.  Of the worker's thread
 * alone.
 */
#define COPY_PAGES 64 /* of a step: what a commit may wait for */
#define COPY_MAX_MS 60000 /* then it is given up */

struct copy {
	const char *path; /* where it is for a moment, beside the store */
	sqlite3 *to;
	sqlite3_backup *b; /* NULL: it has not begun */
	int64_t begun_ms;
	int fd; /* the file; -1 */
};

/*
 * 1: there is more to do.  0: it is whole, in fd, which can be read from its
 * beginning and is the caller's to close.  Else a negative errno (-ENOSPC), and
 * nothing is left of it.
 */
int copy_step(struct copy *c, sqlite3 *from);
/* Gives it up. */
void copy_clear(struct copy *c);

#endif
