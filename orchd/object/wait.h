#ifndef MEWS_WAIT_H
#define MEWS_WAIT_H

#include <stdint.h>
#include <sys/queue.h>

#include "common/share.h"

struct event;
struct object;

/* A request whose answer waits for an object to get somewhere. */
struct waiter {
	TAILQ_ENTRY(waiter) entry;
	struct share_who who;
	uint64_t conn;
	uint64_t id; /* the request's message id */
	uint32_t what; /* below 32; the kind of the object knows */
	unsigned int status; /* HTTP status when it comes */
	struct object *obj;
	uint64_t *left; /* nobody waits any more, but it counts there; NULL */
	struct event *deadline;
};
/* As a bit, where several are meant. */
#define WAITS(what) (1U << (what))
/* Requests that may wait on one object, of which callers have their shares
 * (object.waits); more are told to come again. */
#define WAIT_MAX 64

/* -EBUSY, -ENOMEM. */
int wait_add(struct object *obj, struct share_who who, uint64_t conn,
    uint64_t id, uint32_t what, unsigned int status);
/* That connection's do not wait any more; nobody is told. */
void wait_drop(struct object *obj, uint64_t conn);
/* Nor does that one, but what it waits for counts till it comes: then *count,
 * which outlives obj's waiters, is one less. */
void wait_leave(struct object *obj, uint64_t conn, uint64_t *count);
void wait_clear(struct object *obj);
/* From the turn: answers who waits for what has come. */
void wait_tell(struct object *obj);
/* Those who wait for one of asked are told that the store failed with r. */
void wait_undone(struct object *obj, uint32_t asked, int r);

#endif
