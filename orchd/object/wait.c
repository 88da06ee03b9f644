#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "orchd/object/object.h"
#include "orchd/object/wait.h"
#include "orchd/orchd.h"

static void
waiter_free(struct waiter *w)
{
	if (w->deadline != NULL)
		event_free(w->deadline);
	if (w->left != NULL)
		--*w->left;
	free(w);
}

/* Out of the list before it is answered: an apid that does not take the
 * answer ends the connection, and that looks for waiters. */
static void
waiter_unlink(struct object *obj, struct waiter *w)
{
	TAILQ_REMOVE(&obj->waiters, w, entry);
	if (w->left == NULL)
		share_give(&obj->waits, w->who, 1);
}

/* The wish stays: it comes true without whoever asked for it. */
static void
on_deadline(int fd, short what, void *arg)
{
	struct waiter *w = arg;
	struct object *obj = w->obj;

	(void)fd;
	(void)what;
	waiter_unlink(obj, w);
	obj->kind->late(obj, w);
	waiter_free(w);
}

int
wait_add(struct object *obj, struct share_who who, uint64_t conn, uint64_t id,
    uint32_t what, unsigned int status)
{
	const uint64_t ms = obj->kind->patience_ms(obj, what);
	const struct timeval tv = { .tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000) * 1000 };
	struct waiter *w;
	int r;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		return -ENOMEM;
	w->obj = obj;
	w->who = who;
	w->conn = conn;
	w->id = id;
	w->what = what;
	w->status = status;
	w->deadline = evtimer_new(obj->orchd->base, on_deadline, w);
	r = w->deadline != NULL ? share_take(&obj->waits, who, 1) : -ENOMEM;
	if (r < 0) {
		waiter_free(w);
		return r;
	}
	TAILQ_INSERT_TAIL(&obj->waiters, w, entry);
	if (event_add(w->deadline, &tv) < 0) {
		waiter_unlink(obj, w);
		waiter_free(w);
		return -ENOMEM;
	}
	return 0;
}

void
wait_drop(struct object *obj, uint64_t conn)
{
	struct waiter *w, *next;

	for (w = TAILQ_FIRST(&obj->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->conn != conn || w->left != NULL)
			continue;
		waiter_unlink(obj, w);
		waiter_free(w);
	}
}

void
wait_leave(struct object *obj, uint64_t conn, uint64_t *count)
{
	struct waiter *w;

	TAILQ_FOREACH (w, &obj->waiters, entry) {
		if (w->conn != conn)
			continue;
		/* its place is another's, and its answer nobody's */
		share_give(&obj->waits, w->who, 1);
		w->conn = 0;
		w->left = count;
		return;
	}
}

void
wait_clear(struct object *obj)
{
	struct waiter *w, *next;

	for (w = TAILQ_FIRST(&obj->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		waiter_unlink(obj, w);
		waiter_free(w);
	}
}

void
wait_tell(struct object *obj)
{
	struct waiter *w, *next;

	if (!object_settled(obj))
		return; /* an answered request is on the disk (I8) */
	for (w = TAILQ_FIRST(&obj->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (!obj->kind->due(obj, w))
			continue;
		waiter_unlink(obj, w);
		obj->kind->answer(obj, w);
		waiter_free(w);
	}
}

void
wait_undone(struct object *obj, uint32_t asked, int r)
{
	struct waiter *w, *next;

	for (w = TAILQ_FIRST(&obj->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if ((asked & WAITS(w->what)) == 0)
			continue;
		waiter_unlink(obj, w);
		obj->kind->undone(obj, w, r);
		waiter_free(w);
	}
}
