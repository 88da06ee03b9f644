#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "common/clock.h"
#include "orchd/object/object.h"
#include "orchd/orchd.h"
#include "orchd/vm/queue.h"

void
queue_init(struct queue *q, const uint32_t listed[SHARE_LISTED])
{
	TAILQ_INIT(&q->list);
	share_init(&q->places, QUEUE_MAX, listed);
	q->timer = NULL;
}

void
queue_clear(struct queue *q)
{
	struct queued *who;

	while ((who = TAILQ_FIRST(&q->list)) != NULL)
		queue_remove(q, who); /* and with the last all places */
	if (q->timer != NULL)
		event_free(q->timer);
	q->timer = NULL;
}

bool
queue_is_empty(const struct queue *q)
{
	return TAILQ_EMPTY(&q->list);
}

static void
on_timer(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	object_wake(arg);
}

int
queue_add(struct queue *q, struct object *obj, const struct stream_ask *a)
{
	struct queued *who;
	int r;

	if (q->timer == NULL &&
	    (q->timer = evtimer_new(obj->orchd->base, on_timer, obj)) == NULL)
		return -ENOMEM;
	if ((r = share_take(&q->places, a->who, 1)) < 0)
		return r;
	if ((who = calloc(1, sizeof(*who))) == NULL) {
		share_give(&q->places, a->who, 1);
		return -ENOMEM;
	}
	who->ask = *a;
	who->end_ms = clock_ms() + QUEUE_MS;
	TAILQ_INSERT_TAIL(&q->list, who, entry);
	if ((r = queue_arm(q)) < 0)
		queue_remove(q, who);
	return r;
}

void
queue_remove(struct queue *q, struct queued *who)
{
	TAILQ_REMOVE(&q->list, who, entry);
	share_give(&q->places, who->ask.who, 1);
	free(who);
}

void
queue_drop(struct queue *q, uint64_t conn)
{
	struct queued *who, *next;

	for (who = TAILQ_FIRST(&q->list); who != NULL; who = next) {
		next = TAILQ_NEXT(who, entry);
		if (who->ask.conn == conn)
			queue_remove(q, who);
	}
}

struct queued *
queue_next(const struct queue *q, const struct share *streams)
{
	struct queued *who, *best = NULL;
	uint64_t n, least = 0;

	TAILQ_FOREACH (who, &q->list, entry) {
		if (who->is_held || !share_can(streams, who->ask.who, 1))
			continue;
		n = share_has(streams, who->ask.who);
		if (best == NULL || n < least) {
			best = who;
			least = n;
		}
	}
	return best;
}

int
queue_arm(struct queue *q)
{
	const struct queued *first = TAILQ_FIRST(&q->list);
	struct timeval tv = { 0, 0 };
	int64_t left;

	if (first == NULL) {
		if (q->timer != NULL)
			(void)evtimer_del(q->timer);
		return 0;
	}
	left = first->end_ms - clock_ms();
	if (left > 0) {
		tv.tv_sec = (time_t)(left / 1000);
		tv.tv_usec = (suseconds_t)(left % 1000) * 1000;
	}
	return event_add(q->timer, &tv) < 0 ? -ENOMEM : 0;
}
