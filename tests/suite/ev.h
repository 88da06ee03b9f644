#ifndef MEWS_TESTS_EV_H
#define MEWS_TESTS_EV_H

#include <stdbool.h>
#include <sys/time.h>

struct event;
struct event_base;

/* libevent's events, which fail when they are told to, and say for how long
 * a timer was set. */
struct ev {
	unsigned int fail_new; /* the n-th from now; 0: none */
	bool no_add;
	struct timeval added; /* the last one with a time */
	unsigned int nadded;
};
extern struct ev ev;

/* Its time has come: what it does. */
void ev_expire(struct event_base *base, struct event *timer);

#endif
