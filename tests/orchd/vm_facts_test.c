#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/util.h"
#include "orchd/object/wait.h"
#include "orchd/vm/vm_converge.h"
#include "orchd/vm/vm_step.h"
#include "tests/orchd/played_audit.h"
#include "tests/orchd/vm_played.h"
#include "tests/suite/t.h"

/* What a VM's row says of what happened to it, and its deadlines. */

/* --- steps --- */

/* What comes late or twice is no news. */
static void
test_news_once(void)
{
	begin(VM_STOPPING);
	t_eq(vm_step(vm, EV_READY, "vm ready"), 0);
	t_eq(vm->row.state, VM_STOPPING);
	t_true(!vm->obj.open.dirty);
	end();
	begin(VM_STARTING);
	t_eq(vm_step(vm, EV_RUNNING, "vm running"), 0);
	t_true(!vm->row.told_ready);
	t_eq(vm_step(vm, EV_RUNNING, "vm running"), 0);
	t_eq(vm_step(vm, EV_READY, "vm ready"), 0);
	t_true(vm->row.told_ready);
	t_eq(vm_step(vm, EV_READY, "vm ready"), 0);
	t_eq(vm->obj.open.nnotes, 2);
	t_eq(vm_step(vm, EV_RUNNING, "vm running"), 0);
	t_true(vm->row.told_ready);
	t_eq(vm_step(vm, EV_STOP, "stop"), 0);
	t_true(!vm->row.told_ready); /* of the next run */
	end();
}

static void
test_step(void)
{
	static const struct timeval soon = { .tv_sec = 60 };

	begin(VM_PENDING);
	vm->deadline = evtimer_new(o.base, NULL, NULL);
	(void)event_add(vm->deadline, &soon);
	wall_ns = 42;
	t_eq(vm_step(vm, EV_START, "start"), -EPERM);
	t_eq(vm->row.state, VM_PENDING);
	t_eq(vm->row.updated_ns, 0);
	t_true(evtimer_pending(vm->deadline, NULL));
	t_eq(vm_step(vm, EV_NET_READY, "network ready"), 0);
	t_eq(vm->row.state, VM_STARTING);
	t_eq(vm->row.updated_ns, 42);
	t_true(!evtimer_pending(vm->deadline, NULL)); /* of the state before */
	t_true(vm->obj.open.facts);
	t_eq(vm->obj.open.nnotes, 0);
	t_eq(vm_step(vm, EV_RUNNING, "vm running"), 0);
	(void)event_add(vm->deadline, &soon);
	t_eq(vm_step(vm, EV_READY, "vm ready"), 0); /* the same state */
	t_true(evtimer_pending(vm->deadline, NULL));
	end();
}

/* The time of a stop is that stop's: who waits for something later waits no
 * longer for it. */
static void
test_step_grace(void)
{
	static const struct {
		enum vm_event ev;
		enum vm_state to;
	} rows[] = {
		{ EV_ENDED, VM_STOPPED },
		{ EV_DELETE, VM_DELETING },
	};
	const struct vm_grace grace = { true, true, 3600000 };
	uint64_t plain;
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		begin(VM_STOPPING);
		plain = vm_stop_ms(vm);
		vm->grace = grace;
		t_eq(vm_step(vm, EV_READY, "vm ready"), 0);
		t_true(vm->grace.is_said);
		t_eq(vm_step(vm, rows[i].ev, "over"), 0);
		t_eq(vm->row.state, rows[i].to);
		t_true(!vm->grace.is_said && !vm->grace.is_known);
		t_eq(vm_stop_ms(vm), plain);
		end();
	}
}

/* What a person asks for goes with its key, or is not done. */
static void
test_step_asked(void)
{
	struct idem_row key = { .key = "k" };

	begin(VM_CRASHED);
	vm->row.vmid = 77;
	vm->row.reason = EXIT_OOM;
	vm->row.exit_status = 9;
	(void)snprintf(vm->row.detail, sizeof(vm->row.detail), "why");
	t_eq(vm_step_asked(vm, EV_NET_READY, "no", FOR_RUNNING, &key), -EPERM);
	t_true(!vm->obj.open.dirty);
	t_fail_alloc(1);
	t_eq(vm_step_asked(vm, EV_START, "start", FOR_RUNNING, &key), -ENOMEM);
	t_eq(vm->row.state, VM_CRASHED);
	t_eq(vm->row.reason, EXIT_OOM);
	t_eq(vm_step_asked(vm, EV_STOP, "stop", FOR_STOPPED, &key), 0);
	t_eq(vm->row.state, VM_STOPPED);
	t_eq(vm->row.reason, EXIT_OOM); /* as it ended */
	t_eq(vm->row.exit_status, 9);
	t_str(vm->row.detail, "why");
	t_eq(key.vm, 77);
	t_eq(vm->obj.open.asked, WAITS(FOR_STOPPED) | WAITS(FOR_STOPPED_AGAIN));
	t_eq(vm->obj.open.keys->row.vm, 77);
	t_eq(vm_step_asked(vm, EV_START, "start", FOR_RUNNING, &key), 0);
	t_eq(vm->row.state, VM_PENDING);
	t_eq(vm->row.reason, EXIT_NONE); /* of a new run */
	t_eq(vm->row.exit_status, 0);
	t_str(vm->row.detail, "");
	end();
}

/* --- how it ended --- */

static void
test_ends(void)
{
	static const struct {
		uint32_t reason;
		enum vm_state then;
	} rows[] = {
		{ EXIT_GUEST_OFF, VM_STOPPED },
		{ EXIT_GUEST_REBOOT, VM_STOPPED },
		{ EXIT_STOPPED, VM_STOPPED },
		{ EXIT_GUEST_PANIC, VM_CRASHED },
		{ EXIT_KILLED, VM_CRASHED },
		{ EXIT_OOM, VM_CRASHED },
		{ EXIT_VMM_ERROR, VM_CRASHED },
		{ EXIT_START_FAILED, VM_CRASHED },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(exit_reason_name(rows[i].reason));
		begin(VM_RUNNING);
		vm->part[2].state = PART_STALE;
		vm->run.end.heard = true;
		vm->run.end.reason = rows[i].reason;
		vm->run.end.status = 256;
		(void)snprintf(vm->run.end.detail, sizeof(vm->run.end.detail),
		    "its last words");
		trail[0] = '\0';
		turns();
		/* what a helper would not do is in the trail */
		t_str(trail,
		    rows[i].reason == EXIT_START_FAILED
			? "vm-start  failed launchd: its last words;"
			: "");
		t_eq(vm->row.state, rows[i].then);
		t_eq(vm->row.reason, rows[i].reason);
		t_eq(vm->row.exit_status, 256);
		t_str(vm->row.detail, "its last words");
		end();
	}
}

/* Nobody saw it: what is known of the run before is not said of this one. */
static void
test_unseen(void)
{
	unsigned int how;

	for (how = 0; how < 2; how++) {
		begin(VM_RUNNING);
		vm->part[2].state = how == 0 ? PART_STALE : PART_NONE;
		vm->run.pid = 99;
		vm->run.ready = true;
		vm->row.reason = EXIT_OOM;
		(void)snprintf(vm->run.end.detail, sizeof(vm->run.end.detail),
		    "of another");
		turns();
		t_eq(vm->row.state, VM_CRASHED);
		t_eq(vm->row.reason, EXIT_NONE);
		t_str(vm->row.detail,
		    how == 0 ? "ended while nobody watched"
			     : "was gone after a restart of the host");
		t_eq(vm->run.pid, 0);
		t_true(!vm->run.ready);
		end();
	}
}

/* A reboot left its folder: what launchd tells of it is no end of this run. */
static void
test_traceless(void)
{
	static const enum vm_state states[] = { VM_RUNNING, VM_STOPPING };
	unsigned int i, heard;

	for (i = 0; i < nitems(states); i++) {
		for (heard = 0; heard < 2; heard++) {
			begin(states[i]);
			vm->part[2].state = PART_STALE;
			vm->run.traceless = true;
			vm->run.end.heard = heard == 1;
			vm->run.end.reason = EXIT_OOM;
			ASKS(i == 0 ? "event:VM_CRASHED release:jail"
				    : "event:VM_STOPPED release:jail");
			t_eq(vm->row.reason, EXIT_NONE);
			t_str(vm->row.detail,
			    i == 0 ? "was gone after a restart of the host"
				   : "");
			end();
		}
	}
}

/* An end is told once: it is not that of the next run. */
static void
test_end_once(void)
{
	begin(VM_RUNNING);
	vm->part[2].state = PART_STALE;
	vm->run.end.heard = true;
	vm->run.end.reason = EXIT_OOM;
	ASKS("event:VM_CRASHED release:jail");
	answer(2, 0);
	ASKS("");
	vm->row.state = VM_STARTING;
	vm->part[2].state = PART_STALE;
	object_wake(&vm->obj);
	ASKS("release:jail"); /* a start of which nothing is known */
	t_eq(vm->row.state, VM_STARTING);
	end();
}

/* One retry of emulation, for each time that it came up. */
static void
test_retried(void)
{
	unsigned int i;

	begin(VM_STARTING);
	vm->retried = true;
	vm->part[2].state = PART_USED;
	vm->run.ran = true;
	turns();
	t_true(vm->retried);
	vm->run.was_ready = true;
	turns();
	t_true(!vm->retried);
	end();
	for (i = 0; i < 3; i++) { /* else it is no retry */
		begin(VM_STARTING);
		vm->part[2].state = PART_STALE;
		vm->run.accel = i == 0 ? ACCEL_KVM : ACCEL_TCG;
		vm->run.end.heard = true;
		vm->run.end.reason = i == 1 ? EXIT_OOM : EXIT_NO_AGENT;
		vm->retried = i == 2;
		ASKS("event:VM_CRASHED release:jail");
		end();
	}
}

/* --- parts --- */

/* A fault is told once, of whichever part. */
static void
test_fault(void)
{
	begin(VM_PENDING);
	(void)strcpy(vm->row.name, "a");
	ASKS("make:tap");
	trail[0] = '\0';
	answer(0, -EIO);
	ASKS("event:VM_CRASHED release:tap");
	t_str(trail, "vm-start a failed netd: because;");
	t_eq(vm->row.reason, EXIT_START_FAILED);
	answer(0, 0);
	ASKS("");
	t_eq(vm_step(vm, EV_START, "start"), 0);
	ASKS("make:tap");
	t_eq(vm->row.state, VM_PENDING);
	end();
}

/* What a helper says may not be was refused. */
static void
test_refused(void)
{
	static const int how[] = { -EPERM, -EACCES, -ENOMEM };
	size_t i;

	for (i = 0; i < nitems(how); i++) {
		begin(VM_PENDING);
		ASKS("make:tap");
		trail[0] = '\0';
		answer(0, how[i]);
		ASKS("event:VM_CRASHED release:tap");
		t_str(trail,
		    i < 2 ? "vm-start  refused netd: because;"
			  : "vm-start  failed netd: because;");
		end();
	}
}

/* Behind its last part there is none. */
static void
test_last_part(void)
{
	begin(VM_RUNNING);
	vm->nparts = 2;
	vm->part[1].state = PART_USED;
	vm->part[2].adopt = true;
	vm->part[2].fault = -EIO;
	ASKS("");
	t_eq(vm->row.state, VM_RUNNING);
	vm->part[2].adopt = false;
	vm->part[2].fault = 0;
	vm->nparts = 3;
	end();
}

/* It is not deleted while a helper holds something of it. */
static void
test_delete(void)
{
	begin(VM_DELETING);
	vm->part[0].state = vm->part[1].state = vm->part[2].state = PART_USED;
	ASKS("release:jail");
	answer(2, 0);
	ASKS("release:disk");
	answer(1, 0);
	ASKS("release:tap");
	answer(0, -EIO); /* it pauses */
	ASKS("");
	(void)evtimer_del(vm->part[0].timer);
	ASKS("release:tap");
	answer(0, 0);
	ASKS("delete event:VM_DELETED");
	t_eq(vm->obj.life, OBJECT_GONE);
	end();
}

/* Its agent asks for the boot spec once more: it gets it once. */
static void
test_spec(void)
{
	begin(VM_RUNNING);
	vm->part[2].state = PART_USED;
	vm->run.need_spec = true;
	ASKS("spec");
	t_true(!vm->run.need_spec);
	ASKS("");
	end();
	begin(VM_BROKEN); /* nobody knows what it would be */
	vm->run.need_spec = true;
	ASKS("");
	end();
}

/* --- deadlines --- */

static void
begin_late(enum vm_state s)
{
	static const uint32_t stop_ms[] = { 1000, 200, 30, 4 };
	size_t i;

	begin(s);
	o.conf.ready_ms = 5678;
	for (i = 0; i < nitems(o.conf.stop_ms); i++)
		o.conf.stop_ms[i] = stop_ms[i % nitems(stop_ms)];
	o.conf.nadmins = 1; /* what stands behind them */
	o.link[LINK_LAUNCH].listed = true;
	vm->part[2].state = PART_USED;
	if (s == VM_STOPPING)
		vm->part[2].stopping = true;
	turns();
}

static long
sum_stop_us(void)
{
	uint64_t ms = 10000;
	size_t i;

	for (i = 0; i < nitems(o.conf.stop_ms); i++)
		ms += o.conf.stop_ms[i];
	return (long)ms * 1000;
}

static void
test_deadline(void)
{
	unsigned int n;

	begin_late(VM_STARTING);
	t_true(evtimer_pending(vm->deadline, NULL));
	t_eq(ev.added.tv_sec, 15);
	t_eq(ev.added.tv_usec, 678000);
	n = ev.nadded;
	turns(); /* it runs on */
	t_eq(ev.nadded, n);
	end();
	begin_late(VM_STOPPING);
	t_true(evtimer_pending(vm->deadline, NULL));
	t_eq(ev.added.tv_sec * 1000000 + ev.added.tv_usec, sum_stop_us());
	end();
}

/* launchd forgot it: it is killed, and a start fails of it. */
static void
test_late(void)
{
	begin_late(VM_STARTING);
	asked[0] = '\0';
	ev_expire(o.base, vm->deadline);
	t_true(vm->obj.woken);
	t_eq(vm->part[2].state, PART_STALE);
	ASKS("event:VM_CRASHED release:jail");
	t_eq(vm->row.reason, EXIT_START_FAILED);
	t_str(vm->row.detail, "the launcher never said what came of it");
	end();
	begin_late(VM_STOPPING);
	asked[0] = '\0';
	ev_expire(o.base, vm->deadline);
	t_eq(vm->part[2].fault, 0);
	ASKS("event:VM_STOPPED release:jail");
	end();
}

/* Or is not there to say anything: it gets its time anew. */
static void
test_late_alone(void)
{
	begin_late(VM_STARTING);
	o.link[LINK_LAUNCH].listed = false;
	o.link[LINK_NET].listed = true;
	asked[0] = '\0';
	ev_expire(o.base, vm->deadline);
	t_true(evtimer_pending(vm->deadline, NULL));
	t_eq(ev.added.tv_sec, 10);
	t_eq(ev.added.tv_usec, 0);
	t_eq(vm->part[2].state, PART_USED);
	ASKS("");
	t_eq(vm->row.state, VM_STARTING);
	end();
}

/* Without a timer the log says so, and only then. */
static void
test_no_timer(void)
{
	char text[256];
	unsigned int how;
	int fd, err = fcntl(2, F_DUPFD_CLOEXEC, 3);
	ssize_t n;

	for (how = 0; how < 3; how++) {
		begin(VM_STARTING);
		vm->part[2].state = PART_USED;
		ev.fail_new = how == 1;
		ev.no_add = how == 2;
		fd = memfd_create("log", MFD_CLOEXEC);
		t_eq(dup3(fd, 2, 0), 2);
		vm_converge(&vm->obj);
		t_eq(dup3(err, 2, 0), 2);
		n = pread(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		(void)close(fd);
		t_eq(strstr(text, "no timer") != NULL, how > 0);
		ev.no_add = false;
		vm_converge(&vm->obj); /* and the next turn sets it */
		t_true(evtimer_pending(vm->deadline, NULL));
		end();
	}
	(void)close(err);
}

/* Who hears that what was asked could not be kept: retries as well. */
static void
test_waits(void)
{
	t_eq(vm_step_waits(FOR_RUNNING),
	    WAITS(FOR_RUNNING) | WAITS(FOR_RUNNING_AGAIN));
	t_eq(vm_step_waits(FOR_STOPPED),
	    WAITS(FOR_STOPPED) | WAITS(FOR_STOPPED_AGAIN));
	t_eq(vm_step_waits(FOR_RENAMED),
	    WAITS(FOR_RENAMED) | WAITS(FOR_RENAMED_AGAIN));
	t_eq(vm_step_waits(FOR_GONE), WAITS(FOR_GONE));
}

const struct t_case t_cases[] = {
	{ "news once", test_news_once },
	{ "a step", test_step },
	{ "a stop's own time", test_step_grace },
	{ "a step that is asked for", test_step_asked },
	{ "ends", test_ends },
	{ "ends that nobody saw", test_unseen },
	{ "a run of which a folder is left", test_traceless },
	{ "an end once", test_end_once },
	{ "the retry of emulation", test_retried },
	{ "a fault", test_fault },
	{ "refused", test_refused },
	{ "the last part", test_last_part },
	{ "deleted", test_delete },
	{ "the boot spec", test_spec },
	{ "deadlines", test_deadline },
	{ "late", test_late },
	{ "late, alone", test_late_alone },
	{ "no timer", test_no_timer },
	{ "who waits for a step", test_waits },
	{ NULL, NULL },
};
