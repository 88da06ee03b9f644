#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "orchd/vm/vm_converge.h"
#include "orchd/vm/vm_step.h"
#include "tests/orchd/vm_played.h"
#include "tests/suite/t.h"

/* What a VM asks for in which state. */

static void
test_up_and_down(void)
{
	begin(VM_PENDING);
	ASKS("make:tap");
	answer(0, 0);
	ASKS("make:disk");
	answer(1, 0);
	ASKS("make:jail"); /* and STARTING is on the disk before */
	t_eq(vm->row.state, VM_STARTING);
	answer(2, 0);
	ASKS("");
	vm->run.ran = vm->run.ready = vm->run.was_ready =
	    true; /* both in one turn */
	ASKS("event:VM_RUNNING event:VM_READY");
	t_eq(vm->row.state, VM_RUNNING);
	ASKS("");
	t_eq(vm_step(vm, EV_STOP, "stop"), 0);
	ASKS("stop:jail");
	answer(2, 0);
	ASKS("");
	vm->part[2].state = PART_STALE;
	vm->run.end.heard = true;
	vm->run.end.reason = EXIT_STOPPED;
	ASKS("event:VM_STOPPED release:jail");
	answer(2, 0);
	ASKS("release:disk");
	answer(1, 0);
	ASKS("release:tap");
	answer(0, 0);
	ASKS("");
	t_eq(vm_step(vm, EV_DELETE, "delete"), 0);
	ASKS("delete event:VM_DELETED");
	t_eq(vm->obj.life, OBJECT_GONE);
	end();
}

static void
test_made_badly(void)
{
	begin(VM_PENDING);
	ASKS("make:tap");
	answer(0, 0);
	ASKS("make:disk");
	answer(1, -EIO);
	/* what came of it is not known: it is released as the other is */
	ASKS("event:VM_CRASHED release:disk");
	t_str(vm->row.detail, "because");
	t_eq(vm->row.reason, EXIT_START_FAILED);
	answer(1, 0);
	ASKS("release:tap");
	answer(0, -EIO); /* after a pause */
	ASKS("");
	(void)evtimer_del(vm->part[0].timer);
	ASKS("release:tap");
	answer(0, -EPERM); /* another's by now */
	(void)evtimer_del(vm->part[0].timer);
	ASKS("");
	t_eq(vm->part[0].state, PART_NONE);
	end();
}

/* It is not there to read it: no fault of the VM, and asked again. */
static void
test_not_sent(void)
{
	begin(VM_PENDING);
	refuse = -EPIPE;
	ASKS("make:tap");
	refuse = 0;
	(void)evtimer_del(vm->part[0].timer);
	ASKS("make:tap");
	t_eq(vm->row.state, VM_PENDING);
	end();
}

/* Nothing is asked while a helper has not told what it holds, and what was
 * heard is followed nonetheless. */
static void
test_in_the_dark(void)
{
	begin(VM_RUNNING);
	listed = false;
	ASKS("");
	vm->part[2].state = PART_USED;
	ASKS("");
	vm->part[2].state = PART_STALE;
	vm->run.end.heard = true;
	ASKS("event:VM_CRASHED");
	listed = true;
	ASKS("release:jail");
	end();
}

/* What a run of before took along is made anew. */
static void
test_stale(void)
{
	begin(VM_PENDING);
	vm->part[0].state = vm->part[1].state = PART_USED;
	vm->part[2].state = PART_USED;
	ASKS("release:jail");
	answer(2, 0);
	ASKS("release:tap");
	answer(0, 0);
	ASKS("make:tap");
	answer(0, 0);
	ASKS("release:disk");
	end();
}

static const struct {
	const char *name;
	enum vm_state s;
	enum part_state life;
	bool heard, late;
	enum vm_state then;
	const char *asks;
} ends[] = {
	{ "a start that ended", VM_STARTING, PART_STALE, true, false,
	    VM_CRASHED, "event:VM_CRASHED release:jail" },
	{ "a start that the list told to be over is made again", VM_STARTING,
	    PART_STALE, true, true, VM_STARTING, "release:jail" },
	{ "and one of which nothing is known", VM_STARTING, PART_STALE, false,
	    false, VM_STARTING, "release:jail" },
	{ "a run that ended", VM_RUNNING, PART_STALE, true, false, VM_CRASHED,
	    "event:VM_CRASHED release:jail" },
	{ "a run that ended while nobody listened", VM_RUNNING, PART_STALE,
	    true, true, VM_CRASHED, "event:VM_CRASHED release:jail" },
	{ "a run that nobody saw the end of", VM_RUNNING, PART_NONE, false,
	    false, VM_CRASHED, "event:VM_CRASHED" },
	{ "a stop that came to its end", VM_STOPPING, PART_NONE, false, false,
	    VM_STOPPED, "event:VM_STOPPED" },
	{ "a run that nobody wants", VM_STOPPED, PART_USED, false, false,
	    VM_STOPPED, "release:jail" },
	{ "the end of what is stopped is no news", VM_STOPPED, PART_STALE, true,
	    false, VM_STOPPED, "release:jail" },
};

static void
test_ends(void)
{
	size_t i;

	for (i = 0; i < nitems(ends); i++) {
		t_row(ends[i].name);
		begin(ends[i].s);
		vm->part[2].state = ends[i].life;
		vm->run.end.heard = ends[i].heard;
		vm->run.end.late = ends[i].late;
		vm->run.end.reason = EXIT_KILLED;
		ASKS(ends[i].asks);
		t_eq(vm->row.state, ends[i].then);
		end();
	}
}

static void
test_adopt(void)
{
	begin(VM_RUNNING);
	vm->part[0].state = vm->part[1].state = vm->part[2].state = PART_USED;
	vm->part[0].adopt = vm->part[1].adopt = true;
	ASKS("adopt:tap adopt:disk");
	answer(0, 0);
	answer(1, -ENOENT); /* it runs on without */
	(void)evtimer_del(vm->part[1].timer);
	ASKS("");
	/* and its stop does not wait for them */
	vm->part[0].adopt = true;
	ASKS("adopt:tap");
	t_eq(vm_step(vm, EV_STOP, "stop"), 0);
	ASKS("stop:jail");
	end();
}

static void
test_retry(void)
{
	begin(VM_STARTING);
	vm->part[2].state = PART_STALE;
	vm->run.accel = ACCEL_TCG;
	vm->run.end.heard = true;
	vm->run.end.reason = EXIT_NO_AGENT;
	ASKS("release:jail");
	t_eq(vm->row.state, VM_PENDING);
	t_true(vm->retried);
	end();
}

static void
test_index(void)
{
	static const struct part_kind *const two[] = { &kinds[0], &kinds[1],
		&kinds[0], &kinds[2] };
	struct vm *other;

	begin(VM_STOPPED);
	if ((other = vm_new(&o, &kind, two, nitems(two))) == NULL)
		abort();
	t_eq(other->part[0].index, 0);
	t_eq(other->part[1].index, 0);
	t_eq(other->part[2].index, 1);
	t_true(vm_life(other) == &other->part[3]);
	vm_free(other);
	end();
}

/* All places of a gate but those for others are somebody's. */
static struct seat others[GATE_LAUNCH_MAX];

static void
fill(enum gate_id gate)
{
	unsigned int i;

	memset(others, 0, sizeof(others));
	for (i = 0; i < o.gate[gate].total; i++)
		gate_hold(&o.gate[gate], &o.host[gate], &others[i]);
}

static void
drain(void)
{
	unsigned int i;

	for (i = 0; i < nitems(others); i++)
		seat_leave(&others[i]);
}

/* It waits for its turn, is woken when that comes, and asks then. */
static void
test_turn(void)
{
	begin(VM_PENDING);
	fill(GATE_START);
	ASKS("");
	t_eq(vm->seat.state, SEAT_WAITS);
	t_true(!part_busy(&vm->part[0]));
	drain();
	t_true(vm->obj.woken);
	t_eq(vm->seat.state, SEAT_GIVEN);
	fill(GATE_NET); /* and next for the helper */
	ASKS("");
	t_eq(vm->seat.state, SEAT_TAKEN);
	t_eq(vm->part[0].seat.state, SEAT_WAITS);
	object_clear(&vm->obj);
	drain();
	t_true(vm->obj.woken);
	ASKS("make:tap");
	t_eq(o.gate[GATE_NET].taken, 1);
	answer(0, 0);
	t_eq(o.gate[GATE_NET].taken, 0); /* with the answer */
	ASKS("make:disk");
	answer(1, 0);
	ASKS("make:jail");
	answer(2, 0);
	vm->run.ran = true;
	ASKS("event:VM_RUNNING");
	t_eq(o.gate[GATE_START].taken, 1); /* its guest boots */
	vm->run.was_ready = vm->run.ready = true;
	ASKS("event:VM_READY");
	t_eq(o.gate[GATE_START].taken, 0);
	end();
}

/* What it does not want any more it does not wait for. */
static void
test_turn_lost(void)
{
	begin(VM_PENDING);
	fill(GATE_START);
	ASKS("");
	t_eq(vm_step(vm, EV_STOP, "stop"), 0);
	ASKS("event:VM_STOPPED");
	t_eq(vm->seat.state, SEAT_NONE);
	drain();
	t_eq(o.gate[GATE_START].taken, 0);
	vm->row.state = VM_PENDING;
	fill(GATE_NET);
	ASKS("");
	t_eq(vm->part[0].seat.state, SEAT_WAITS);
	listed = false; /* nothing is asked in the dark */
	drain();
	ASKS("");
	t_eq(vm->part[0].seat.state, SEAT_NONE);
	listed = true;
	ASKS("make:tap");
	part_lost(&vm->part[0]); /* its helper is gone, with the question */
	t_eq(o.gate[GATE_NET].taken, 0);
	ASKS("make:tap");
	refuse = -EPIPE;
	answer(0, -EIO);
	ASKS("event:VM_CRASHED release:tap");
	t_eq(o.gate[GATE_NET].taken, 0); /* it was not sent */
	t_eq(o.gate[GATE_START].taken, 0);
	end();
}

/* What waits for the disk lets others go first. */
static void
test_turn_unsettled(void)
{
	begin(VM_PENDING);
	fill(GATE_START);
	ASKS("");
	drain();
	t_eq(vm->seat.state, SEAT_GIVEN);
	vm_give_back(vm);
	t_eq(vm->seat.state, SEAT_NONE);
	t_eq(o.gate[GATE_START].taken, 0);
	ASKS("make:tap");
	end();
}

/* A release of what an earlier run left may take its time: no start waits. */
static void
test_turn_stale(void)
{
	begin(VM_PENDING);
	vm->part[0].state = PART_USED;
	ASKS("release:tap");
	t_eq(o.gate[GATE_START].taken, 0);
	answer(0, 0);
	ASKS("make:tap");
	t_eq(o.gate[GATE_START].taken, 1);
	end();
	begin(VM_STARTING); /* one that orchd found under way counts */
	vm->part[2].state = PART_USED;
	ASKS("");
	t_eq(o.gate[GATE_START].taken, 1);
	vm->run.end.heard = true;
	vm->run.end.reason = EXIT_NO_AGENT;
	vm->run.accel = ACCEL_TCG;
	vm->part[2].state = PART_STALE;
	ASKS("release:jail"); /* and starts again, behind the others */
	t_eq(o.gate[GATE_START].taken, 0);
	end();
}

/* A guest that never gets ready delays others no longer than its start may
 * take. */
static void
test_turn_late(void)
{
	begin(VM_STARTING);
	vm->part[2].state = PART_USED;
	vm->run.ran = true;
	ASKS("event:VM_RUNNING");
	gate_hold(&o.gate[GATE_START], &o.host[GATE_START], &vm->seat);
	o.conf.ready_ms = 20000;
	ASKS("");
	t_true(evtimer_pending(vm->deadline, NULL));
	t_eq(ev.added.tv_sec, 30);
	ev_expire(o.base, vm->deadline);
	t_eq(o.gate[GATE_START].taken, 0);
	t_eq(vm->row.state, VM_RUNNING);
	ASKS("");
	end();
	begin(VM_STARTING); /* one that comes in time has no deadline left */
	vm->part[2].state = PART_USED;
	ASKS("");
	vm->run.ran = true;
	ASKS("event:VM_RUNNING");
	t_true(evtimer_pending(vm->deadline, NULL));
	vm->run.was_ready = vm->run.ready = true;
	ASKS("event:VM_READY");
	t_true(!evtimer_pending(vm->deadline, NULL));
	end();
}

/* What ends something goes before starts. */
static void
test_turn_first(void)
{
	struct vm *other;
	unsigned int i;

	begin(VM_PENDING);
	fill(GATE_NET);
	ASKS("");
	t_true(!vm->part[0].seat.first);
	if ((other = vm_new(&o, &kind,
		 (const struct part_kind *const[]){ &kinds[0], &kinds[2] },
		 2)) == NULL)
		abort();
	other->obj.tenant = vm->obj.tenant;
	other->obj.life = OBJECT_STORED;
	other->row.state = VM_STOPPED;
	other->part[0].state = PART_USED;
	vm_converge(&other->obj);
	t_true(other->part[0].seat.first);
	t_eq(other->part[0].seat.state, SEAT_WAITS);
	for (i = 0; i < nitems(others) && !other->obj.woken; i++)
		seat_leave(&others[i]);
	t_eq(other->part[0].seat.state, SEAT_GIVEN);
	t_eq(vm->part[0].seat.state, SEAT_WAITS);
	drain();
	vm_free(other);
	end();
}

/* One that no row knows is made good, and asked for nothing else; one that a
 * row stands in the way of not even that. */
static void
test_orphan(void)
{
	unsigned int how;

	for (how = 0; how < 2; how++) {
		begin(VM_ORPHAN);
		o.conf.orphan_ms = 60000;
		vm->broken.has_slot = how == 1;
		vm->part[0].state = vm->part[2].state = PART_USED;
		vm->part[0].adopt = true;
		ASKS(how == 0 ? "adopt:tap" : "");
		t_eq(vm->row.state, VM_ORPHAN);
		end();
	}
	begin(VM_ORPHAN); /* and one that does not run is none */
	o.conf.orphan_ms = 60000;
	vm->part[0].state = PART_USED;
	vm->part[0].adopt = true;
	turns();
	t_true(strstr(asked, "adopt") == NULL);
	end();
}

/* Whose turn came and who did not take it leaves his place, whichever part. */
static void
test_settles(void)
{
	unsigned int i;

	for (i = 0; i < 3; i++) {
		begin(VM_STOPPED);
		t_true(gate_ask(&o.gate[GATE_NET], &o.host[GATE_NET],
		    &vm->part[i].seat, &vm->obj, false));
		vm->part[i].seat.state = SEAT_GIVEN;
		vm->part[i].seat.asked = false;
		vm_give_back(vm);
		t_eq(vm->part[i].seat.state, SEAT_NONE);
		t_eq(o.gate[GATE_NET].taken, 0);
		end();
	}
}

const struct t_case t_cases[] = {
	{ "up, part by part, and down", test_up_and_down },
	{ "a part that cannot be made", test_made_badly },
	{ "a question that is not sent", test_not_sent },
	{ "in the dark", test_in_the_dark },
	{ "parts of an earlier run", test_stale },
	{ "ends", test_ends },
	{ "what a new helper holds", test_adopt },
	{ "the one retry of emulation", test_retry },
	{ "two parts of one kind", test_index },
	{ "its turn", test_turn },
	{ "a turn that it does not need", test_turn_lost },
	{ "a turn while it is not on the disk", test_turn_unsettled },
	{ "a turn, and what an earlier run left", test_turn_stale },
	{ "a start that takes too long for the others", test_turn_late },
	{ "what goes first", test_turn_first },
	{ "an orphan", test_orphan },
	{ "places are given back", test_settles },
	{ NULL, NULL },
};
