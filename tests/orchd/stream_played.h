#ifndef MEWS_TESTS_STREAM_PLAYED_H
#define MEWS_TESTS_STREAM_PLAYED_H

#include <stdbool.h>
#include <stdint.h>

#include "orchd/api/conn.h"
#include "orchd/orchd.h"
#include "orchd/vm/vm.h"
#include "tests/suite/t.h"

/*
 * Requests for a VM's streams: the launcher, the connections, the rest of the
 * VM and the clock are played, and what they hear is said.
 */
#define CONNS 8

extern struct orchd o;
extern struct vm *vm;
extern struct conn conns[CONNS]; /* by id; 0 is none */
extern char said[1024];
extern int up, down, kept; /* ends of the last stream, and a copy of up */

/* How it is played; begin() sets all back. */
struct stream_play {
	int64_t now_ms;
	bool no_pair, no_copy;
	int pass_r;
	const char *words, *now; /* doubt, in the two ways; NULL: none */
};
extern struct stream_play play;

#define SAYS(want)                   \
	do {                         \
		t_str(said, (want)); \
		said[0] = '\0';      \
	} while (0)

/* A VM that runs and is ready, of so many streams. */
void begin(uint64_t total);
void end(void);
/* Of the last stream. */
void close_ends(void);
struct share_who user(uint32_t uid);
void ask(uint64_t conn, uint32_t uid, uint32_t kind);
/* A turn for those who wait. */
void serve(void);
bool waits(uint64_t conn);
/* Of three streams a user has all that he may: he waits with a connection. */
void begin_waiting(uint64_t conn);

#endif
