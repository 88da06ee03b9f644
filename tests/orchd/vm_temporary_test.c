#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "common/util.h"
#include "orchd/object/object.h"
#include "tests/orchd/vm_played.h"
#include "tests/suite/t.h"

/* VMs that go when nobody uses them. */

/* Seconds until it is removed, or -1. */
static int
left_s(void)
{
	struct timeval now, at, left;

	turns();
	if (vm->temp.timer == NULL || !evtimer_pending(vm->temp.timer, &at))
		return -1;
	(void)event_base_gettimeofday_cached(o.base, &now);
	evutil_timersub(&at, &now, &left);
	return (int)(left.tv_sec + (left.tv_usec >= 500000));
}

static void
begin_temporary(enum vm_state s, bool ready)
{
	begin(s);
	o.conf.temporary_ms = 100000;
	vm->request.temporary = true;
	vm->row.told_ready = ready;
	listed = false; /* nothing is asked of helpers */
}

static void
test_temporary(void)
{
	static const struct {
		enum vm_state state;
		bool ready;
		int want;
	} rows[] = {
		{ VM_PENDING, false, 600 },
		{ VM_STARTING, false, 600 },
		{ VM_RUNNING, false, 600 },
		{ VM_RUNNING, true, 100 },
		{ VM_STOPPING, false, 600 },
		{ VM_STOPPED, false, 10 },
		{ VM_CRASHED, false, 10 },
		{ VM_DELETING, false, -1 },
		{ VM_BROKEN, false, -1 },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(vm_fsm_state(rows[i].state));
		begin_temporary(rows[i].state, rows[i].ready);
		t_eq(left_s(), rows[i].want);
		vm->temp.is_late = true;
		turns();
		t_eq(vm->row.state,
		    rows[i].want < 0 ? rows[i].state : VM_DELETING);
		end();
		begin_temporary(rows[i].state, rows[i].ready);
		vm->request.temporary = false;
		t_eq(left_s(), -1);
		end();
	}
}

/* Behind other starts it has no deadline: that of its start begins with its
 * turn. */
static void
test_turn(void)
{
	struct seat others[8];
	unsigned int i;

	memset(others, 0, sizeof(others));
	begin_temporary(VM_PENDING, false);
	listed = true;
	gate_init(&o.gate[GATE_START], nitems(others));
	for (i = 0; i < nitems(others); i++)
		gate_hold(&o.gate[GATE_START], &o.host[GATE_START], &others[i]);
	turns();
	t_eq(vm->seat.state, SEAT_WAITS);
	t_eq(left_s(), -1);
	vm->temp.is_late = true;
	turns();
	t_eq(vm->row.state, VM_PENDING);
	for (i = 0; i < nitems(others); i++)
		seat_leave(&others[i]);
	t_eq(left_s(), 600);
	end();
}

/* Who holds it when the deadline comes, is in time. */
static void
test_temporary_held(void)
{
	begin_temporary(VM_RUNNING, true);
	t_eq(left_s(), 100);
	temporary_hold(vm);
	temporary_hold(vm);
	vm->temp.is_late = true;
	t_eq(left_s(), -1);
	t_eq(vm->row.state, VM_RUNNING);
	temporary_let_go(vm, 1);
	t_eq(left_s(), -1);
	/* held and let go between two turns is a new deadline, too */
	temporary_let_go(vm, 1);
	t_eq(left_s(), 100);
	vm->temp.is_late = true;
	temporary_hold(vm);
	temporary_let_go(vm, 1);
	t_eq(left_s(), 100);
	t_eq(vm->row.state, VM_RUNNING);
	temporary_hold(vm);
	vm->row.state = VM_CRASHED; /* its streams are about to end */
	t_eq(left_s(), 10);
	end();
}

/* What it is on its way to has a time of its own, whatever went before. */
static void
test_anew(void)
{
	static const enum vm_state way[] = { VM_PENDING, VM_STARTING,
		VM_RUNNING, VM_STOPPING };
	size_t i;

	begin_temporary(VM_PENDING, false);
	for (i = 0; i < nitems(way); i++) {
		t_row(vm_fsm_state(way[i]));
		vm->row.state = way[i];
		vm->temp.is_late = true; /* of the state before */
		t_true(temporary_is_over(vm) == NULL);
		t_eq(left_s(), 600);
		vm->temp.is_late = true;
		t_true(temporary_is_over(vm) != NULL);
	}
	temporary_anew(vm);
	t_true(vm->obj.woken);
	t_true(temporary_is_over(vm) == NULL);
	end();
}

/* Its deadline, to the millisecond. */
static void
test_deadline(void)
{
	static const struct {
		enum vm_state state;
		uint32_t ms;
		long s, us;
	} rows[] = {
		{ VM_RUNNING, 1500, 1, 500000 },
		{ VM_STARTING, 1500, 501, 500000 },
		{ VM_CRASHED, 1500, 1, 500000 },
		{ VM_CRASHED, TEMPORARY_ENDED_MS, 10, 0 },
		{ VM_STOPPED, 15000, 10, 0 },
		{ VM_RUNNING, 15000, 15, 0 },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(vm_fsm_state(rows[i].state));
		begin_temporary(rows[i].state, true);
		o.conf.temporary_ms = rows[i].ms;
		turns();
		t_eq(ev.added.tv_sec, rows[i].s);
		t_eq(ev.added.tv_usec, rows[i].us);
		end();
	}
}

/* It comes: the VM is looked at, and why it goes is said. */
static void
test_late(void)
{
	begin_temporary(VM_RUNNING, true);
	turns();
	t_true(temporary_is_over(vm) == NULL);
	object_clear(&vm->obj);
	ev_expire(o.base, vm->temp.timer);
	t_true(vm->obj.woken);
	t_str(temporary_is_over(vm), "temporary, and nobody uses it");
	turns();
	t_eq(vm->row.state, VM_DELETING);
	end();
	begin_temporary(VM_CRASHED, false);
	t_true(temporary_is_over(vm) == NULL);
	ev_expire(o.base, vm->temp.timer);
	t_str(temporary_is_over(vm), "temporary, and it has ended");
	temporary_clear(vm);
	t_true(vm->temp.timer == NULL);
	end();
}

/* Who comes and who goes is looked at. */
static void
test_wakes(void)
{
	begin_temporary(VM_RUNNING, true);
	temporary_let_go(vm, 0);
	t_true(!vm->obj.woken);
	temporary_hold(vm);
	t_true(vm->obj.woken);
	object_clear(&vm->obj);
	temporary_let_go(vm, 1);
	t_true(vm->obj.woken);
	t_eq(vm->temp.nholds, 0);
	temporary_let_go(vm, 3); /* no more than there were */
	t_eq(vm->temp.nholds, 0);
	end();
}

/* Its owner has so many, and one less when it goes. */
static void
test_count(void)
{
	static const struct share_who who = { 7, SHARE_USER,
		STORE_TENANT_DEFAULT };

	begin_temporary(VM_RUNNING, true);
	o.conf.nusers = 1;
	o.conf.users[0] = who.uid;
	share_init(&o.temporaries, 2, o.listed);
	vm->request.owner = 7;
	t_eq(share_take(&o.temporaries, who, 1), 0); /* of another VM */
	t_eq(temporary_count(vm), 0);
	t_eq(share_has(&o.temporaries, who), 2);
	temporary_clear(vm);
	t_eq(share_has(&o.temporaries, who), 1);
	temporary_clear(vm);
	t_eq(share_has(&o.temporaries, who), 1);
	t_eq(share_take(&o.temporaries, who, 1), 0);
	t_eq(temporary_count(vm), -EBUSY);
	temporary_clear(vm); /* it had none */
	t_eq(share_has(&o.temporaries, who), 2);
	share_clear(&o.temporaries);
	end();
}

/* Without a timer it has one in the next turn. */
static void
test_no_timer(void)
{
	unsigned int how;

	for (how = 0; how < 2; how++) {
		begin_temporary(VM_RUNNING, true);
		ev.fail_new = how == 0;
		ev.no_add = how == 1;
		t_true(temporary_is_over(vm) == NULL);
		t_eq(vm->temp.phase, TEMP_NONE);
		ev.no_add = false;
		t_true(temporary_is_over(vm) == NULL);
		t_true(evtimer_pending(vm->temp.timer, NULL));
		end();
	}
}

const struct t_case t_cases[] = {
	{ "a temporary one", test_temporary },
	{ "a temporary one that is held", test_temporary_held },
	{ "on its way", test_anew },
	{ "behind others", test_turn },
	{ "its deadline", test_deadline },
	{ "it is late", test_late },
	{ "who comes and goes", test_wakes },
	{ "as many as there may be", test_count },
	{ "no timer", test_no_timer },
	{ NULL, NULL },
};
