#ifndef MEWS_TEMPORARY_H
#define MEWS_TEMPORARY_H

#include <stdbool.h>
#include <stdint.h>

struct event;
struct vm;

/*
 * A temporary VM is there as long as somebody uses it: it is removed when
 * nobody has had a command or a console of it open for temporary_ms of orchd's
 * config, and when it has ended.  Nobody need be alive to say so, and nothing
 * of it is in the store but that it is temporary: a deadline begins again
 * with orchd.
 */
#define TEMPORARY_ENDED_MS 10000U /* then who waits for it has seen the end */

enum temporary_phase {
	TEMP_NONE, /* not looked at yet: its deadline is to begin anew */
	TEMP_HELD, /* in use */
	TEMP_COMING, /* on its way up or down, which has deadlines of its own */
	TEMP_IDLE,
	TEMP_ENDED,
};

struct temporary {
	enum temporary_phase phase;
	uint32_t state; /* enum vm_state that its deadline is of */
	unsigned int nholds; /* commands and consoles that are open */
	bool is_counted; /* it has a part of orchd.temporaries */
	bool is_late; /* the deadline of its phase came */
	struct event *timer;
};

/* It is its owner's: -EBUSY when that has too many; -ENOMEM. */
int temporary_count(struct vm *vm);
void temporary_clear(struct vm *vm);
/* A command or console of it is open; so many have ended. */
void temporary_hold(struct vm *vm);
void temporary_let_go(struct vm *vm, unsigned int n);
/* What its way down may take is another: its deadline begins anew. */
void temporary_anew(struct vm *vm);
/* From the turn: why it is to go, or NULL. */
const char *temporary_is_over(struct vm *vm);

#endif
