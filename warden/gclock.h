#ifndef MEWS_WARDEN_GCLOCK_H
#define MEWS_WARDEN_GCLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct call;
struct call_answer;
struct event;
struct event_base;
struct yamux;

/*
 * The guest's clock, held to the host's: the agent is asked for its time now
 * and then, half of the way there and back is taken off, and it is told by how
 * much it is wrong.  The agent slews what is little and steps what is much.
 * A guest's word is worth nothing but for that guest.
 */
struct gclock_ops {
	struct yamux *(*mux)(void *arg); /* NULL: there is no session */
	void (*kick)(void *arg); /* something was written to it */
	/* an answer of the agent's health, to look at for other things */
	void (*health)(void *arg, const struct call_answer *ans);
};

struct gclock {
	const struct gclock_ops *ops;
	void *arg;
	struct event *timer;
	struct call *call; /* the question, or the correction; NULL: neither */
	bool is_on;
	bool is_hinted; /* this round */
	unsigned int tries; /* of this round, too slow to say anything */
	unsigned int rounds; /* since the start, or a pause */
	int64_t asked_us, asked_wall_ns;
	char body[48];
};

/* 0 or -ENOMEM. */
int gclock_open(struct gclock *g, struct event_base *base,
    const struct gclock_ops *ops, void *arg);
void gclock_close(struct gclock *g);
/* There is a session with an agent that says its time: at once, and then
 * every 30 s.  Also after a pause of the guest, whose clock stood. */
void gclock_start(struct gclock *g);
/* Its health may have changed: asks within a second. */
void gclock_hint(struct gclock *g);
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
