#ifndef MEWS_TESTS_VM_PLAYED_H
#define MEWS_TESTS_VM_PLAYED_H

#include "orchd/orchd.h"
#include "orchd/vm/vm.h"
#include "tests/suite/ev.h"

/*
 * A VM of three parts, two that the jail needs and the jail itself, and what
 * it asks for in which state.  The helpers are played here: each question is
 * noted and answered when the test says so; the store takes everything.
 */
extern char asked[256];
extern int refuse; /* what the next question's sending comes to */
extern unsigned int forgotten; /* parts of which nothing is held any more */
extern bool listed; /* all helpers have */
extern int64_t wall_ns; /* the time */
extern const struct part_kind kinds[]; /* tap, disk, jail */
extern const struct object_kind kind;
extern struct orchd o;
extern struct vm *vm;

void begin(enum vm_state s);
/* Nothing is left of it. */
void end(void);
/* Turns, until nothing moves. */
void turns(void);
/* What was asked of a part came to r. */
void answer(unsigned int i, int r);

/* What has been asked since, after the turns that follow. */
#define ASKS(want)                    \
	do {                          \
		turns();              \
		t_str(asked, (want)); \
		asked[0] = '\0';      \
	} while (0)

#endif
