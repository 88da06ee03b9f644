#ifndef MEWS_BUSY_H
#define MEWS_BUSY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct event;
struct event_base;

/* Callers who are one too many: told 503, and open for a moment. */
#define REFUSED_MAX 16 /* of them at once */
#define REFUSED_UID_MAX 4 /* of one uid; and of all that have no role */
#define BUSY_TEXT_MAX 256

struct refused {
	int sock; /* -1: free */
	uid_t uid;
	bool is_stranger;
	uint64_t nth; /* the lower, the longer it is here */
};

struct busy {
	struct refused refused[REFUSED_MAX];
	uint64_t n; /* so many were refused */
	struct event *end; /* they are closed */
};

/* 0 or -ENOMEM. */
int busy_init(struct busy *b, struct event_base *base);
/* The answer; why is printable ASCII without quotes. */
void busy_say(int sock, const char *why);
/*
 * A refused caller may not have written its request yet.  Closed at once, that
 * write would fail, and many a client then never reads the answer (RFC 9112,
 * 9.6): so the last few stay, unread, until nobody was refused for a second.
 * Takes sock.
 */
void busy_linger(struct busy *b, int sock, uid_t uid, bool is_stranger);

#endif
