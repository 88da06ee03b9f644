#include <event2/event.h>

#include "common/log.h"
#include "common/util.h"
#include "orchd/orchd.h"
#include "orchd/vm/temporary.h"
#include "orchd/vm/vm.h"
#include "orchd/who.h"

static struct share_who
owner(const struct vm *vm)
{
	return who_shares(
	    &vm->obj.orchd->conf, vm->request.owner, vm->obj.tenant->row.id);
}

int
temporary_count(struct vm *vm)
{
	int r = share_take(&vm->obj.orchd->temporaries, owner(vm), 1);

	vm->temp.is_counted = r == 0;
	return RULE(TEMPORARY_SHARE) || r != -EBUSY ? r : 0;
}

void
temporary_clear(struct vm *vm)
{
	if (vm->temp.is_counted)
		share_give(&vm->obj.orchd->temporaries, owner(vm), 1);
	vm->temp.is_counted = false;
	if (vm->temp.timer != NULL)
		event_free(vm->temp.timer);
	vm->temp.timer = NULL;
}

void
temporary_hold(struct vm *vm)
{
	vm->temp.nholds++;
	object_wake(&vm->obj);
}

void
temporary_let_go(struct vm *vm, unsigned int n)
{
	struct temporary *t = &vm->temp;

	if (n == 0)
		return;
	t->nholds -= n < t->nholds ? n : t->nholds;
	t->phase = TEMP_NONE;
	object_wake(&vm->obj);
}

void
temporary_anew(struct vm *vm)
{
	vm->temp.phase = TEMP_NONE;
	object_wake(&vm->obj);
}

static enum temporary_phase
phase_of(const struct vm *vm)
{
	switch ((enum vm_state)vm->row.state) {
	case VM_STOPPED:
	case VM_CRASHED:
		return TEMP_ENDED;
	case VM_RUNNING:
		if (vm->temp.nholds > 0)
			return TEMP_HELD;
		return vm->row.told_ready ? TEMP_IDLE : TEMP_COMING;
	case VM_PENDING:
		/* the deadline of its start is of its start */
		return vm->seat.state == SEAT_WAITS ? TEMP_HELD : TEMP_COMING;
	case VM_STARTING:
	case VM_STOPPING:
		return TEMP_COMING;
	case VM_DELETING:
	case VM_BROKEN:
	case VM_ORPHAN:
	case VM_STATES:
		break;
	}
	return TEMP_HELD; /* it goes, or nobody may touch it */
}

static uint64_t
phase_ms(const struct vm *vm, enum temporary_phase p)
{
	const uint64_t ms = vm->obj.orchd->conf.temporary_ms;

	if (p == TEMP_ENDED && ms > TEMPORARY_ENDED_MS)
		return TEMPORARY_ENDED_MS;
	/* beyond what anybody waits for it */
	return p == TEMP_COMING
	    ? ms + vm->obj.kind->patience_ms(&vm->obj, FOR_STOPPED)
	    : ms;
}

static void
on_timer(int fd, short what, void *arg)
{
	struct vm *vm = arg;

	(void)fd;
	(void)what;
	vm->temp.is_late = true;
	object_wake(&vm->obj);
}

static void
enter(struct vm *vm, enum temporary_phase p)
{
	struct temporary *t = &vm->temp;
	const uint64_t ms = phase_ms(vm, p);
	const struct timeval tv = { .tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000) * 1000 };

	t->is_late = false;
	t->phase = p;
	t->state = vm->row.state;
	if (t->timer == NULL)
		t->timer = evtimer_new(vm->obj.orchd->base, on_timer, vm);
	if (t->timer != NULL)
		(void)evtimer_del(t->timer);
	if (p == TEMP_HELD)
		return;
	if (t->timer == NULL || event_add(t->timer, &tv) < 0) {
		log_error("vm %s: no timer", vm->row.name);
		t->phase = TEMP_NONE; /* again when it is woken */
	}
}

const char *
temporary_is_over(struct vm *vm)
{
	enum temporary_phase p;

	if (!vm->request.temporary || !RULE(TEMPORARY))
		return NULL;
	p = phase_of(vm);
	if (p != vm->temp.phase || vm->row.state != vm->temp.state)
		enter(vm, p);
	if (!vm->temp.is_late || p == TEMP_HELD)
		return NULL;
	return p == TEMP_ENDED ? "temporary, and it has ended"
			       : "temporary, and nobody uses it";
}
