#ifndef MEWS_WARDEN_WATCH_H
#define MEWS_WARDEN_WATCH_H

#include <stdint.h>

#include "proto/ward.h"

struct call;
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
struct watch {
	struct event *timer;
	struct yamux *mux; /* NULL: there is nobody to ask */
	struct call *call;
	void (*said)(void *arg, enum ward_mute mute);
	void (*kick)(void *arg); /* something was written to the session */
	void *arg;
};

/* said: what was found, each time.  0 or -ENOMEM. */
int watch_init(struct watch *w, struct event_base *base,
    void (*said)(void *arg, enum ward_mute mute), void (*kick)(void *arg),
    void *arg);
void watch_clear(struct watch *w); /* one that is zero is fine */
/* The agent is ready; mux is kept until watch_stop(). */
void watch_start(struct watch *w, struct yamux *mux);
void watch_stop(struct watch *w);

#endif
