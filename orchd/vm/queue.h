#ifndef MEWS_QUEUE_H
#define MEWS_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/share.h"

struct event;
struct object;

/*
 * Requests for a VM's streams that came when those were all open, or all that
 * their callers may have: they wait for one, so long.  Nothing of them is
 * anywhere else, and they are gone with their connections.  Of the places
 * callers have their shares, as of the streams.
 */
#define QUEUE_MAX 128
#define QUEUE_MS 30000

/* A request for a stream. */
struct stream_ask {
	struct share_who who;
	uint64_t conn;
	uint64_t id; /* the request's message id */
	uint32_t kind; /* enum launch_stream_kind */
	uint32_t flags;
	int64_t since_ns; /* of a log: as in launch_log */
};

struct queued {
	TAILQ_ENTRY(queued) entry;
	struct stream_ask ask;
	int64_t end_ms; /* of clock_ms(): it does not wait beyond */
	bool is_held; /* it could not have one now if there were one */
};
TAILQ_HEAD(queued_list, queued);

struct queue {
	struct queued_list list; /* in the order they came */
	struct share places; /* QUEUE_MAX */
	struct event *timer; /* wakes the object when the first has waited */
};

void queue_init(struct queue *q, const uint32_t listed[SHARE_LISTED]);
/* Those that are in it are forgotten. */
void queue_clear(struct queue *q);
bool queue_is_empty(const struct queue *q);
/* obj is woken when its time is over.  0, -EBUSY, -ENOMEM. */
int queue_add(struct queue *q, struct object *obj, const struct stream_ask *a);
/* Takes it out; who is freed. */
void queue_remove(struct queue *q, struct queued *who);
/* That connection's does not wait any more. */
void queue_drop(struct queue *q, uint64_t conn);
/*
 * Whose turn it is: of those who are not held and may have one of streams now
 * it is the one who has the fewest of them, and of these who waits longest.  So
 * who has many waiting does not keep others behind all of them.  NULL:
 * nobody's.
 */
struct queued *queue_next(const struct queue *q, const struct share *streams);
/* Its timer is that of the first.  0 or -ENOMEM. */
int queue_arm(struct queue *q);

#endif
