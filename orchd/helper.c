#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "common/util.h"
#include "orchd/orchd.h"
#include "proto/net.h"

#define ENSURE_S 300
#define ASKED(what) (1U << (what))
#define NET_ASKS (ASKED(ASK_TAP) | ASKED(ASK_ADOPT) | ASKED(ASK_TAP_CLOSE))
#define LAUNCH_ASKS (ASKED(ASK_START) | ASKED(ASK_STOP) | ASKED(ASK_RELEASE))

/*
 * The VM whose question this answers, in *ret; NULL: too late, or nobody's.
 * A helper answers its own questions, each in the way it is answered, or it
 * is no helper of ours (-EPERM).  uid 0: the answer has none.
 */
static int
asker(struct orchd *o, uint64_t id, uint64_t uid, unsigned int asks,
    struct vm **ret)
{
	struct vm *vm = vm_by_ask(o, id);

	*ret = vm;
	if (vm == NULL)
		return 0;
	if (RULE(HELPER_OWN_ASK) &&
	    ((asks & ASKED(vm->ask)) == 0 || (uid != 0 && uid != vm->row.vmid)))
		return -EPERM;
	return 0;
}

/* Both helpers have told what they hold: now the store can be held against
 * it, and every VM moves on. */
static void
converge_all(struct orchd *o)
{
	struct vm *vm, *next;

	if (!o->net.listed || !o->launch.listed)
		return;
	for (vm = TAILQ_FIRST(&o->vms); vm != NULL; vm = next) {
		next = TAILQ_NEXT(vm, entry);
		vm_converge(vm);
	}
}

/* --- netd --- */

static int
on_tap_ready(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;
	struct net_tap_ready rdy;
	struct vm *vm;
	int r;

	(void)c;
	memcpy(&rdy, m->data, sizeof(rdy));
	r = asker(o, m->id, rdy.vm_uid, ASKED(ASK_TAP) | ASKED(ASK_ADOPT), &vm);
	if (r < 0 || vm == NULL)
		return r;
	if (vm->ask == ASK_TAP) {
		if (m->fd < 0) {
			vm_asked(vm, -EBADF, "netd sent no tap");
			return 0;
		}
		close_fd(&vm->tap_fd);
		vm->tap_fd = m->fd;
		m->fd = -1;
	}
	vm_asked(vm, 0, "");
	return 0;
}

static int
on_net_done(void *arg, struct chan *c, struct msg *m)
{
	struct vm *vm;
	int r = asker(arg, m->id, 0, ASKED(ASK_TAP_CLOSE), &vm);

	(void)c;
	if (r == 0 && vm != NULL)
		vm_asked(vm, 0, "");
	return r;
}

static int
on_net_err(void *arg, struct chan *c, struct msg *m)
{
	struct net_err err;
	struct vm *vm;
	int r = asker(arg, m->id, 0, NET_ASKS, &vm);

	(void)c;
	if (r < 0)
		return r;
	memcpy(&err, m->data, sizeof(err));
	if (vm != NULL)
		vm_asked(vm, err.code < 0 ? err.code : -EIO, err.msg);
	else
		log_warn("netd: %s", err.msg);
	return 0;
}

/* A tap of a VM that the store does not know must go. */
static void
close_stranger(struct orchd *o, const struct net_tap *tap)
{
	const struct net_tap_close req = { .vm_uid = tap->vm_uid,
		.slot = tap->slot };

	log_warn("netd holds the tap of %016llx, which is not in the store",
	    (unsigned long long)tap->vm_uid);
	(void)chan_send(
	    o->net.chan, NET_TAP_CLOSE, ++o->last_ask, &req, sizeof(req), -1);
}

static int
on_net_held(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;
	int i, n = net_held_count(m->len);

	(void)c;
	if (n < 0)
		return n;
	if (o->net.listed)
		return -EPERM; /* nobody asked */
	for (i = 0; i < n; i++) {
		struct net_tap tap;
		struct vm *vm;

		memcpy(&tap, (const uint8_t *)m->data + (size_t)i * sizeof(tap),
		    sizeof(tap));
		vm = vm_by_uid(o, tap.vm_uid);
		if (vm == NULL || vm->row.slot != tap.slot)
			close_stranger(o, &tap);
		else {
			vm->tap = TAP_HELD;
			vm->adopt = true;
		}
	}
	return 0;
}

static int
on_net_list_end(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;
	struct vm *vm;

	(void)c;
	(void)m;
	if (o->net.listed)
		return -EPERM;
	o->net.listed = true;
	TAILQ_FOREACH (vm, &o->vms, entry) {
		if (vm->tap == TAP_NONE)
			close_fd(&vm->tap_fd); /* of a tap that is no more */
	}
	net_ensure(o);
	converge_all(o);
	return 0;
}

static void
on_ensure(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	net_ensure(arg);
}

void
net_ensure(struct orchd *o)
{
	const struct timeval tv = { .tv_sec = ENSURE_S };

	if (o->ensure == NULL)
		o->ensure = evtimer_new(o->base, on_ensure, o);
	if (o->ensure != NULL)
		(void)event_add(o->ensure, &tv);
	if (o->net.listed)
		(void)chan_send(
		    o->net.chan, NET_ENSURE, ++o->last_ask, NULL, 0, -1);
}

static void
on_net_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct orchd *o = arg;
	struct vm *vm;

	if (o->net.chan != c)
		return;
	log_warn("netd: %s", why);
	boot_ended(o->parent, ROOM_NETD, o->life[ROOM_NETD], end);
	chan_free(c);
	o->net.chan = NULL;
	o->net.listed = false;
	TAILQ_FOREACH (vm, &o->vms, entry)
		vm_ask_lost(vm, true);
}

static const struct msg_handler net_handlers[] = {
	{ NET_TAP_READY, sizeof(struct net_tap_ready), 0, FD_OPT, PH_ANY,
	    net_tap_ready_check, on_tap_ready },
	{ NET_DONE, 0, 0, 0, PH_ANY, NULL, on_net_done },
	{ NET_ERR, sizeof(struct net_err), 0, 0, PH_ANY, net_err_check,
	    on_net_err },
	{ NET_HELD, sizeof(struct net_tap),
	    (NET_HELD_MAX - 1) * sizeof(struct net_tap), 0, PH_ANY, NULL,
	    on_net_held },
	{ NET_LIST_END, sizeof(struct net_list_end), 0, 0, PH_ANY,
	    net_list_end_check, on_net_list_end },
};
const struct chan_ops net_ops = { net_handlers, nitems(net_handlers),
	on_net_gone };

/* --- launchd --- */

static int
on_launch_done(void *arg, struct chan *c, struct msg *m)
{
	struct launch_vm v;
	struct vm *vm;
	int r;

	(void)c;
	memcpy(&v, m->data, sizeof(v));
	r = asker(arg, m->id, v.vm, LAUNCH_ASKS, &vm);
	if (r == 0 && vm != NULL)
		vm_asked(vm, 0, "");
	return r;
}

static int
on_launch_err(void *arg, struct chan *c, struct msg *m)
{
	struct launch_err err;
	struct vm *vm;
	int r;

	(void)c;
	memcpy(&err, m->data, sizeof(err));
	if ((r = asker(arg, m->id, err.vm, LAUNCH_ASKS, &vm)) < 0)
		return r;
	if (vm != NULL)
		vm_asked(vm, err.code, err.msg);
	else if (m->id != 0)
		log_warn("launchd: %016llx: %s", (unsigned long long)err.vm,
		    err.msg);
	return 0;
}

static void
release_stranger(struct orchd *o, uint64_t uid)
{
	const struct launch_vm req = { .vm = uid };

	log_warn("launchd holds %016llx, which is not in the store",
	    (unsigned long long)uid);
	(void)chan_send(o->launch.chan, LAUNCH_RELEASE, ++o->last_ask, &req,
	    sizeof(req), -1);
}

static int
on_launch_held(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;
	struct launch_held h;
	struct vm *vm;

	(void)c;
	memcpy(&h, m->data, sizeof(h));
	if (o->launch.listed || h.pid > INT32_MAX)
		return -EPERM;
	vm = vm_by_uid(o, h.vm);
	if (vm == NULL || vm->row.slot != h.slot) {
		release_stranger(o, h.vm);
		return 0;
	}
	vm->hv = h.state == LV_GONE ? HV_GONE : HV_ALIVE;
	vm->pid = h.pid;
	vm->accel = h.accel;
	vm->conf = h.conf;
	vm->ready = h.state == LV_READY;
	vm->stop_sent = h.state == LV_STOPPING;
	/* what it came to while nobody listened */
	if (vm->row.state == VM_STARTING &&
	    (h.state == LV_RUNNING || h.state == LV_READY)) {
		(void)vm_step(vm, EV_RUNNING, "vm running");
		if (vm->ready)
			(void)vm_step(vm, EV_READY, "vm ready");
	}
	return 0;
}

static int
on_launch_list_end(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;

	(void)c;
	(void)m;
	if (o->launch.listed)
		return -EPERM;
	o->launch.listed = true;
	converge_all(o);
	return 0;
}

static int
on_launch_caps(void *arg, struct chan *c, struct msg *m)
{
	static const char *const names[] = { "unknown", "tcg", "kvm" };
	struct orchd *o = arg;

	(void)c;
	memcpy(&o->caps, m->data, sizeof(o->caps));
	text_clean(o->caps.why, sizeof(o->caps.why),
	    ((const struct launch_caps *)m->data)->why);
	text_clean(o->caps.vsock_why, sizeof(o->caps.vsock_why),
	    ((const struct launch_caps *)m->data)->vsock_why);
	o->caps_known = true;
	log_info("accelerator %s, cgroup v2 %s: %s", names[o->caps.accel],
	    o->caps.cgroup ? "used" : "not used", o->caps.why);
	log_info("vsock %s: %s", o->caps.vsock ? "used" : "not used",
	    o->caps.vsock_why);
	return 0;
}

static void
on_exited(struct vm *vm, const struct launch_event *ev)
{
	const bool clean = ev->reason == EXIT_GUEST_OFF ||
	    ev->reason == EXIT_GUEST_REBOOT || ev->reason == EXIT_STOPPED;
	const char *name = exit_reason_name(ev->reason);
	char text[STORE_DETAIL_MAX];
	/* a start that the list told to be over is made again: launchd, or
	 * we, may have died in the middle of it */
	const bool news = vm->hv != HV_NONE && vm->ask != ASK_RELEASE &&
	    ((vm->row.state == VM_STARTING && vm->hv != HV_GONE) ||
		vm->row.state == VM_RUNNING || vm->row.state == VM_STOPPING);

	if (vm->hv != HV_NONE)
		vm->hv = HV_GONE;
	if (!news) {
		/* late, or told twice: of a life that is over */
		vm_converge(vm);
		return;
	}
	vm->ready = false;
	vm->pid = 0;
	vm->row.reason = ev->reason;
	vm->row.exit_status = ev->status;
	(void)snprintf(text, sizeof(text), "%s%s%.80s", name,
	    ev->detail[0] == '\0' ? "" : ": ", ev->detail);
	text_clean(vm->row.detail, sizeof(vm->row.detail), text);
	/* emulation on a loaded host may hang before the agent comes up */
	if (ev->reason == EXIT_NO_AGENT && vm->accel == ACCEL_TCG &&
	    !vm->retried) {
		if (vm_step(vm, EV_RETRY, vm->row.detail) == 0) {
			vm->retried = true;
			return;
		}
	}
	if (vm_step(vm, clean ? EV_ENDED : EV_DIED, vm->row.detail) < 0)
		vm_converge(vm);
}

/* The agent of a VM has lost its boot spec's bearer: bring it again. */
static void
send_spec(struct vm *vm)
{
	const struct launch_attach a = { .vm = vm->row.vmid,
		.kind = LAUNCH_FD_SPEC };
	int fd = bootspec_fd(vm);

	if (fd < 0)
		log_error(
		    "vm %s: boot spec: %s", vm->row.name, strerrordesc_np(-fd));
	else
		(void)chan_send(vm->orchd->launch.chan, LAUNCH_ATTACH, 0, &a,
		    sizeof(a), fd);
}

static int
on_launch_event(void *arg, struct chan *c, struct msg *m)
{
	struct launch_event ev;
	struct vm *vm;

	(void)c;
	memcpy(&ev, m->data, sizeof(ev));
	if (ev.pid > INT32_MAX)
		return -EPERM;
	if ((vm = vm_by_uid(arg, ev.vm)) == NULL || !vm->committed)
		return 0; /* released meanwhile */
	switch ((enum launch_event_kind)ev.kind) {
	case LE_RUNNING:
		vm->hv = HV_ALIVE;
		vm->pid = ev.pid;
		vm->accel = ev.accel;
		vm->conf = ev.conf;
		if (vm_step(vm, EV_RUNNING, "vm running") < 0)
			vm_converge(vm); /* nobody wants it to */
		break;
	case LE_READY:
		if (!vm->ready && vm->row.state == VM_RUNNING) {
			vm->ready = true;
			vm->retried = false;
			(void)vm_step(vm, EV_READY, "vm ready");
		}
		break;
	case LE_NEED_SPEC:
		send_spec(vm);
		break;
	case LE_EXITED:
		on_exited(vm, &ev);
		break;
	case LE_RUNG:
		log_info(
		    "vm %s: stop ladder at rung %u", vm->row.name, ev.rung);
		break;
	case LE_WARDEN:
		vm->conf = ev.conf;
		log_info("vm %s: a new warden serves", vm->row.name);
		break;
	}
	return 0;
}

static void
on_launch_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct orchd *o = arg;
	struct vm *vm;

	if (o->launch.chan != c)
		return;
	log_warn("launchd: %s", why);
	boot_ended(o->parent, ROOM_LAUNCHD, o->life[ROOM_LAUNCHD], end);
	chan_free(c);
	o->launch.chan = NULL;
	o->launch.listed = false;
	TAILQ_FOREACH (vm, &o->vms, entry)
		vm_ask_lost(vm, false);
}

static const struct msg_handler launch_handlers[] = {
	{ LAUNCH_DONE, sizeof(struct launch_vm), 0, 0, PH_ANY, launch_vm_check,
	    on_launch_done },
	{ LAUNCH_ERR, sizeof(struct launch_err), 0, 0, PH_ANY, launch_err_check,
	    on_launch_err },
	{ LAUNCH_HELD, sizeof(struct launch_held), 0, 0, PH_ANY,
	    launch_held_check, on_launch_held },
	{ LAUNCH_LIST_END, sizeof(struct launch_count), 0, 0, PH_ANY, NULL,
	    on_launch_list_end },
	{ LAUNCH_EVENT, sizeof(struct launch_event), 0, 0, PH_ANY,
	    launch_event_check, on_launch_event },
	{ LAUNCH_CAPS, sizeof(struct launch_caps), 0, 0, PH_ANY,
	    launch_caps_check, on_launch_caps },
};
const struct chan_ops launch_ops = { launch_handlers, nitems(launch_handlers),
	on_launch_gone };
