#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "launchd/life.h"
#include "proto/spawn.h"
#include "tests/launchd/played_links.h"
#include "tests/suite/t.h"

/* What a VM is told, asked and given where it is, and for how long. */

static struct vm *
at(const char *script)
{
	struct vm *v = begin();

	v->rung_ms[STOP_AGENT] = v->rung_ms[STOP_TERM] = 1000;
	v->ready_by_ms = links.now_ms + 60000;
	play(v, script);
	asked[0] = '\0';
	return v;
}

#define ASKED(want)                   \
	do {                          \
		t_str(asked, (want)); \
		asked[0] = '\0';      \
	} while (0)

/* Milliseconds that a timer was last set to; -1: the VM has no deadline. */
static long
left(const struct vm *v)
{
	if (!evtimer_pending(v->timer, NULL))
		return -1;
	return ev.added.tv_sec * 1000 + ev.added.tv_usec / 1000;
}

static int
null(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

/* --- the start --- */

static void
test_prepare(void)
{
	struct vm *v = begin();

	ld.tsc_khz = 2000000;
	v->machine.flags = 0xff;
	play(v, "start");
	t_eq(v->accel, ACCEL_TCG);
	t_eq(v->machine.accel, ACCEL_TCG);
	t_eq(v->machine.tsc_khz, 2000000);
	t_eq(v->machine.flags, 0);
	t_eq(v->at_us[T_START], 1000000);
	links.now_ms = 1200;
	play(v, "prepared");
	t_eq(v->at_us[T_PREPARED], 1200000);
	end(v);
	v = begin();
	ld.accel = ACCEL_KVM;
	ld.tsc_khz = 2000000;
	play(v, "start");
	t_eq(v->machine.accel, ACCEL_KVM);
	t_eq(v->machine.tsc_khz, 0); /* the processor's own */
	end(v);
	v = begin();
	ld.accel = ACCEL_UNKNOWN;
	v->is_probe = true;
	play(v, "start");
	t_eq(v->machine.accel, ACCEL_KVM);
	t_eq(v->machine.flags, MACHINE_PROBE);
	end(v);
}

static void
test_ready_by(void)
{
	struct vm *v = begin();

	v->ready_by_ms = 6500;
	play(v, WARDEN);
	t_eq(left(v), 5500);
	links.now_ms = 2000; /* what is left of it */
	play(v, "qmp turn answer");
	t_eq(v->state, VM_RUNNING);
	t_eq(left(v), 4500);
	end(v);
	v = begin();
	v->ready_by_ms = 999;
	play(v, WARDEN);
	t_eq(ev.added.tv_sec, 0);
	t_eq(ev.added.tv_usec, 0);
	end(v);
}

/* One that lived before launchd did has no deadline of a start. */
static void
test_adopted(void)
{
	struct vm *v = begin();

	v->is_adopted = true;
	v->machine.accel = ACCEL_KVM;
	play(v, "");
	t_str(asked, "keeper");
	asked[0] = '\0';
	vm_arm(v, 9999);
	v->keep_state.phase = KEEP_RUN;
	play(v, ""); /* its channel is not up */
	t_eq(v->state, VM_KEEPER);
	v->keep.phase = LINK_UP;
	play(v, "");
	t_eq(v->state, VM_WARDEN);
	t_eq(v->accel, ACCEL_KVM);
	ASKED("warden");
	t_eq(left(v), 5000);
	play(v, "late");
	t_eq(v->state, VM_WARDEN);
	t_true(!v->is_due);
	play(v, "qmp turn answer");
	t_eq(v->state, VM_RUNNING);
	t_eq(left(v), -1);
	play(v, "late");
	t_eq(v->state, VM_RUNNING);
	end(v);
}

/* What its keeper should have run went with the launchd of before. */
static void
test_adopted_early(void)
{
	struct vm *v = begin();

	v->is_adopted = true;
	play(v, "turn waits");
	t_eq(v->state, VM_KILLING);
	t_eq(v->reason, EXIT_START_FAILED);
	t_str(v->detail, "launcher restarted during the start");
	end(v);
	v = at(KEEPER); /* nor is one told to go that is to be killed */
	play(v, "kill waits");
	ASKED("kill");
	end(v);
}

/* Its hypervisor ended before: its warden is asked what the guest did. */
static void
test_adopted_late(void)
{
	unsigned int how;

	for (how = 0; how < 2; how++) {
		struct vm *v = begin();

		v->is_adopted = true;
		v->machine.accel = ACCEL_KVM;
		play(v, "");
		asked[0] = '\0';
		v->keep.phase = LINK_UP;
		v->keep_state.phase = KEEP_ENDED;
		if (how == 1)
			v->ward.phase = LINK_CONNECT;
		play(v, "");
		t_eq(v->accel, ACCEL_KVM);
		t_eq(v->ward_state.qmp, 1);
		ASKED(how == 0 ? "warden" : "");
		end(v);
	}
}

/* --- what is told --- */

#define BIT(ev) (1U << (ev))

static void
test_told(void)
{
	static const struct {
		const char *script;
		uint32_t news;
	} rows[] = {
		{ WARDEN, 0 },
		{ RUNNING, BIT(LE_RUNNING) },
		{ RUNNING "ready", BIT(LE_RUNNING) | BIT(LE_READY) },
		{ RUNNING "ready turn unready turn late",
		    BIT(LE_RUNNING) | BIT(LE_READY) | BIT(LE_MUTE) },
		{ RUNNING "ended off", BIT(LE_RUNNING) | BIT(LE_EXITED) },
		{ RUNNING "stop", BIT(LE_RUNNING) | BIT(LE_RUNG) },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct vm *v = at(rows[i].script);

		t_row(rows[i].script);
		t_eq(v->news, rows[i].news);
		end(v);
	}
}

/* How long a start took, of one that we started. */
static void
test_log(void)
{
	char text[4096];
	unsigned int how;
	int fd, err = fcntl(2, F_DUPFD_CLOEXEC, 3);
	ssize_t n;

	for (how = 0; how < 4; how++) {
		struct vm *v = at(WARDEN "qmp");

		v->is_adopted = how == 1;
		fd = memfd_create("log", MFD_CLOEXEC);
		t_eq(dup3(fd, 2, 0), 2);
		log_init("launchd", LOG_INFO);
		play(v, "answer");
		if (how >= 2) { /* a refusal of what brings no news itself */
			v->spawn_verb = SPAWN_KILL;
			v->spawn_said = true;
			v->spawn_code = how == 2 ? -EIO : 0;
			play(v, "");
		}
		t_eq(dup3(err, 2, 0), 2);
		n = pread(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		(void)close(fd);
		t_eq(strstr(text, "runs after") != NULL, how != 1);
		t_eq(strstr(text, "spawner: ") != NULL, how == 2);
		end(v);
	}
	log_init("launchd", LOG_ERROR);
	(void)close(err);
}

/* --- ready --- */

static void
test_ready(void)
{
	struct vm *v = at(RUNNING);
	int fd = v->boot_spec = null();

	play(v, "ready");
	t_eq(left(v), -1);
	t_eq(v->boot_spec, -1);
	t_eq(fcntl(fd, F_GETFD), -1);
	play(v, "unready");
	t_eq(left(v), 3000);
	t_true(v->is_doubted);
	play(v, "ready");
	t_eq(left(v), -1);
	t_true(!v->is_doubted);
	play(v, "unready turn late");
	t_eq(v->state, VM_MUTE);
	play(v, "ready");
	t_eq(v->state, VM_READY);
	t_true(!v->is_doubted);
	t_true(!v->is_mute);
	t_eq(left(v), -1);
	end(v);
}

/* --- the boot spec --- */

static void
test_spec(void)
{
	struct vm *v = at(WARDEN "qmp");

	v->boot_spec = null();
	play(v, "answer"); /* it runs, and gets it */
	ASKED("run spec");
	v->ward_state.need_spec = 1;
	play(v, ""); /* which it may not have read yet */
	ASKED("");
	v->spec_sent = false; /* another warden */
	play(v, "");
	ASKED("spec");
	t_eq(v->news & BIT(LE_NEED_SPEC), 0);
	v->spec_sent = false;
	(void)close(v->boot_spec);
	v->boot_spec = -1;
	play(v, ""); /* orchd is asked, once */
	ASKED("");
	t_eq(v->news & BIT(LE_NEED_SPEC), BIT(LE_NEED_SPEC));
	v->news = 0;
	play(v, "");
	t_eq(v->news, 0);
	v->boot_spec = null();
	play(v, "");
	ASKED("spec");
	end(v);
}

/* To a warden that is there, that needs it, and of a VM that has one. */
static void
test_no_spec(void)
{
	unsigned int how;

	for (how = 0; how < 4; how++) {
		struct vm *v = at(how == 3 ? WARDEN "qmp" : RUNNING);

		t_eq(v->state, how == 3 ? VM_WARDEN : VM_RUNNING);
		v->boot_spec = null();
		v->ward_state.need_spec = how > 0;
		if (how == 1)
			v->ward.phase = LINK_CONNECT;
		v->is_probe = how == 2;
		links.run_is_lost = true; /* it is VERIFIED, and no more */
		play(v, how == 3 ? "answer" : "");
		t_true(strstr(asked, "spec") == NULL);
		t_eq(v->news & BIT(LE_NEED_SPEC), 0);
		end(v);
	}
}

/* One that was verified is told to run until it heard that. */
static void
test_run_again(void)
{
	struct vm *v = at(WARDEN "qmp");

	links.run_is_lost = true;
	play(v, "answer");
	t_eq(v->state, VM_VERIFIED);
	asked[0] = '\0';
	v->ward.phase = LINK_CONNECT;
	play(v, "");
	ASKED("");
	v->ward.phase = LINK_UP;
	links.run_is_lost = false;
	play(v, "");
	ASKED("run");
	t_eq(v->state, VM_RUNNING);
	end(v);
}

/* --- wardens --- */

/* At the start the hypervisor has to be there, later it just is. */
static void
test_verify(void)
{
	struct vm *v = at(WARDEN);

	v->ward.phase = LINK_QMP;
	play(v, "");
	ASKED("");
	v->ward_state.qmp = 1;
	play(v, "");
	ASKED("verify");
	end(v);
	v = at(RUNNING);
	v->ward.phase = LINK_QMP;
	v->ward_state.qmp = 0;
	play(v, "");
	ASKED("verify");
	end(v);
}

/* Another one is news once it was read back, and hears of a stop. */
static void
test_new_warden(void)
{
	static const struct {
		const char *script, *said, *asked;
		uint32_t news;
	} rows[] = {
		{ RUNNING "ready", "answer", "", BIT(LE_WARDEN) },
		{ RUNNING "ready", "refusal", "", 0 },
		{ RUNNING "stop", "answer", "rung", BIT(LE_WARDEN) },
		{ RUNNING "kill", "answer", "", 0 },
		{ WARDEN, "answer", "run", BIT(LE_RUNNING) },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct vm *v = at(rows[i].script);

		t_row(rows[i].script);
		v->news = 0;
		v->ward.phase = LINK_VERIFY;
		v->spawn_verb = SPAWN_VERIFY;
		play(v, rows[i].said);
		ASKED(rows[i].asked);
		t_eq(v->news, rows[i].news);
		end(v);
	}
}

static void
test_probe(void)
{
	static const struct {
		bool is_probe, agent, up, runs;
	} rows[] = {
		{ true, true, true, true },
		{ false, true, true, true },
		{ true, false, true, true },
		{ true, true, false, true },
		{ true, true, true, false },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct vm *v = at(WARDEN "qmp");

		v->is_probe = rows[i].is_probe;
		links.run_is_lost = !rows[i].runs;
		play(v, "answer");
		asked[0] = '\0';
		if (!rows[i].up)
			v->ward.phase = LINK_CONNECT;
		v->ward_state.agent = rows[i].agent;
		play(v, "");
		t_eq(strstr(asked, "verdict") != NULL, i == 0);
		end(v);
	}
}

/* --- deadlines --- */

static void
test_start_late(void)
{
	unsigned int how;

	for (how = 0; how < 6; how++) {
		struct vm *v = at(how < 3 ? WARDEN : RUNNING);

		links.probe_waits = how % 3 == 1;
		v->is_adopted = how % 3 == 2;
		play(v, "late");
		t_eq(v->state,
		    how == 0	   ? VM_KILLING
			: how == 3 ? VM_KILLING
			: how < 3  ? VM_WARDEN
				   : VM_RUNNING);
		if (how == 0) {
			t_eq(v->reason, EXIT_START_FAILED);
			t_str(v->detail,
			    "hypervisor or warden did not answer in time");
		}
		end(v);
	}
}

/* --- the end --- */

static void
test_stop_alone(void)
{
	struct vm *v = at(RUNNING);

	v->ward.phase = LINK_OFF; /* nobody is there to hear it */
	play(v, "stop");
	ASKED("warden rung");
	end(v);
}

static void
test_kill(void)
{
	struct vm *v = at(RUNNING "kill");

	t_eq(v->state, VM_KILLING);
	t_eq(left(v), 5000);
	vm_arm(v, 1);
	play(v, "late"); /* once more */
	ASKED("kill");
	t_eq(left(v), 5000);
	end(v);
}

/* A warden that still talks has 300 ms for its last word, the spawner 6 s
 * for the kills of its group. */
static void
test_last_word(void)
{
	static char talks;
	struct vm *v = at(RUNNING);

	v->ward.chan = (struct chan *)(void *)&talks;
	play(v, "ended");
	t_eq(v->state, VM_ENDED);
	ASKED("");
	t_eq(left(v), 300);
	play(v, "late");
	t_eq(v->state, VM_GONE);
	v->ward.chan = NULL;
	end(v);
	v = at(RUNNING);
	v->ward.chan = (struct chan *)(void *)&talks;
	v->keep_state.vmm_status = 9; /* by SIGKILL: it may be the group's */
	play(v, "ended");
	ASKED("count");
	t_eq(left(v), 300);
	play(v, "late");
	t_eq(v->state, VM_ENDED);
	t_eq(left(v), 6000);
	play(v, "late");
	t_eq(v->state, VM_GONE);
	v->ward.chan = NULL;
	end(v);
	v = at(RUNNING);
	v->ward.chan = (struct chan *)(void *)&talks;
	v->ward_state.guest_event = EXIT_GUEST_OFF;
	play(v, "ended"); /* it has said it */
	t_eq(v->state, VM_GONE);
	v->ward.chan = NULL;
	end(v);
	v = at(RUNNING "ended"); /* nobody is there to say it */
	t_eq(v->state, VM_GONE);
	end(v);
	v = at(RUNNING "dead");
	t_eq(v->state, VM_ENDED);
	t_eq(left(v), 6000);
	end(v);
}

static void
give(struct vm *v)
{
	v->boot_spec = null();
	t_eq(machine_fds_put(&v->fds, FDR_ARGS, 0, null()), 0);
	v->keep.phase = LINK_UP;
	link_arm(&v->keep, 9999);
	v->ward.phase = LINK_UP;
}

static void
has(const struct vm *v, bool all)
{
	t_eq(v->boot_spec >= 0, all);
	t_eq(v->fds.n, all ? 1 : 0);
	t_eq(evtimer_pending(v->keep.timer, NULL) != 0, all);
	t_eq(v->ward.phase, all ? LINK_UP : LINK_OFF);
}

/* What led into the jail is closed when its keeper is dead. */
static void
test_closed(void)
{
	struct vm *v = at(RUNNING);

	give(v);
	play(v, "ended off");
	t_eq(v->state, VM_GONE);
	t_eq(left(v), -1);
	has(v, true); /* its keeper has the status */
	play(v, "dead");
	has(v, false);
	end(v);
	v = at(RUNNING);
	give(v);
	play(v, "release");
	t_eq(v->state, VM_FREEING);
	ASKED("kill");
	t_eq(left(v), 5000);
	t_eq(links.forgot, 1);
	has(v, true);
	play(v, "late");
	ASKED("kill");
	play(v, "dead");
	ASKED("release");
	t_eq(left(v), -1);
	has(v, false);
	end(v);
}

static void
test_probe_gone(void)
{
	struct vm *v = at(RUNNING);

	v->is_probe = true;
	play(v, "ended off");
	t_true(strstr(asked, "verdict") != NULL);
	end(v);
}

/* The spawner refuses to have it cleared away. */
static void
refused(struct vm *v, int r)
{
	v->spawn_said = true;
	v->spawn_code = r;
	vm_arm(v, -1);
	play(v, "");
}

static void
test_cleared(void)
{
	static const long ms[] = { 10, 20, 40, 80, 160, 320, 640, 1000, 1000,
		1000, 1000, 1000, 1000, 1000, 1000, 1000 };
	static const int moment[] = { -EBUSY, -EAGAIN };
	struct vm *v;
	size_t i, k;

	for (k = 0; k < nitems(moment); k++) {
		v = at("release");
		t_eq(v->state, VM_CLEARING);
		for (i = 0; i < nitems(ms); i++) {
			refused(v, moment[k]);
			t_eq(left(v), ms[i]);
			t_true(!v->is_refused);
			t_true(!v->is_told);
			play(v, "late");
			ASKED("release");
		}
		refused(v, moment[k]); /* so often is often enough */
		t_true(v->is_refused);
		t_true(v->is_told);
		t_eq(left(v), 5000);
		play(v, "late"); /* and on: nothing may leak */
		ASKED("release");
		end(v);
	}
	v = at("release");
	refused(v, -EIO);
	t_true(v->is_refused);
	t_true(!v->is_cleared);
	t_eq(left(v), 5000);
	end(v);
	v = at("release");
	refused(v, 0);
	t_true(v->is_cleared);
	t_true(!v->is_refused);
	t_true(v->is_told);
	t_eq(left(v), -1);
	end(v);
}

/* What came due is done once. */
static void
test_due(void)
{
	struct vm *v = at(KEEPER);

	v->spawn_due = true;
	v->keep.due = true;
	v->ward.due = true;
	v->is_due = true; /* which is none of this state's */
	play(v, "");
	ASKED("verb-due keeper-due warden-due");
	t_true(!v->is_due);
	play(v, "");
	ASKED("");
	end(v);
}

const struct t_case t_cases[] = {
	{ "a start", test_prepare },
	{ "ready by", test_ready_by },
	{ "one that was there before", test_adopted },
	{ "one that should have begun", test_adopted_early },
	{ "one that has ended", test_adopted_late },
	{ "told", test_told },
	{ "logged", test_log },
	{ "ready", test_ready },
	{ "the boot spec", test_spec },
	{ "no boot spec", test_no_spec },
	{ "run once more", test_run_again },
	{ "read back", test_verify },
	{ "a new warden", test_new_warden },
	{ "the probe", test_probe },
	{ "a start that is late", test_start_late },
	{ "a stop that nobody hears", test_stop_alone },
	{ "a kill", test_kill },
	{ "the last word", test_last_word },
	{ "all is closed", test_closed },
	{ "the probe's end", test_probe_gone },
	{ "cleared away", test_cleared },
	{ "due", test_due },
	{ NULL, NULL },
};
