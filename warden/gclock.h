#ifndef MEWS_WARDEN_GCLOCK_H
#define MEWS_WARDEN_GCLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct call;
struct call_answer;
struct yamux;

/*
 * The guest's clock, held to the host's: an answer of the agent's health has
 * its time (watch.h), half of the way there and back is taken off, and it is
 * told by how much it is wrong.  The agent slews what is little and steps what
 * is much.  A guest's word is worth nothing but for that guest.
 */
struct gclock_ops {
	struct yamux *(*mux)(void *arg); /* NULL: there is no session */
	void (*kick)(void *arg); /* something was written to it */
	void (*soon)(void *arg, long ms); /* the next answer, by then */
};

struct gclock {
	const struct gclock_ops *ops;
	void *arg;
	struct call *call; /* the correction; NULL: none is on its way */
	unsigned int tries; /* of this round, too slow to say anything */
	unsigned int rounds; /* since the start, or a pause */
	char body[48];
};

/*
 * There is a session with an agent that says its time: it is asked at once.
 * Also after a pause of the guest, whose clock stood: what was asked before it
 * is answered after it, and then it is seen that this took long.
 */
void gclock_start(struct gclock *g);
/* An answer, asked for at asked_ns (the host's wall clock), rtt_us ago. */
void gclock_heard(struct gclock *g, const struct call_answer *ans,
    int64_t asked_ns, int64_t rtt_us);
/* The session is gone. */
void gclock_stop(struct gclock *g);

/*
 * How wrong a clock is that said guest_ns when it was asked at asked_ns (the
 * host's wall clock) and its answer came rtt_us later.  True when *off_ns (to
 * be added to it) is more than what the way may have made of it.
 */
bool gclock_offset(
    int64_t asked_ns, int64_t rtt_us, int64_t guest_ns, int64_t *off_ns);

#endif
