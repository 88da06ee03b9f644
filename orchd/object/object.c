#include <event2/event.h>
#include <string.h>

#include "orchd/object/object.h"
#include "orchd/object/wait.h"
#include "orchd/orchd.h"

void
object_init(struct object *obj, const struct object_kind *kind, struct orchd *o)
{
	memset(obj, 0, sizeof(*obj));
	obj->kind = kind;
	obj->orchd = o;
	TAILQ_INIT(&obj->waiters);
	share_init(&obj->waits, WAIT_MAX, o->listed);
}

void
object_clear(struct object *obj)
{
	if (obj->woken)
		TAILQ_REMOVE(&obj->orchd->objects.woken, obj, woke);
	obj->woken = false;
	share_clear(&obj->waits);
}

void
object_wake(struct object *obj)
{
	struct objects *all = &obj->orchd->objects;

	if (obj->woken)
		return;
	obj->woken = true;
	TAILQ_INSERT_TAIL(&all->woken, obj, woke);
	event_active(all->turn, EV_TIMEOUT, 0);
}

bool
object_settled(const struct object *obj)
{
	return (obj->life == OBJECT_STORED || obj->life == OBJECT_GONE) &&
	    !obj->open.dirty && !obj->writing;
}
