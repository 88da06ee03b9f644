#include <stdint.h>
#include <string.h>

#include "common/util.h"
#include "launchd/life.h"
#include "tests/launchd/played_links.h"
#include "tests/suite/t.h"

static const struct {
	const char *name, *script, *asked;
	enum vm_state state;
	uint32_t reason;
} rows[] = {
	{ "a start", RUNNING "ready", "prepare keeper go warden verify run",
	    VM_READY, EXIT_NONE },
	{ "all at once is the same", WARDEN "qmp turn answer ready",
	    "prepare keeper go warden verify run", VM_READY, EXIT_NONE },
	{ "no run before the read-back", WARDEN "qmp",
	    "prepare keeper go warden verify", VM_WARDEN, EXIT_NONE },
	{ "nor after a refused one", WARDEN "qmp turn refusal",
	    "prepare keeper go warden verify", VM_WARDEN, EXIT_NONE },
	{ "nor without what answers for it", WARDEN "answer",
	    "prepare keeper go warden", VM_WARDEN, EXIT_NONE },
	{ "a release in the turn of its start", "start release", "release",
	    VM_CLEARING, EXIT_NONE },
	{ "a stop in the turn of its start", "start stop", "", VM_GONE,
	    EXIT_STOPPED },
	{ "a kill waits for the jail", "start turn kill", "prepare", VM_PREPARE,
	    EXIT_NO_AGENT },
	{ "and comes with it", "start turn kill turn prepared",
	    "prepare keeper kill", VM_KILLING, EXIT_NO_AGENT },
	{ "a release waits for the jail", "start turn release turn prepared",
	    "prepare keeper kill", VM_FREEING, EXIT_NONE },
	{ "no jail", "start turn refusal", "prepare", VM_GONE,
	    EXIT_START_FAILED },
	{ "no jail, and released", "start turn refusal release",
	    "prepare release", VM_CLEARING, EXIT_START_FAILED },
	{ "who is dead is not killed", RUNNING "kill dead",
	    "prepare keeper go warden verify run", VM_GONE, EXIT_NO_AGENT },
	{ "an unasked death is counted", RUNNING "dead",
	    "prepare keeper go warden verify run count", VM_ENDED, EXIT_NONE },
	{ "and called the keeper's", RUNNING "dead turn late",
	    "prepare keeper go warden verify run count", VM_GONE, EXIT_KEEPER },
	{ "an end is the guest's", RUNNING "ended off",
	    "prepare keeper go warden verify run", VM_GONE, EXIT_GUEST_OFF },
	{ "a processor that was given up", RUNNING "ready turn halted",
	    "prepare keeper go warden verify run kill", VM_KILLING,
	    EXIT_VMM_ERROR },
	{ "and at once", RUNNING "halted",
	    "prepare keeper go warden verify run kill", VM_KILLING,
	    EXIT_VMM_ERROR },
	{ "and what came before it", RUNNING "kill halted",
	    "prepare keeper go warden verify run kill", VM_KILLING,
	    EXIT_NO_AGENT },
	{ "one that is being stopped", RUNNING "stop turn halted",
	    "prepare keeper go warden verify run rung", VM_STOPPING,
	    EXIT_NONE },
	{ "ready in the turn of the deadline", RUNNING "late ready",
	    "prepare keeper go warden verify run", VM_READY, EXIT_NONE },
	{ "not ready", RUNNING "late",
	    "prepare keeper go warden verify run kill", VM_KILLING,
	    EXIT_NO_AGENT },
	{ "not ready any more, for a moment", RUNNING "ready turn unready",
	    "prepare keeper go warden verify run", VM_READY, EXIT_NONE },
	{ "and longer", RUNNING "ready turn unready turn late",
	    "prepare keeper go warden verify run", VM_MUTE, EXIT_NONE },
	{ "a warden that is silent", RUNNING "ready turn silent turn late",
	    "prepare keeper go warden verify run", VM_MUTE, EXIT_NONE },
	{ "or gone", RUNNING "ready turn lost turn late",
	    "prepare keeper go warden verify run", VM_MUTE, EXIT_NONE },
	{ "in time again",
	    RUNNING "ready turn unready turn ready turn unready turn",
	    "prepare keeper go warden verify run", VM_READY, EXIT_NONE },
	{ "ready again", RUNNING "ready turn unready turn late turn ready",
	    "prepare keeper go warden verify run", VM_READY, EXIT_NONE },
	{ "a mute one is stopped as any",
	    RUNNING "ready turn unready turn late turn stop",
	    "prepare keeper go warden verify run rung", VM_STOPPING,
	    EXIT_NONE },
	{ "a stop", RUNNING "stop", "prepare keeper go warden verify run rung",
	    VM_STOPPING, EXIT_NONE },
	{ "its next rung", RUNNING "stop turn late",
	    "prepare keeper go warden verify run rung term", VM_STOPPING,
	    EXIT_NONE },
	{ "its last rung", RUNNING "stop turn late turn late",
	    "prepare keeper go warden verify run rung term kill", VM_KILLING,
	    EXIT_STOPPED },
	{ "ended, released", RUNNING "ended off turn release",
	    "prepare keeper go warden verify run bye", VM_FREEING,
	    EXIT_GUEST_OFF },
	{ "a farewell that did not do",
	    RUNNING "ended off turn release turn late",
	    "prepare keeper go warden verify run bye kill", VM_FREEING,
	    EXIT_GUEST_OFF },
	{ "dead, cleared away", RUNNING "release turn dead",
	    "prepare keeper go warden verify run kill release", VM_CLEARING,
	    EXIT_NONE },
	{ "not yet: asked again", "release turn refusal turn late",
	    "release release", VM_CLEARING, EXIT_NONE },
};

static void
test_turns(void)
{
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct vm *v = begin();

		v->rung_ms[STOP_AGENT] = v->rung_ms[STOP_TERM] = 1000;
		v->ready_by_ms = INT64_MAX;
		t_row(rows[i].name);
		play(v, rows[i].script);
		t_str(asked, rows[i].asked);
		t_str(fsm_state_name(v->state), fsm_state_name(rows[i].state));
		t_eq(v->reason, rows[i].reason);
		end(v);
	}
}

/* A turn without news asks nobody anything, wherever the VM is. */
static void
test_again(void)
{
	char before[sizeof(asked)];
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct vm *v = begin();
		enum vm_state s;

		v->rung_ms[STOP_AGENT] = v->rung_ms[STOP_TERM] = 1000;
		v->ready_by_ms = INT64_MAX;
		t_row(rows[i].name);
		play(v, rows[i].script);
		s = v->state;
		memcpy(before, asked, sizeof(before));
		life_converge(v);
		t_str(asked, before);
		t_eq(v->state, s);
		end(v);
	}
}

static void
test_wake(void)
{
	struct vm *v = begin();

	vm_wake(v);
	vm_wake(v);
	t_eq(ld.nwoken, 1);
	vm_tell(v, LE_RUNG);
	vm_tell(v, LE_EXITED);
	t_true(TAILQ_FIRST(&ld.told) == v && TAILQ_NEXT(v, by_told) == NULL);
	t_eq(v->news, 1U << LE_RUNG | 1U << LE_EXITED);
	end(v);
}

/* Of the probe of KVM that is its answer, which is probe.c's to find. */
static void
test_probe_halted(void)
{
	struct vm *v = begin();

	v->is_probe = true;
	play(v, RUNNING "halted");
	t_eq(v->state, VM_RUNNING);
	t_eq(v->reason, EXIT_NONE);
	end(v);
}

/* The smaller hypervisor where it is there, and can do what the VM needs. */
static void
test_backend(void)
{
	static const struct {
		const char *name;
		struct launch_caps caps;
		enum machine_accel accel;
		enum dev_kind dev; /* 0: none */
		enum machine_backend picked;
	} hosts[] = {
		{ "it can", { .microvm = 1 }, ACCEL_KVM, 0,
		    BACKEND_QEMU_MICROVM },
		{ "with a nic", { .microvm = 1 }, ACCEL_KVM, DEV_NIC,
		    BACKEND_QEMU_MICROVM },
		{ "it is not there", { 0 }, ACCEL_KVM, 0, BACKEND_QEMU },
		{ "nor is it where vsock is not", { .vsock = 1 }, ACCEL_KVM, 0,
		    BACKEND_QEMU },
		{ "no vsock with it", { .microvm = 1, .vsock = 1 }, ACCEL_KVM,
		    0, BACKEND_QEMU },
		{ "no emulation with it", { .microvm = 1 }, ACCEL_TCG, 0,
		    BACKEND_QEMU },
		{ "a device that it has not", { .microvm = 1 }, ACCEL_KVM,
		    DEV_VSOCK, BACKEND_QEMU },
	};
	struct vm *v;
	size_t i;

	for (i = 0; i < nitems(hosts); i++) {
		t_row(hosts[i].name);
		v = begin();
		ld.caps = hosts[i].caps;
		ld.accel = hosts[i].accel;
		if (hosts[i].dev != 0)
			t_eq(machine_add(&v->machine, hosts[i].dev, 1), 0);
		v->machine.backend = UINT16_MAX;
		play(v, "start");
		t_eq(v->machine.backend, hosts[i].picked);
		end(v);
	}
}

const struct t_case t_cases[] = { { "turns", test_turns },
	{ "a turn without news", test_again },
	{ "a probe that was given up", test_probe_halted },
	{ "which hypervisor", test_backend }, { "woken once", test_wake },
	{ NULL, NULL } };
