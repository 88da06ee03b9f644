#include <string.h>

#include "common/util.h"
#include "orchd/vm/vm_fsm.h"
#include "tests/suite/t.h"

static const enum vm_state real[] = { VM_PENDING, VM_STARTING, VM_RUNNING,
	VM_STOPPING, VM_STOPPED, VM_CRASHED, VM_DELETING, VM_BROKEN,
	VM_ORPHAN };

static int
is_real(int s)
{
	size_t i;

	for (i = 0; i < nitems(real); i++) {
		if ((int)real[i] == s)
			return 1;
	}
	return 0;
}

/* Every cell: a refusal, or a state that a VM can really be in. */
static void
test_every_cell(void)
{
	int s, ev, next;

	for (s = 0; s < VM_STATES; s++) {
		for (ev = 0; ev < EV_EVENTS; ev++) {
			next = vm_fsm_next((enum vm_state)s, (enum vm_event)ev);
			t_row(vm_fsm_state((uint32_t)s));
			if (!is_real(s))
				t_eq(next, VM_REFUSED);
			else
				t_true(next == VM_REFUSED || is_real(next));
		}
	}
	t_row("outside of the table");
	t_eq(vm_fsm_next((enum vm_state)VM_STATES, EV_START), VM_REFUSED);
	t_eq(vm_fsm_next(VM_RUNNING, EV_EVENTS), VM_REFUSED);
}

/* What users and the rest of orchd rely on, cell by cell. */
static const struct {
	const char *name;
	enum vm_state s;
	enum vm_event ev;
	int next;
} rows[] = {
	{ "a start of what runs is refused", VM_RUNNING, EV_START, VM_REFUSED },
	{ "a broken one can be deleted", VM_BROKEN, EV_DELETE, VM_DELETING },
	{ "and nothing else", VM_BROKEN, EV_START, VM_REFUSED },
	{ "not stopped", VM_BROKEN, EV_STOP, VM_REFUSED },
	{ "nor does news of its jail matter", VM_BROKEN, EV_ENDED, VM_REFUSED },
	{ "an orphan can be ended", VM_ORPHAN, EV_DELETE, VM_DELETING },
	{ "and is not stopped", VM_ORPHAN, EV_STOP, VM_REFUSED },
	{ "one that died is nobody's", VM_ORPHAN, EV_DIED, VM_DELETING },
	{ "nor is it started again", VM_ORPHAN, EV_RETRY, VM_REFUSED },
	{ "a stopped VM starts", VM_STOPPED, EV_START, VM_PENDING },
	{ "a crashed VM starts", VM_CRASHED, EV_START, VM_PENDING },
	{ "deleting cannot be stopped", VM_DELETING, EV_STOP, VM_REFUSED },
	{ "deleting cannot be started", VM_DELETING, EV_START, VM_REFUSED },
	{ "deleting outlives a death", VM_DELETING, EV_DIED, VM_DELETING },
	{ "deleting outlives a late start", VM_DELETING, EV_RUNNING,
	    VM_DELETING },
	{ "a stop before the network is there", VM_PENDING, EV_STOP,
	    VM_STOPPED },
	{ "a stop while it starts", VM_STARTING, EV_STOP, VM_STOPPING },
	{ "a death on the ladder is a stop", VM_STOPPING, EV_DIED, VM_STOPPED },
	{ "a late start on the ladder", VM_STOPPING, EV_RUNNING, VM_STOPPING },
	{ "ready only while it runs", VM_STARTING, EV_READY, VM_REFUSED },
	{ "ready", VM_RUNNING, EV_READY, VM_RUNNING },
	{ "one retry from running", VM_RUNNING, EV_RETRY, VM_PENDING },
	{ "no retry once stopped", VM_STOPPED, EV_RETRY, VM_REFUSED },
	{ "a helper's refusal", VM_PENDING, EV_FAILED, VM_CRASHED },
};

static void
test_rows(void)
{
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		t_eq(vm_fsm_next(rows[i].s, rows[i].ev), rows[i].next);
	}
}

/* Whatever happens, DELETE leads out: no state is a trap. */
static void
test_no_trap(void)
{
	size_t i;

	for (i = 0; i < nitems(real); i++) {
		t_row(vm_fsm_state(real[i]));
		t_eq(vm_fsm_next(real[i], EV_DELETE), VM_DELETING);
	}
}

static void
test_names(void)
{
	int ev;

	t_str(vm_fsm_state(VM_RUNNING), "running");
	t_str(vm_fsm_state(VM_STATES), "?");
	for (ev = 0; ev < EV_EVENTS; ev++)
		t_true(strcmp(vm_fsm_event((uint32_t)ev), "?") != 0);
	t_str(vm_fsm_event(EV_EVENTS), "?");
}

const struct t_case t_cases[] = { { "every cell", test_every_cell },
	{ "rows", test_rows }, { "no state is a trap", test_no_trap },
	{ "names", test_names }, { NULL, NULL } };
