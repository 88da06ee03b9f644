#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
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
	{ NULL, NULL },
};
