#include <errno.h>
#include <event2/event.h>

#include "common/clock.h"
#include "common/log.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/vm/vm.h"
#include "orchd/vm/vm_step.h"

/* Volant's event of a step, or -1: that step is nobody's news. */
static int
step_news(enum vm_state to, enum vm_event ev)
{
	if (ev == EV_RUNNING && to == VM_RUNNING)
		return EVENT_VM_RUNNING;
	if (ev == EV_READY && to == VM_RUNNING)
		return EVENT_VM_READY;
	if (to == VM_STOPPED)
		return EVENT_VM_STOPPED;
	if (to == VM_CRASHED)
		return EVENT_VM_CRASHED;
	return -1;
}

/* The next state, or VM_REFUSED; the event of that step in *news. */
static int
step_find(const struct vm *vm, enum vm_event ev, int *news)
{
	const enum vm_state from = (enum vm_state)vm->row.state;
	const int to = vm_fsm_next(from, ev);

	if (to == VM_REFUSED) {
		log_debug("vm %s: %s refused while %s", vm->row.name,
		    vm_fsm_event(ev), vm_fsm_state(from));
		return to;
	}
	/* facts that come again, with a new launchd, are no news */
	*news =
	    (enum vm_state)to != from || (ev == EV_READY && !vm->row.told_ready)
	    ? step_news((enum vm_state)to, ev)
	    : -1;
	return to;
}

static void
step_to(struct vm *vm, int to, enum vm_event ev, int news, const char *why)
{
	log_info("vm %s: %s -> %s (%s)", vm->row.name,
	    vm_fsm_state(vm->row.state), vm_fsm_state((uint32_t)to),
	    why != NULL ? why : vm->row.detail);
	if (vm->deadline != NULL && vm->row.state != (uint32_t)to)
		(void)evtimer_del(vm->deadline);
	/* that stop's own time is over with it */
	if (vm->row.state == VM_STOPPING && to != VM_STOPPING)
		vm->grace = (struct vm_grace){ 0 };
	vm->row.state = (uint32_t)to;
	vm->row.updated_ns = clock_wall_ns();
	vm->row.told_ready =
	    to == VM_RUNNING && (ev == EV_READY || vm->row.told_ready);
	if (news >= 0)
		write_note(&vm->obj, (uint8_t)news, vm->row.state, why);
}

int
vm_step(struct vm *vm, enum vm_event ev, const char *why)
{
	int news = -1;
	const int to = step_find(vm, ev, &news);

	if (to == VM_REFUSED)
		return -EPERM;
	if ((uint32_t)to == vm->row.state && news < 0)
		return 0; /* told twice, or late: nothing to write */
	step_to(vm, to, ev, news, why);
	write_fact(&vm->obj);
	return 0;
}

uint32_t
vm_step_waits(enum wait_for what)
{
	switch (what) {
	case FOR_RUNNING:
		return WAITS(FOR_RUNNING) | WAITS(FOR_RUNNING_AGAIN);
	case FOR_STOPPED:
		return WAITS(FOR_STOPPED) | WAITS(FOR_STOPPED_AGAIN);
	case FOR_RENAMED:
		return WAITS(FOR_RENAMED) | WAITS(FOR_RENAMED_AGAIN);
	case FOR_GONE: /* a retry waits for that, too */
	case FOR_RUNNING_AGAIN:
	case FOR_STOPPED_AGAIN:
	case FOR_RENAMED_AGAIN:
	case FOR_ADOPTED:
		break;
	}
	return WAITS(what);
}

int
vm_step_asked(struct vm *vm, enum vm_event ev, const char *why,
    enum wait_for what, struct idem_row *key)
{
	int news = -1, r;
	const int to = step_find(vm, ev, &news);

	if (to == VM_REFUSED)
		return -EPERM;
	key->vm = vm->row.vmid;
	if ((r = write_ask(&vm->obj, vm_step_waits(what), key)) < 0)
		return r;
	if (ev == EV_START) {
		vm->row.reason = EXIT_NONE;
		vm->row.exit_status = 0;
		vm->row.detail[0] = '\0';
	}
	step_to(vm, to, ev, news, why);
	return 0;
}
