#ifndef MEWS_TESTS_CONN_H
#define MEWS_TESTS_CONN_H

#include "apid/apid.h"
#include "tests/suite/ev.h"

/*
 * One connection of apid: a real socket pair; what the floors above make of
 * it, and the channel to orchd, are played.
 */
extern char title[64]; /* what ps shows */
extern char said[1024]; /* which of the table was called, and what was sent */
extern struct apid a;
extern struct client *c; /* of begin() */
extern int peer, copy; /* the client's end; orchd's copy of ours */
extern size_t recv_len; /* what the last recv() was asked for */
extern unsigned int steps; /* how often step() was called */

void note(const char *what); /* in said */

/* How it is played; start() sets all back. */
struct play {
	int recv_errno; /* what recv() says */
	enum client_phase ends_in; /* a phase that step() leads to, or 0 */
	unsigned int puts; /* so often step() puts and asks for more */
	size_t takes; /* of what came in step() takes so much */
	bool rests; /* there is use for more input: true */
};
extern struct play play;

/* apid without a connection; and the one that end() closes. */
void start(uint32_t room);
void begin(uint32_t role);
/* Nothing is left of it; end() closes peer and copy as well. */
void finish(void);
void end(void);

/* Ours, and the client's end in *end. */
int pair(int *end);
struct client *add(uint64_t id, uint32_t role, int *end);
/* The loop, once. */
void turn(void);
bool is_pending(const struct event *e, short what);
/* The client sees the end; though orchd has a copy. */
bool sees_end(int fd);
/* Output, until the socket takes no more. */
void fill(void);
/* The client reads all that is there. */
void drain(void);

#endif
