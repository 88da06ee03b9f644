#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "common/fds.h"
#include "common/log.h"
#include "orchd/orchd.h"
#include "orchd/text.h"
#include "orchd/vm/part.h"
#include "orchd/vm/vm.h"
#include "orchd/who.h"

#define ASK_MS 15000 /* a helper that says nothing for so long is broken */
#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 5000

static int
cmp_ask(const struct part *a, const struct part *b)
{
	return a->ask_id < b->ask_id ? -1 : a->ask_id > b->ask_id;
}

RB_GENERATE_STATIC(part_tree, part, by_ask, cmp_ask)

static struct orchd *
orchd_of(const struct part *p)
{
	return p->vm->obj.orchd;
}

void
part_init(
    struct part *p, const struct part_kind *kind, struct vm *vm, uint32_t index)
{
	memset(p, 0, sizeof(*p));
	p->kind = kind;
	p->vm = vm;
	p->index = index;
	p->fd = -1;
}

struct part *
part_by_ask(struct orchd *o, uint64_t id)
{
	struct part key = { .ask_id = id };

	return id == 0 ? NULL : RB_FIND(part_tree, &o->asks, &key);
}

/* Its question is answered, lost or withdrawn. */
static void
ask_clear(struct part *p)
{
	if (p->ask_id != 0)
		(void)RB_REMOVE(part_tree, &orchd_of(p)->asks, p);
	p->ask = ASK_NONE;
	p->ask_id = 0;
	seat_leave(&p->seat);
	if (p->timer != NULL)
		(void)evtimer_del(p->timer);
}

void
part_clear(struct part *p)
{
	ask_clear(p);
	fd_close(&p->fd);
	if (p->timer != NULL)
		event_free(p->timer);
	p->timer = NULL;
}

bool
part_busy(const struct part *p)
{
	return p->ask != ASK_NONE ||
	    (p->timer != NULL && evtimer_pending(p->timer, NULL));
}

static void
on_timer(int fd, short what, void *arg)
{
	struct part *p = arg;

	(void)fd;
	(void)what;
	if (p->ask != ASK_NONE)
		part_answered(p, -ETIMEDOUT, "no answer in time");
	object_wake(&p->vm->obj);
}

static void
timer_set(struct part *p, unsigned int ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (suseconds_t)(ms % 1000) * 1000 };

	if (p->timer == NULL)
		p->timer = evtimer_new(orchd_of(p)->base, on_timer, p);
	if (p->timer == NULL || event_add(p->timer, &tv) < 0)
		log_error("vm %s: no timer", p->vm->row.name);
}

static void
pause_after(struct part *p)
{
	unsigned int ms = PAUSE_MIN_MS;

	ms <<= p->failures < 6 ? p->failures : 6;
	p->failures++;
	timer_set(p, ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : ms);
}

static void
let_go(struct part *p)
{
	p->state = PART_NONE;
	p->adopt = p->stopping = false;
	fd_close(&p->fd);
	if (p->kind->forget != NULL)
		p->kind->forget(p);
}

struct line *
part_line(const struct part *p, enum gate_id gate)
{
	const struct vm *vm = p->vm;
	struct orchd *o = orchd_of(p);

	return who_role(&o->conf, vm->request.owner) == ROLE_ADMIN
	    ? &o->host[gate]
	    : &vm->obj.tenant->line[gate];
}

void
part_ask(struct part *p, enum part_ask what)
{
	struct orchd *o = orchd_of(p);
	int r;

	/* what ends something goes before what begins, or is made good */
	if (!gate_ask(&o->gate[p->kind->gate], part_line(p, p->kind->gate),
		&p->seat, &p->vm->obj, what == ASK_STOP || what == ASK_RELEASE))
		return;
	p->ask = what;
	p->ask_id = ++o->last_ask;
	(void)RB_INSERT(part_tree, &o->asks, p);
	timer_set(p, ASK_MS);
	if (what == ASK_MAKE)
		p->listed = true; /* this life of its helper made it */
	r = p->kind->send[what](p, p->ask_id);
	if (r == -EPIPE || r == -ENOBUFS) {
		/* it died this moment or does not read: nothing came of it,
		 * and that is no fault of the VM.  Asked again, of its next
		 * life if need be. */
		ask_clear(p);
		p->stopping = false;
		pause_after(p);
	} else if (r < 0)
		part_answered(p, r, "what it boots from cannot be made");
}

static void
answered_well(struct part *p, enum part_ask what)
{
	p->failures = 0;
	switch (what) {
	case ASK_MAKE:
		if (p->state == PART_NONE)
			p->state = p->fd >= 0 ? PART_READY : PART_USED;
		return;
	case ASK_ADOPT:
		p->adopt = false;
		return;
	case ASK_RELEASE:
		let_go(p);
		return;
	case ASK_NONE:
	case ASK_STOP:
	case ASKS:
		return;
	}
}

static void
answered_badly(struct part *p, enum part_ask what, int r, const char *why)
{
	switch (what) {
	case ASK_MAKE:
		/* what came of it is not known: it is released */
		p->state = PART_STALE;
		p->failures = 0;
		p->fault = r;
		text_clean(p->why, sizeof(p->why), why);
		return;
	case ASK_ADOPT:
		if (r != -ETIMEDOUT)
			p->adopt = false; /* the VM runs on without */
		break;
	case ASK_STOP:
		p->stopping = false;
		if (r == -ENOENT)
			let_go(p);
		break;
	case ASK_RELEASE:
		if (r == p->kind->gone)
			let_go(p);
		break;
	case ASK_NONE:
	case ASKS:
		return;
	}
	pause_after(p);
}

void
part_answered(struct part *p, int r, const char *why)
{
	const enum part_ask what = p->ask;

	ask_clear(p);
	object_wake(&p->vm->obj);
	if (r == 0) {
		answered_well(p, what);
		return;
	}
	log_warn("vm %s: %s: %s (%s)", p->vm->row.name, p->kind->name, why,
	    strerrordesc_np(-r));
	answered_badly(p, what, r, why);
}

void
part_lost(struct part *p)
{
	p->listed = false;
	if (p->ask != ASK_NONE)
		ask_clear(p);
	seat_leave(&p->seat); /* all ask anew when the next has listed */
}

void
part_listed(struct part *p)
{
	if (!p->listed)
		let_go(p);
	else if (p->state == PART_NONE)
		p->state = PART_USED;
}
