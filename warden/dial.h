#ifndef MEWS_WARDEN_DIAL_H
#define MEWS_WARDEN_DIAL_H

#include <stdbool.h>

struct event;
struct event_base;

/*
 * Keeps connecting to an abstract stream socket of our network namespace,
 * with a growing pause, until it works or DIAL_GIVE_UP_MS have passed since
 * it last did.  A hypervisor that hangs up again and again is met ever more
 * rarely, and in the end not at all.
 */
#define DIAL_GIVE_UP_MS 30000

struct dial {
	const char *name;
	struct event *timer;
	void (*up)(void *arg, int fd); /* fd is the callee's */
	void *arg;
	unsigned int fails; /* since dial_ok */
	bool was_up;
	long long since_ms; /* of the first of these */
};

/* Connects at once, or as soon as it can.  0 or -ENOMEM. */
int dial_open(struct dial *d, struct event_base *base, const char *name,
    void (*up)(void *arg, int fd), void *arg);
void dial_close(struct dial *d);
/* The connection is lost or useless: make another. */
void dial_again(struct dial *d);
/* The peer made sense: the next pause is short again. */
void dial_ok(struct dial *d);
/* Tries again after giving up; nothing if there is no need. */
void dial_retry(struct dial *d);

#endif
