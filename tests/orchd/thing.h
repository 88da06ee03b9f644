#ifndef MEWS_TESTS_THING_H
#define MEWS_TESTS_THING_H

#include "orchd/object/object.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "tests/suite/ev.h"

/*
 * An object whose row is a number, and the store that it is written to: it
 * takes transactions, says what is in them, and answers when it is told to.
 */
struct txn {
	void (*done)(void *arg, int r);
	void *arg;
};

struct thing {
	struct object obj;
	int row;
};

extern unsigned int turns; /* of the loop's turn event */
/* What was sent and told, a word each.  "!" behind a write: it has what was
 * asked of play.only alone; "+" behind an event: FOLLOWER comes behind it. */
extern char said[512];
#define FOLLOWER 5 /* a type of events */
extern struct orchd o;
extern struct tenant tenant;
extern struct thing th;
/* A kind that hears what becomes of what was asked, and has the row that comes
 * back be 100 more. */
extern const struct object_kind hearing;
extern struct txn *last; /* with the store */

/* How it is played; begin() sets all back. */
struct play {
	bool no_txn; /* none can be made */
	int save_r;
	bool no_key; /* no key can be used */
	bool full; /* each key takes another's place */
	uint64_t seq; /* of the events: 7 */
	uint64_t patience_ms; /* 60000 */
	bool due; /* what is waited for has come: true */
	uint32_t only; /* asked: a write that has no more than these */
};
extern struct play play;

void begin(int row, enum object_life life);
/* Nothing is left of it. */
void end(void);
/* The turn, then what the store says. */
void commit(int r);
/* What the store says, and nothing else. */
void answered(int r);
/* Its time has come: what it does. */
void expire(struct event *timer);
/* A person asks for it, and waits. */
void ask(int row, uint32_t what, const char *key);
/* It happens. */
void fact(int row, const char *why);

#endif
