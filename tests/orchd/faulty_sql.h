#ifndef MEWS_TESTS_FAULTY_SQL_H
#define MEWS_TESTS_FAULTY_SQL_H

/*
 * SQLite as it is, of which one call fails: the nth of a function from now on
 * ("step"), or of sqlite3_exec() with a text that begins so.
 */
struct faulty {
	const char *what; /* NULL: none fails */
	unsigned int nth; /* 1: the next one */
	int rc;
};
/* Of "column_text": not it, the next allocation fails. */
#define FAULTY_MEMORY (-1)
extern struct faulty faulty;
extern unsigned int steps; /* calls of sqlite3_step() */
extern char execs[1024]; /* what was executed: up to 17 letters, a "|" */

void faulty_set(const char *what, unsigned int nth, int rc);

#endif
