#ifndef MEWS_AGENT_LOOP_H
#define MEWS_AGENT_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The agent's event loop: epoll(7) and nothing else.  One event is fetched
 * at a time, so a callback may free any watch, its own too.
 */
struct watch {
	void (*fn)(void *arg, uint32_t events);
	void *arg;
	int fd; /* the owner closes it, after loop_unwatch */
	uint32_t events; /* EPOLL*; 0: asleep */
	bool is_on; /* in the epoll set */
};

/* Dies when it cannot be had. */
void loop_init(void);
/* One turn: waits for an event and calls its watch. */
void loop_turn(void);

/* 0 or -errno. */
int loop_watch(struct watch *w, uint32_t events);
/* Fine on one that was never set. */
void loop_unwatch(struct watch *w);

#endif
