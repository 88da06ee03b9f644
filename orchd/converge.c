#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/orchd.h"
#include "proto/net.h"

/*
 * Desired against observed, one step at a time: each call asks a helper for
 * at most one thing that is missing or too much, each answer calls again.
 * Every request to a helper may be repeated, so nothing that dies in
 * between, here or there, can leave a VM half done.
 */
#define ASK_MS 15000 /* a helper that says nothing for so long is broken */
#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 5000
/* Beyond what launchd's own deadlines add up to. */
#define LIFE_MARGIN_MS 10000

static void
on_timer(int fd, short what, void *arg)
{
	struct vm *vm = arg;

	(void)fd;
	(void)what;
	if (vm->ask != ASK_NONE)
		vm_asked(vm, -ETIMEDOUT, "no answer in time");
	else if (vm->dirty)
		vm_save(vm);
	else
		vm_converge(vm);
}

static void
timer_set(struct vm *vm, unsigned int ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (suseconds_t)(ms % 1000) * 1000 };

	if (vm->timer == NULL)
		vm->timer = evtimer_new(vm->orchd->base, on_timer, vm);
	if (vm->timer == NULL || event_add(vm->timer, &tv) < 0)
		log_error("vm %s: no timer", vm->row.name);
}

static uint64_t
ask(struct vm *vm, enum vm_ask what)
{
	vm_ask_set(vm, what);
	timer_set(vm, ASK_MS);
	return vm->ask_id;
}

static void
pause_after(struct vm *vm)
{
	unsigned int ms = PAUSE_MIN_MS;

	ms <<= vm->failures < 6 ? vm->failures : 6;
	vm->failures++;
	timer_set(vm, ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : ms);
}

/* The helper died this moment or does not read: nothing came of it, and that
 * is no fault of the VM.  Asked again, of its next life if need be. */
static void
not_sent(struct vm *vm)
{
	vm_ask_clear(vm);
	if (vm->tap == TAP_OPENING)
		vm->tap = TAP_NONE;
	vm->stop_sent = false;
	pause_after(vm);
}

static void
ask_tap(struct vm *vm, bool adopt)
{
	struct net_tap req = { .vm_uid = vm->row.vmid,
		.slot = (uint16_t)vm->row.slot,
		.ipv4 = htonl(vm->row.ipv4),
		.flags = adopt ? NET_ADOPT : 0 };
	uint64_t id = ask(vm, adopt ? ASK_ADOPT : ASK_TAP);

	memcpy(req.mac, vm->row.mac, sizeof(req.mac));
	if (!adopt)
		vm->tap = TAP_OPENING;
	if (chan_send(vm->orchd->net.chan, NET_TAP_OPEN, id, &req, sizeof(req),
		-1) < 0)
		not_sent(vm);
}

static void
ask_tap_close(struct vm *vm)
{
	const struct net_tap_close req = { .vm_uid = vm->row.vmid,
		.slot = (uint16_t)vm->row.slot };
	uint64_t id = ask(vm, ASK_TAP_CLOSE);

	close_fd(&vm->tap_fd);
	if (chan_send(vm->orchd->net.chan, NET_TAP_CLOSE, id, &req, sizeof(req),
		-1) < 0)
		not_sent(vm);
}

static void
ask_release(struct vm *vm)
{
	const struct launch_vm req = { .vm = vm->row.vmid };
	uint64_t id = ask(vm, ASK_RELEASE);

	if (chan_send(vm->orchd->launch.chan, LAUNCH_RELEASE, id, &req,
		sizeof(req), -1) < 0)
		not_sent(vm);
}

static void
ask_stop(struct vm *vm)
{
	struct launch_stop req = { .vm = vm->row.vmid, .from = STOP_AGENT };
	uint64_t id = ask(vm, ASK_STOP);

	memcpy(
	    req.deadline_ms, vm->orchd->conf.stop_ms, sizeof(req.deadline_ms));
	vm->stop_sent = true;
	if (chan_send(vm->orchd->launch.chan, LAUNCH_STOP, id, &req,
		sizeof(req), -1) < 0)
		not_sent(vm);
}

/* An attachment is not answered; what is wrong with it START will tell. */
static int
attach(struct vm *vm, enum launch_attach_kind kind, int fd)
{
	const struct launch_attach a = { .vm = vm->row.vmid, .kind = kind };

	if (fd < 0)
		return fd;
	return chan_send(
	    vm->orchd->launch.chan, LAUNCH_ATTACH, 0, &a, sizeof(a), fd);
}

static void
ask_start(struct vm *vm)
{
	struct launch_start req = { .vm = vm->row.vmid,
		.mem_mib = (uint32_t)vm->spec.memory_mb,
		.slot = (uint16_t)vm->row.slot,
		.vcpus = (uint16_t)vm->spec.cpu_cores,
		.nics = 1,
		.ready_ms = vm->orchd->conf.ready_ms };
	const char *args = vm->spec.kernel_cmdline;
	uint64_t id = ask(vm, ASK_START);
	int tap = vm->tap_fd, r;

	memcpy(req.mac, vm->row.mac, sizeof(req.mac));
	vm->tap_fd = -1;
	vm->hv = HV_ASKED;
	vm->stop_sent = false;
	if ((r = attach(vm, LAUNCH_FD_TAP, tap)) < 0 ||
	    (r = attach(vm, LAUNCH_FD_SPEC, bootspec_fd(vm))) < 0)
		goto fail;
	if (args[0] != '\0' &&
	    (r = attach(vm, LAUNCH_FD_ARGS,
		 memfd_sealed("args", args, strlen(args)))) < 0)
		goto fail;
	r = chan_send(
	    vm->orchd->launch.chan, LAUNCH_START, id, &req, sizeof(req), -1);
fail:
	if (r == -EPIPE || r == -ENOBUFS) {
		vm->hv = HV_GONE; /* attachments of it may lie there */
		not_sent(vm);
	} else if (r < 0)
		vm_asked(vm, r, "what it boots from cannot be made");
}

/* Gives back what a VM that does not run still holds; false: all is. */
static bool
release_step(struct vm *vm)
{
	if (vm->hv != HV_NONE) {
		ask_release(vm);
		return true;
	}
	if (vm->tap != TAP_NONE) {
		ask_tap_close(vm);
		return true;
	}
	return false;
}

static void life_set(struct vm *vm, uint64_t ms);

/* launchd has deadlines of its own for these; this is for one that forgets. */
static void
on_life(int fd, short what, void *arg)
{
	struct vm *vm = arg;

	(void)fd;
	(void)what;
	if (!vm->orchd->launch.listed) {
		life_set(vm, 0); /* it is not there to say anything */
		return;
	}
	log_warn("vm %s: launchd never said what came of it", vm->row.name);
	vm->hv = HV_GONE; /* released, that is killed, next */
	if (vm->row.state == VM_STARTING) {
		vm->row.reason = EXIT_START_FAILED;
		text_clean(vm->row.detail, sizeof(vm->row.detail),
		    "the launcher never said what came of it");
		(void)vm_step(vm, EV_FAILED, vm->row.detail);
	} else
		vm_converge(vm);
}

static void
life_set(struct vm *vm, uint64_t ms)
{
	struct timeval tv;

	ms += LIFE_MARGIN_MS;
	tv.tv_sec = (time_t)(ms / 1000);
	tv.tv_usec = (suseconds_t)(ms % 1000) * 1000;
	if (vm->life == NULL)
		vm->life = evtimer_new(vm->orchd->base, on_life, vm);
	if (vm->life == NULL ||
	    (!evtimer_pending(vm->life, NULL) && event_add(vm->life, &tv) < 0))
		log_error("vm %s: no timer", vm->row.name);
}

static uint64_t
stop_ms(const struct orchd *o)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < nitems(o->conf.stop_ms); i++)
		sum += o->conf.stop_ms[i];
	return sum;
}

static void
start_step(struct vm *vm)
{
	if (vm->row.state == VM_PENDING && vm->hv != HV_NONE) {
		ask_release(vm); /* of an earlier life */
		return;
	}
	switch (vm->hv) {
	case HV_ASKED:
	case HV_ALIVE:
		/* launchd tells what becomes of it */
		life_set(vm, vm->orchd->conf.ready_ms);
		return;
	case HV_GONE:
		ask_release(vm);
		return;
	case HV_NONE:
		break;
	}
	if (vm->tap_fd < 0) {
		/* a tap whose descriptor an earlier life held is of no use */
		if (vm->tap == TAP_HELD)
			ask_tap_close(vm);
		else
			ask_tap(vm, false);
		return;
	}
	if (vm->row.state == VM_PENDING)
		(void)vm_step(vm, EV_NET_READY, "network ready");
	else
		ask_start(vm);
}

static void
on_deleted(void *arg, int r)
{
	struct vm *vm = arg;

	vm->writes--;
	if (r < 0) {
		log_error("vm %s: not deleted: %s", vm->row.name,
		    strerrordesc_np(-r));
		vm_wait_fail(vm, FOR_GONE, r == -ENOSPC ? 507 : 500,
		    "stopped, and will be gone once the store can be written");
		timer_set(vm, PAUSE_MAX_MS);
		return;
	}
	events_wake(vm->orchd);
	vm_gone(vm);
}

static void
delete_row(struct vm *vm)
{
	struct txn *t = txn_new(vm->orchd->store, on_deleted, vm);

	if (t == NULL) {
		timer_set(vm, PAUSE_MAX_MS);
		return;
	}
	vm->writes++; /* nothing else may start now */
	txn_vm_del(t, vm->row.vmid);
	event_add_vm(t, vm, "VM_DELETED", "stopped", "vm deleted");
	txn_commit(t);
}

/* It ran when it was last heard of, and what launchd tells is only that it
 * does not any more: nobody saw how it ended. */
static void
died_unseen(struct vm *vm)
{
	vm->pid = 0;
	vm->ready = false;
	vm->row.reason = EXIT_NONE;
	text_clean(vm->row.detail, sizeof(vm->row.detail),
	    vm->hv == HV_GONE ? "ended while nobody watched"
			      : "was gone after a restart of the host");
	(void)vm_step(vm, EV_DIED, vm->row.detail);
}

void
vm_converge(struct vm *vm)
{
	const struct orchd *o = vm->orchd;

	if (vm->ask != ASK_NONE || !vm->committed || vm->writes > 0)
		return;
	if (vm->timer != NULL && evtimer_pending(vm->timer, NULL))
		return; /* the pause after a failure */
	if (vm->dirty) {
		timer_set(vm, PAUSE_MAX_MS);
		return;
	}
	if (!o->net.listed || !o->launch.listed)
		return;
	switch ((enum vm_state)vm->row.state) {
	case VM_PENDING:
	case VM_STARTING:
		start_step(vm);
		return;
	case VM_RUNNING:
		if (vm->hv == HV_NONE || vm->hv == HV_GONE)
			died_unseen(vm);
		else if (vm->adopt)
			ask_tap(vm, true);
		return;
	case VM_STOPPING:
		if (vm->hv == HV_NONE || vm->hv == HV_GONE)
			(void)vm_step(vm, EV_ENDED, "stopped");
		else if (!vm->stop_sent)
			ask_stop(vm);
		else
			life_set(vm, stop_ms(o));
		return;
	case VM_STOPPED:
	case VM_CRASHED:
		(void)release_step(vm);
		return;
	case VM_DELETING:
		if (!release_step(vm))
			delete_row(vm);
		return;
	case VM_STATES:
		return;
	}
}

/* What a good answer to each question means for what is held. */
static void
asked_well(struct vm *vm, enum vm_ask what)
{
	vm->failures = 0;
	switch (what) {
	case ASK_NONE:
	case ASK_STOP:
		return;
	case ASK_TAP:
		vm->tap = TAP_HELD;
		return;
	case ASK_ADOPT:
		vm->adopt = false;
		return;
	case ASK_TAP_CLOSE:
		vm->tap = TAP_NONE;
		vm->adopt = false;
		return;
	case ASK_START:
		if (vm->hv == HV_ASKED)
			vm->hv = HV_ALIVE;
		return;
	case ASK_RELEASE:
		vm->hv = HV_NONE;
		vm->pid = 0;
		vm->ready = false;
		return;
	}
}

void
vm_asked(struct vm *vm, int r, const char *why)
{
	const enum vm_ask what = vm->ask;

	vm_ask_clear(vm);
	if (vm->timer != NULL)
		(void)evtimer_del(vm->timer);
	if (r == 0) {
		asked_well(vm, what);
		vm_converge(vm);
		return;
	}
	log_warn("vm %s: %s (%s)", vm->row.name, why, strerrordesc_np(-r));
	if (what == ASK_TAP || what == ASK_START) {
		/* what came of it is not known: release both, ask nothing */
		vm->tap = TAP_HELD;
		if (what == ASK_START)
			vm->hv = HV_GONE;
		vm->row.reason = EXIT_START_FAILED;
		vm->failures = 0;
		text_clean(vm->row.detail, sizeof(vm->row.detail), why);
		if (vm_step(vm, EV_FAILED, why) < 0)
			vm_converge(vm);
		return;
	}
	if (what == ASK_ADOPT && r != -ETIMEDOUT)
		vm->adopt = false; /* netd said why; the VM runs on without */
	if (what == ASK_STOP) {
		vm->stop_sent = false;
		if (r == -ENOENT)
			vm->hv = HV_NONE;
	}
	if (what == ASK_TAP_CLOSE && r == -EPERM)
		vm->tap = TAP_NONE; /* another's by now: ours is gone */
	pause_after(vm);
}

void
vm_ask_lost(struct vm *vm, bool net)
{
	const bool was_net = vm->ask == ASK_TAP || vm->ask == ASK_ADOPT ||
	    vm->ask == ASK_TAP_CLOSE;

	if (vm->ask == ASK_NONE || was_net != net)
		return;
	/* the list that the new helper gives says what came of it */
	vm_ask_clear(vm);
	if (vm->timer != NULL)
		(void)evtimer_del(vm->timer);
}
