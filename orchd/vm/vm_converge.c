#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "common/log.h"
#include "common/util.h"
#include "orchd/link/link.h"
#include "orchd/link/link_launch.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/text.h"
#include "orchd/vm/part.h"
#include "orchd/vm/vm.h"
#include "orchd/vm/vm_converge.h"
#include "orchd/vm/vm_step.h"

/*
 * Wanted against observed, from the turn alone: what was heard becomes a
 * step, else one part is asked for that is missing or too much.  Nothing is
 * remembered between two calls but what stands in the VM, and every request
 * to a helper may be repeated, so nothing that dies in between, here or
 * there, can leave a VM half done.
 */

/* Beyond what launchd's own deadlines add up to. */
#define DEADLINE_MARGIN_MS 10000

/* --- what was heard --- */

static void
failed(struct vm *vm, const char *why)
{
	vm->row.reason = EXIT_START_FAILED;
	text_clean(vm->row.detail, sizeof(vm->row.detail), why);
	(void)vm_step(vm, EV_FAILED, NULL);
}

/* Nobody saw how it ended. */
static void
died_unseen(struct vm *vm)
{
	vm->run.pid = 0;
	vm->run.ready = false;
	vm->row.reason = EXIT_NONE;
	text_clean(vm->row.detail, sizeof(vm->row.detail),
	    vm_life(vm)->state == PART_STALE && !vm->run.traceless
		? "ended while nobody watched"
		: "was gone after a restart of the host");
	(void)vm_step(vm, EV_DIED, NULL);
}

/* What a helper would not, or could not, do. */
static void
tell_trail(struct vm *vm, const char *room, int fault, const char *why)
{
	struct audit_note *n = audit_fact(vm->obj.tenant, "vm-start",
	    fault == -EPERM || fault == -EACCES ? TRAIL_REFUSED : TRAIL_FAILED,
	    room, why);

	if (n != NULL)
		audit_about(n, vm->row.name, vm->row.vmid);
	write_audit(&vm->obj, n);
}

static void
ended(struct vm *vm)
{
	const uint32_t reason = vm->run.end.reason;
	const bool clean = reason == EXIT_GUEST_OFF ||
	    reason == EXIT_GUEST_REBOOT || reason == EXIT_STOPPED;

	vm->row.reason = reason;
	vm->row.exit_status = vm->run.end.status;
	memcpy(vm->row.detail, vm->run.end.detail, sizeof(vm->row.detail));
	/* emulation on a loaded host may hang before the agent comes up */
	if (reason == EXIT_NO_AGENT && vm->run.accel == ACCEL_TCG &&
	    !vm->retried && vm_step(vm, EV_RETRY, NULL) == 0) {
		vm->retried = true;
		return;
	}
	if (reason == EXIT_START_FAILED)
		tell_trail(vm, "launchd", 0, vm->row.detail);
	(void)vm_step(vm, clean ? EV_ENDED : EV_DIED, NULL);
}

static bool
is_up(const struct vm *vm)
{
	const enum vm_state s = (enum vm_state)vm->row.state;

	return s == VM_STARTING || s == VM_RUNNING || s == VM_STOPPING;
}

/* The part that cannot be made, if a VM that is to run has one. */
static void
tell_fault(struct vm *vm)
{
	struct part *p, *bad = NULL;
	unsigned int i;
	int fault = 0;

	for (i = 0; i < vm->nparts; i++) {
		p = &vm->part[i];
		if (p->fault != 0) {
			bad = p;
			fault = p->fault;
		}
		p->fault = 0;
	}
	if (bad == NULL || (!is_up(vm) && vm->row.state != VM_PENDING))
		return;
	tell_trail(vm, bad->kind->link == LINK_NET ? "netd" : "launchd", fault,
	    bad->why);
	failed(vm, bad->why);
}

/* The end of its life, as far as that is news in the state it is in. */
static void
tell_end(struct vm *vm)
{
	const enum part_state life = vm_life(vm)->state;
	const bool heard = vm->run.end.heard;

	vm->run.end.heard = false;
	if (life == PART_USED || life == PART_READY || !is_up(vm))
		return;
	/* what nobody told is known only when all have listed what they hold */
	if (!heard && !link_all_listed(vm->obj.orchd))
		return;
	if (vm->row.state == VM_STARTING) {
		/* a start that the list told to be over is made again:
		 * launchd, or we, may have died in the middle of it */
		if (heard && !vm->run.end.late)
			ended(vm);
	} else if (heard && !vm->run.traceless)
		ended(vm);
	else if (vm->row.state == VM_RUNNING)
		died_unseen(vm);
	else
		(void)vm_step(vm, EV_ENDED, "stopped");
}

/* Facts become steps, in the order in which they come about. */
static void
tell_facts(struct vm *vm)
{
	if (vm->run.ran && vm->row.state == VM_STARTING)
		(void)vm_step(vm, EV_RUNNING, "vm running");
	if (vm->run.was_ready && vm->row.state == VM_RUNNING &&
	    !vm->row.told_ready) {
		vm->retried = false;
		(void)vm_step(vm, EV_READY, "vm ready");
	}
	tell_fault(vm);
	tell_end(vm);
}

/* --- what is missing, what is too much --- */

static void deadline_set(struct vm *vm, uint64_t ms);

/* launchd has deadlines of its own for these; this is for one that forgets. */
static void
on_deadline(int fd, short what, void *arg)
{
	struct vm *vm = arg;
	struct part *life = vm_life(vm);

	(void)fd;
	(void)what;
	if (vm->row.state == VM_RUNNING) {
		seat_leave(&vm->seat); /* it comes, but too late for others */
		return;
	}
	if (!vm->obj.orchd->link[life->kind->link].listed) {
		deadline_set(vm, 0); /* it is not there to say anything */
		return;
	}
	log_warn("vm %s: launchd never said what came of it", vm->row.name);
	life->state = PART_STALE; /* released, that is killed, next */
	if (vm->row.state == VM_STARTING) {
		life->fault = -ETIMEDOUT;
		text_clean(life->why, sizeof(life->why),
		    "the launcher never said what came of it");
	}
	object_wake(&vm->obj);
}

static void
deadline_set(struct vm *vm, uint64_t ms)
{
	struct timeval tv;

	ms += DEADLINE_MARGIN_MS;
	tv.tv_sec = (time_t)(ms / 1000);
	tv.tv_usec = (suseconds_t)(ms % 1000) * 1000;
	if (vm->deadline == NULL)
		vm->deadline =
		    evtimer_new(vm->obj.orchd->base, on_deadline, vm);
	if (vm->deadline == NULL ||
	    (!evtimer_pending(vm->deadline, NULL) &&
		event_add(vm->deadline, &tv) < 0))
		log_error("vm %s: no timer", vm->row.name);
}

/* What is left of an earlier run goes first, and may take its time. */
static void
clear_up(struct vm *vm, struct part *p)
{
	seat_leave(&vm->seat);
	part_ask(p, ASK_RELEASE);
}

/* A start has its turn, from its first part till it is ready: so long a guest
 * that boots takes from the others. */
static bool
may_start(struct vm *vm)
{
	return gate_ask(&vm->obj.orchd->gate[GATE_START],
	    part_line(vm_life(vm), GATE_START), &vm->seat, &vm->obj, false);
}

/* One part after the other, each when those before it are there. */
static void
walk_up(struct vm *vm)
{
	struct part *p;

	for (p = vm->part; p < vm->part + vm->nparts; p++) {
		if (part_busy(p))
			return;
		/* what came with it an earlier run took along */
		if (p->state == PART_USED)
			p->state = PART_STALE;
		if (p->state == PART_STALE) {
			clear_up(vm, p);
			return;
		}
		if (p->state == PART_READY)
			continue;
		if (!may_start(vm))
			return;
		if (p->kind->is_life && vm->row.state == VM_PENDING)
			(void)vm_step(vm, EV_NET_READY, "network ready");
		else
			part_ask(p, ASK_MAKE);
		return;
	}
}

static void
start(struct vm *vm)
{
	struct part *life = vm_life(vm);

	if (part_busy(life))
		return;
	if (life->state == PART_NONE)
		walk_up(vm);
	else if (life->state == PART_STALE || vm->row.state == VM_PENDING)
		clear_up(vm, life);
	else { /* launchd tells what becomes of it */
		gate_hold(&vm->obj.orchd->gate[GATE_START],
		    part_line(vm_life(vm), GATE_START), &vm->seat);
		deadline_set(vm, vm->obj.orchd->conf.ready_ms);
	}
}

static void
stop(struct vm *vm)
{
	struct part *life = vm_life(vm);

	if (part_busy(life))
		return;
	if (!life->stopping)
		part_ask(life, ASK_STOP);
	else
		deadline_set(vm, vm_stop_ms(vm));
}

/* What a new life of a helper holds of a VM that runs is made good. */
static void
adopt(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->nparts; i++) {
		if (vm->part[i].adopt && !part_busy(&vm->part[i]))
			part_ask(&vm->part[i], ASK_ADOPT);
	}
}

/* Gives back what a VM that does not run still holds, in the order opposite
 * to that of its making; true: all is. */
static bool
walk_down(struct vm *vm)
{
	struct part *p;
	unsigned int i;

	for (i = vm->nparts; i-- > 0;) {
		p = &vm->part[i];
		if (part_busy(p))
			return false;
		if (p->state != PART_NONE) {
			part_ask(p, ASK_RELEASE);
			return false;
		}
	}
	return true;
}

/* Its guest boots, or is about to. */
static bool
is_coming(const struct vm *vm)
{
	return vm->row.state == VM_PENDING || vm->row.state == VM_STARTING ||
	    (vm->row.state == VM_RUNNING && !vm->row.told_ready &&
		!vm->run.unknown);
}

void
vm_give_back(struct vm *vm)
{
	unsigned int i;

	if (!is_coming(vm)) {
		if (vm->row.state == VM_RUNNING && vm->deadline != NULL)
			(void)evtimer_del(vm->deadline);
		seat_leave(&vm->seat);
	}
	seat_settle(&vm->seat);
	for (i = 0; i < vm->nparts; i++)
		seat_settle(&vm->part[i].seat);
}

static void
ask(struct vm *vm)
{
	struct object *obj = &vm->obj;

	if (vm->row.state == VM_ORPHAN) {
		if (orphan_stays(vm) && !vm->broken.has_slot)
			adopt(vm);
		return;
	}
	if (vm->run.need_spec && vm->row.state != VM_BROKEN) {
		vm->run.need_spec = false;
		link_launch_spec(vm);
	}
	switch ((enum vm_state)vm->row.state) {
	case VM_PENDING:
	case VM_STARTING:
		start(vm);
		return;
	case VM_RUNNING:
		if (vm->seat.state == SEAT_TAKEN)
			deadline_set(vm, obj->orchd->conf.ready_ms);
		adopt(vm);
		return;
	case VM_STOPPING:
		stop(vm);
		return;
	case VM_STOPPED:
	case VM_CRASHED:
		(void)walk_down(vm);
		return;
	case VM_DELETING:
		if (walk_down(vm)) {
			if (!vm->orphan.is) /* of which nobody was told */
				write_note(obj, EVENT_VM_DELETED, VM_STOPPED,
				    "vm deleted");
			write_del(obj, WAITS(FOR_GONE));
		}
		return;
	case VM_BROKEN:
	case VM_ORPHAN:
	case VM_STATES:
		return;
	}
}

void
vm_converge(struct object *obj)
{
	struct vm *vm = (struct vm *)obj;
	const char *over;

	tell_facts(vm);
	if ((over = temporary_is_over(vm)) != NULL)
		(void)vm_step(vm, EV_DELETE, over);
	/* on the disk first; and nothing is asked in the dark */
	if (!obj->open.dirty && link_all_listed(obj->orchd))
		ask(vm);
	vm_give_back(vm);
}
