#ifndef MEWS_GATE_H
#define MEWS_GATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/*
 * A bounded number of places (questions to a helper, starts under way) that
 * tenants take turns at.  Who finds none stands in his tenant's line; the lines
 * are served in rounds, as many of each as its weight.  A tenant gets one more
 * only while it would not have more than what is then left to the others, times
 * its weight: so some are always free for one that comes later, however many
 * wait, and a storm delays its own tenant.  A part is kept for the line of the
 * host's own.
 *
 * Nothing is decided here: who gets a place is woken (object.h), takes it when
 * it is looked at, or gives it back.
 */
struct gate;
struct object;

/* What places there are at, each for itself. */
enum gate_id { GATE_NET, GATE_LAUNCH, GATE_START, GATES };

/* Of questions to netd, which does one after the other: one under way, and the
 * next there when it is done. */
#define GATE_NET_MAX 4
/* To launchd, which does them beside each other. */
#define GATE_LAUNCH_MAX 32
/* Of starts, for each processor: one tenant alone keeps all of them busy, and
 * takes less than half of them from one who comes later. */
#define GATE_STARTS_CPU 3
/* Of all places, for the host's own. */
#define GATE_KEPT 8

enum seat_state {
	SEAT_NONE,
	SEAT_WAITS,
	SEAT_GIVEN, /* it was its turn, and it has been woken for it */
	SEAT_TAKEN
};

/* Somebody who wants a place; zeroed is one who does not. */
struct seat {
	enum seat_state state;
	bool first; /* it stands with those who go first */
	bool asked; /* since seat_settle() */
	TAILQ_ENTRY(seat) entry;
	struct gate *gate;
	struct line *line;
	struct object *obj; /* is woken */
};
TAILQ_HEAD(seats, seat);

/* A tenant at a gate. */
struct line {
	TAILQ_ENTRY(line) entry; /* among those in which somebody waits */
	struct seats first, rest; /* those who wait, in the order they came */
	unsigned int has; /* places */
	unsigned int turns; /* left to it in this round */
	const uint32_t *weight; /* at least 1 */
	bool is_host;
};
TAILQ_HEAD(lines, line);

struct gate {
	unsigned int total, kept;
	unsigned int taken; /* given ones too */
	unsigned int of_host; /* of taken */
	struct lines lines; /* the one whose turn it is comes first */
};

void gate_init(struct gate *g, unsigned int total);
/* weight is the caller's and stays where it is; NULL: the host's own line. */
void line_init(struct line *l, const uint32_t *weight);
/*
 * True: it has a place.  False: it waits, with those who go first of its line
 * or behind the rest; obj is woken when it is its turn, and asks again.
 */
bool gate_ask(struct gate *g, struct line *l, struct seat *s,
    struct object *obj, bool first);
/* It has one whatever there are: of something that is under way already. */
void gate_hold(struct gate *g, struct line *l, struct seat *s);
/* It has none and waits for none; whose turn it is now is woken.  A no-op where
 * there is nothing to give back. */
void seat_leave(struct seat *s);
/* It was looked at: what it has not asked for since the last time it neither
 * waits for nor keeps, but for a place that it took. */
void seat_settle(struct seat *s);
/* So many of its line wait before it, and so many places has its line; false:
 * it does not wait. */
bool seat_waits(const struct seat *s, unsigned int *before, unsigned int *has);

#endif
