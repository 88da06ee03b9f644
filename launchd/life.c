#include <errno.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "launchd/keeplink.h"
#include "launchd/launchd.h"
#include "launchd/life.h"
#include "launchd/probe.h"
#include "launchd/reason.h"
#include "launchd/spawnlink.h"
#include "launchd/stop.h"
#include "launchd/vm.h"
#include "launchd/wardlink.h"
#include "proto/spawn.h"

/* Deadlines of states that have one of their own. */
#define ENDED_WAIT_MS 300 /* for the warden's last word */
/* for the spawner's; a jail takes it 5 s at most */
#define COUNT_WAIT_MS 6000
#define KILL_RETRY_MS 5000
#define UNKNOWN_MS 5000 /* found again, and not known yet: that is said */
#define MUTE_MS 3000 /* a warden that is started anew is back by then */
#define CLEAR_RETRY_MS 10 /* something of it lives for a moment: at first */
#define CLEAR_RETRY_MAX_MS 1000
#define CLEAR_TRIES 16 /* some 10 s */
#define CLEAR_LATER_MS 5000

/* Everything that led into the jail. */
static void
close_all(struct vm *v)
{
	link_close(&v->keep);
	wardlink_close(v);
	machine_fds_clear(&v->fds);
	fd_close(&v->boot_spec);
}

/* Of a start; one that was found again has none, but what it waits for is
 * said. */
static void
arm_ready_by(struct vm *v)
{
	long long left = v->ready_by_ms - clock_ms();

	if (v->is_adopted)
		vm_arm(v, v->state == VM_RUNNING ? -1 : UNKNOWN_MS);
	else
		vm_arm(v, left < 0 ? 0 : left);
}

/* The smaller hypervisor where it can do all that the VM needs.  AF_VSOCK
 * comes later, from the spawner: then none of them may lack it. */
static unsigned int
pick_backend(const struct vm *v)
{
	return launch_has_microvm(&v->ld->caps) && v->accel == ACCEL_KVM &&
		backend_can(BACKEND_QEMU_MICROVM, &v->machine)
	    ? BACKEND_QEMU_MICROVM
	    : BACKEND_QEMU;
}

static void
enter_prepare(struct vm *v)
{
	struct machine *m = &v->machine;

	v->at_us[T_START] = clock_us();
	v->accel = (uint8_t)(v->is_probe ? ACCEL_KVM : v->ld->accel);
	/* what orchd leaves to us: the spawner checks it, the keeper runs it */
	m->accel = v->accel;
	m->backend = (uint16_t)pick_backend(v);
	m->tsc_khz = v->accel == ACCEL_TCG ? v->ld->tsc_khz : 0;
	m->flags = v->is_probe ? MACHINE_PROBE : 0;
	spawnlink_prepare(v);
}

static void
enter_running(struct vm *v)
{
	if (!v->is_adopted)
		log_info("vm %s: runs after %lld us: jail %lld, keeper %lld, "
			 "hypervisor %lld, read-back %lld",
		    v->name, v->at_us[T_VERIFIED] - v->at_us[T_START],
		    v->at_us[T_PREPARED] - v->at_us[T_START],
		    v->at_us[T_KEEPER] - v->at_us[T_PREPARED],
		    v->at_us[T_VERIFY] - v->at_us[T_KEEPER],
		    v->at_us[T_VERIFIED] - v->at_us[T_VERIFY]);
	arm_ready_by(v);
	v->gives_spec = true;
	vm_tell(v, LE_RUNNING);
}

static void
enter_ended(struct vm *v)
{
	v->is_counted = !reason_may_be_oom(v);
	vm_arm(v, ENDED_WAIT_MS);
	if (!v->is_counted)
		spawnlink_count(v);
}

static void
enter_gone(struct vm *v)
{
	vm_arm(v, -1);
	vm_tell(v, LE_EXITED);
	if (v->is_probe)
		probe_failed(v);
}

/* Kill, wait for the death, have the spawner remove it, in this order. */
static void
enter_freeing(struct vm *v)
{
	/* an earlier question's answer is none to what is asked now */
	spawnlink_forget(v);
	if (v->pid == 0) {
		v->is_dead = true; /* or never was */
		return;
	}
	vm_arm(v, KILL_RETRY_MS);
	if (v->keep_state.phase == KEEP_ENDED && keeplink_bye(v) == 0)
		return;
	spawnlink_kill(v);
}

/* What a state does when it is entered; some again at their deadline. */
static void
enter(struct vm *v)
{
	switch (v->state) {
	case VM_PREPARE:
		enter_prepare(v);
		break;
	case VM_KEEPER:
		v->at_us[T_PREPARED] = clock_us();
		if (v->is_adopted)
			vm_arm(v, UNKNOWN_MS);
		keeplink_connect(v);
		break;
	case VM_WARDEN:
		arm_ready_by(v);
		wardlink_connect(v);
		break;
	case VM_RUNNING:
		enter_running(v);
		break;
	case VM_READY:
		vm_arm(v, -1);
		v->is_doubted = v->is_mute = false;
		fd_close(&v->boot_spec);
		vm_tell(v, LE_READY);
		break;
	case VM_STOPPING:
		if (v->ward.phase == LINK_OFF)
			wardlink_connect(v);
		stop_begin(v);
		break;
	case VM_KILLING:
		vm_arm(v, KILL_RETRY_MS);
		spawnlink_kill(v);
		break;
	case VM_ENDED:
		enter_ended(v);
		break;
	case VM_GONE:
		enter_gone(v);
		break;
	case VM_FREEING:
		enter_freeing(v);
		break;
	case VM_CLEARING:
		vm_arm(v, -1);
		close_all(v);
		spawnlink_release(v);
		break;
	case VM_MUTE:
		vm_tell(v, LE_MUTE);
		break;
	case VM_BROKEN:
		log_error("vm %s: its record cannot be read: it is left alone "
			  "until it is released",
		    v->name);
		break;
	case VM_NEW:
	case VM_ACCEL:
	case VM_VERIFIED:
	case VM_STATES:
		break;
	}
}

/* The keeper says where the VM is; what we know says what is next. */
static void
look_keeper(struct vm *v)
{
	if (v->keep.phase != LINK_UP || v->is_kept || v->wants_kill)
		return;
	switch ((enum keep_phase)v->keep_state.phase) {
	case KEEP_WAIT:
		if (v->is_adopted)
			/* what it should run died with the old launchd */
			vm_end(v, EXIT_START_FAILED,
			    "launcher restarted during the start");
		else
			keeplink_go(v);
		break;
	case KEEP_RUN:
		v->accel = (uint8_t)v->machine.accel;
		v->is_kept = true;
		break;
	case KEEP_ENDED:
		v->accel = (uint8_t)v->machine.accel;
		/* the warden, if it still is, knows what the guest did */
		v->ward_state.qmp = 1;
		if (v->ward.phase == LINK_OFF)
			wardlink_connect(v);
		break;
	}
}

/* After the start a warden gets it when it says that it has none. */
static void
look_spec(struct vm *v)
{
	const bool needs = v->ward_state.need_spec != 0;
	const bool gives = v->gives_spec || needs;

	v->gives_spec = false;
	if (v->ward.phase != LINK_UP || v->is_probe || v->spec_sent)
		return;
	if (gives)
		wardlink_spec(v);
	if (needs && !v->spec_sent && !v->spec_asked) {
		v->spec_asked = true;
		vm_tell(v, LE_NEED_SPEC);
	}
}

/* Ready is what was seen lately, not what was so once. */
static void
look_ready(struct vm *v)
{
	if (vm_answers(v) != v->is_doubted)
		return;
	v->is_doubted = !v->is_doubted;
	vm_arm(v, v->is_doubted ? MUTE_MS : -1);
}

/* What its hypervisor was told of KVM, and its guest cannot survive.  One that
 * is to be stopped is on its way to the same end. */
static void
look_halted(struct vm *v)
{
	if (v->ward_state.halted && !v->is_probe && v->state != VM_STOPPING)
		vm_end(v, EXIT_VMM_ERROR,
		    "KVM internal error: the guest's processor cannot go on, "
		    "the hypervisor's log says where it stood");
}

static void
look_warden(struct vm *v)
{
	/* at the start the hypervisor has to be there; later it just is */
	if (v->ward.phase == LINK_QMP &&
	    (v->ward_state.qmp || v->state != VM_WARDEN))
		wardlink_verify(v);
	probe_look(v);
	/* also one that was lost before it was told to */
	if (v->state == VM_VERIFIED && v->ward.phase == LINK_UP && !v->is_run)
		wardlink_run(v);
	if (v->state == VM_READY)
		look_ready(v);
	look_halted(v);
	if (v->state != VM_WARDEN && v->state != VM_VERIFIED)
		look_spec(v);
}

static void
look_ended(struct vm *v)
{
	if (v->had_last_word)
		return;
	/* a warden that still talks may know better than the exit status */
	if (!v->is_dead && v->ward.chan != NULL &&
	    v->ward_state.guest_event == EXIT_NONE && v->ward_state.qmp)
		return;
	v->had_last_word = true;
	if (!v->is_counted)
		vm_arm(v, COUNT_WAIT_MS);
}

/* What a state goes on doing, whenever something was heard. */
static void
look(struct vm *v)
{
	stop_look(v);
	if (vm_wants_warden(v))
		look_warden(v);
	else if (v->state == VM_KEEPER)
		look_keeper(v);
	else if (v->state == VM_ENDED)
		look_ended(v);
	else if (v->state == VM_GONE && v->is_dead)
		close_all(v); /* its keeper was the status */
}

static void
go_on(struct vm *v)
{
	enum vm_event ev;

	for (look(v); (ev = vm_due(v)) != EV_EVENTS; look(v)) {
		if (ev == EV_REASON)
			reason_find(v);
		(void)vm_step(v, ev);
		enter(v);
	}
}

/* A warden that is another than the one at the start was read back. */
static void
new_warden(struct vm *v)
{
	log_info("vm %s: a new warden serves", v->name);
	vm_tell(v, LE_WARDEN);
	if (v->state == VM_STOPPING)
		stop_say(v); /* the old one may not have heard */
}

static void
cleared(struct vm *v)
{
	if (v->spawn_code == 0) {
		v->is_cleared = true;
		vm_answer(v);
		return;
	}
	if ((v->spawn_code == -EBUSY || v->spawn_code == -EAGAIN) &&
	    v->tries < CLEAR_TRIES) {
		long long ms = (long long)CLEAR_RETRY_MS << v->tries++;

		vm_arm(v, ms < CLEAR_RETRY_MAX_MS ? ms : CLEAR_RETRY_MAX_MS);
		return;
	}
	log_error("vm %s: not released: %s", v->name, v->spawn_why);
	v->is_refused = true;
	vm_answer(v);
	vm_arm(v, CLEAR_LATER_MS); /* and on: nothing may leak */
}

/* The spawner answered what it was asked last. */
static void
answered(struct vm *v)
{
	switch ((enum spawn_msg)v->spawn_verb) {
	case SPAWN_PREPARE:
		if (v->spawn_code == 0)
			break;
		reason_set(v, EXIT_START_FAILED, v->spawn_why);
		v->is_dead = true;
		break;
	case SPAWN_VERIFY:
		wardlink_verified(v);
		if (v->ward.phase == LINK_UP && v->state != VM_WARDEN &&
		    vm_wants_warden(v))
			new_warden(v);
		break;
	case SPAWN_RELEASE:
		cleared(v);
		break;
	default: /* a KILL's death, a COUNT's number come by themselves */
		if (v->spawn_code != 0)
			log_warn("vm %s: spawner: %s", v->name, v->spawn_why);
		break;
	}
}

/* Whom a VM that was found again waits for. */
static const char *
unknown_for(const struct vm *v)
{
	if (v->state == VM_KEEPER)
		return v->keep.phase == LINK_HELLO
		    ? "its keeper does not answer"
		    : "its keeper does not listen";
	if (v->state == VM_VERIFIED)
		return "its warden does not say that it runs";
	switch (v->ward.phase) {
	case LINK_HELLO:
		return "its warden does not answer";
	case LINK_QMP:
		return "its warden does not reach the hypervisor";
	case LINK_VERIFY:
		return "the spawner has not read it back";
	case LINK_OFF:
	case LINK_CONNECT:
	case LINK_UP:
		break;
	}
	return "its warden does not listen";
}

/* Start, stop and streams of it are refused meanwhile. */
static void
say_unknown(const struct vm *v)
{
	log_warn("vm %s: found again and not known after %d s: %s: the VM is "
		 "left alone",
	    v->name, UNKNOWN_MS / 1000, unknown_for(v));
}

/* The deadline of a state has come. */
static void
deadline(struct vm *v)
{
	switch (v->state) {
	case VM_KEEPER:
		if (v->is_adopted && !v->keep.said)
			say_unknown(v);
		break;
	case VM_WARDEN:
	case VM_VERIFIED:
		if (v->is_adopted)
			say_unknown(v);
		else if (!probe_waits(v))
			vm_end(v, EXIT_START_FAILED,
			    "hypervisor or warden did not answer in time");
		break;
	case VM_RUNNING:
		if (!v->is_adopted && !probe_waits(v))
			vm_end(v, EXIT_NO_AGENT, "");
		break;
	case VM_READY:
		v->is_mute = true;
		break;
	case VM_STOPPING:
		stop_next(v);
		break;
	case VM_ENDED:
		/* no answer: killed, by whomever */
		v->is_counted |= v->had_last_word;
		v->had_last_word = true;
		if (!v->is_counted)
			vm_arm(v, COUNT_WAIT_MS);
		break;
	case VM_KILLING:
		log_warn("vm %s: still not dead", v->name);
		enter(v);
		break;
	case VM_FREEING:
		if (v->keep_state.phase == KEEP_ENDED)
			link_close(&v->keep); /* BYE was not enough */
		enter(v);
		break;
	case VM_CLEARING:
		enter(v);
		break;
	case VM_NEW:
	case VM_BROKEN:
	case VM_ACCEL:
	case VM_PREPARE:
	case VM_MUTE:
	case VM_GONE:
	case VM_STATES:
		break;
	}
}

void
life_converge(struct vm *v)
{
	if (v->spawn_due) {
		v->spawn_due = false;
		spawnlink_due(v);
	}
	if (v->spawn_said) {
		v->spawn_said = false;
		answered(v);
	}
	if (v->keep.due) {
		v->keep.due = false;
		keeplink_due(v);
	}
	if (v->ward.due) {
		v->ward.due = false;
		wardlink_due(v);
	}
	go_on(v);
	/* unless what was heard led it on in time */
	if (v->is_due) {
		v->is_due = false;
		deadline(v);
		go_on(v);
	}
}
