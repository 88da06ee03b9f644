#ifndef MEWS_TESTS_PLAYED_SQL_H
#define MEWS_TESTS_PLAYED_SQL_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Below orchd/store.c: statements, the reserve, threads, the eventfd.  Each
 * says what was asked of it, and fails when it is told to; locks are held by
 * who gives them back.
 */
extern char said[4096]; /* a word each */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What was said since. */
#define SAYS(want)                   \
	do {                         \
		t_str(said, (want)); \
		said[0] = '\0';      \
	} while (0)

/* What fails: up to so many, in this order of what is asked. */
struct failing {
	const char *what; /* as it is said; NULL: no more */
	unsigned int times;
	int r;
	bool rolled; /* and all of the transaction is undone */
};

struct play {
	struct failing fail[4];
	unsigned int gives; /* steps that the reserve has */
	bool not_whole[4]; /* what the nth reserve_make() comes to, from 0 */
	unsigned int makes;
	int steps; /* of a copy, before its last */
	unsigned int copied; /* steps of one so far */
	bool no_eventfd, no_thread;
	bool gate; /* BEGIN waits for open */
	bool hold; /* the worker's locks do, until it is joined */
	bool blocked; /* signals, in the worker */
	int efd;
	unsigned long long heap;
};
extern struct play play;
extern sem_t gate_open, in_copy; /* in_copy: a step waits for the gate */

void play_begin(void);
/* Threads joined, locks unmade. */
void play_end(void);
/* The worker has ended its batch. */
void play_wait(void);

#endif
