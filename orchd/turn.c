#include <bsd/unistd.h>
#include <event2/event.h>
#include <limits.h>

#include "common/log.h"
#include "orchd/api/reader.h"
#include "orchd/object/object.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/turn.h"

/* What ps shows. */
static void
title(struct orchd *o)
{
	if (o->objects.shown == o->vms.n)
		return;
	o->objects.shown = o->vms.n;
	setproctitle("-mews: orchd [%u vms]", o->vms.n);
}

/* Takes in and tells what is on the disk.  False: the object is no more. */
static bool
tell(struct object *obj)
{
	write_settle(obj);
	wait_tell(obj);
	if (obj->kind->serve != NULL)
		obj->kind->serve(obj);
	if (obj->life == OBJECT_NEVER ||
	    (obj->life == OBJECT_GONE && object_settled(obj))) {
		obj->kind->free(obj);
		return false;
	}
	return true;
}

static void
move(struct object *obj)
{
	if (obj->life == OBJECT_STORED && object_settled(obj))
		obj->kind->converge(obj);
	write_send(obj);
}

static void
turn(struct orchd *o, bool last)
{
	struct object_list now = TAILQ_HEAD_INITIALIZER(now);
	struct object *obj;

	/* who is woken by this turn has its own */
	TAILQ_CONCAT(&now, &o->objects.woken, woke);
	while ((obj = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, obj, woke);
		obj->woken = false;
		if (tell(obj) && !last)
			move(obj);
	}
	if (o->objects.told && !last)
		reader_wake(o);
	o->objects.told = false;
	title(o);
}

static void
on_turn(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	turn(arg, false);
}

void
turn_init(struct orchd *o)
{
	TAILQ_INIT(&o->objects.woken);
	o->objects.turn = event_new(o->base, -1, 0, on_turn, o);
	if (o->objects.turn == NULL)
		fatal("turn: out of memory");
	o->objects.shown = UINT_MAX;
	title(o);
}

void
turn_now(struct orchd *o)
{
	turn(o, false);
}

void
turn_last(struct orchd *o)
{
	turn(o, true);
}
