#ifndef MEWS_WARDEN_WATCH_H
#define MEWS_WARDEN_WATCH_H

#include <stdint.h>

#include "proto/ward.h"

struct call;
struct call_answer;
struct event;
struct event_base;
struct yamux;

/*
 * Whether an agent that is ready still is: it is asked for its health, and an
 * answer that does not come in time, or says that it is not, is news.  The
 * session stays: a guest that was paused goes on where it was.
 */
#define WATCH_MS 20000
#define WATCH_LATE_MS 10000

struct watch_ops {
	/* What was found, each time. */
	void (*said)(void *arg, enum ward_mute mute);
	/* An answer, to look at for other things: when it was asked for (the
	 * host's wall clock), and how long that took. */
	void (*health)(void *arg, const struct call_answer *ans,
	    int64_t asked_ns, int64_t rtt_us);
	/* Something was written to the session. */
	void (*kick)(void *arg);
};

struct watch {
	const struct watch_ops *ops;
	void *arg;
	struct event *timer;
	int64_t due_us; /* of the timer */
	struct yamux *mux; /* NULL: there is nobody to ask */
	struct call *call;
	int64_t asked_us, asked_wall_ns; /* of the call */
};

/* 0 or -ENOMEM. */
int watch_init(struct watch *w, struct event_base *base,
    const struct watch_ops *ops, void *arg);
void watch_clear(struct watch *w); /* one that is zero is fine */
/* The agent is ready; mux is kept until watch_stop(). */
void watch_start(struct watch *w, struct yamux *mux);
/* Asks in ms at the latest; not when there is a question already. */
void watch_soon(struct watch *w, long ms);
void watch_stop(struct watch *w);

#endif
