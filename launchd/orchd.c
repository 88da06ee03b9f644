#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "launchd/launchd.h"

/* What orchd may ask, and what it is told. */

static int
say_done(struct chan *c, uint64_t id, uint64_t vm)
{
	struct launch_vm v = { .vm = vm };

	return chan_send(c, LAUNCH_DONE, id, &v, sizeof(v), -1);
}

static int
say_err(struct chan *c, uint64_t id, uint64_t vm, int code, const char *text)
{
	struct launch_err e = { .vm = vm, .code = code };

	(void)snprintf(e.msg, sizeof(e.msg), "%s", text);
	return chan_send(c, LAUNCH_ERR, id, &e, sizeof(e), -1);
}

static void orchd_gone(
    void *arg, struct chan *c, enum chan_end end, const char *why);

/* News must not get lost: an orchd that does not read is as good as gone,
 * and asks for the list when it comes again. */
static void
orchd_tell(struct launchd *ld, uint32_t type, const void *data, size_t len)
{
	if (ld->orchd != NULL &&
	    chan_send(ld->orchd, type, 0, data, len, -1) < 0)
		orchd_gone(ld, ld->orchd, CHAN_STALLED, "does not read");
}

void
orchd_caps(struct launchd *ld)
{
	if (ld->accel != ACCEL_UNKNOWN)
		orchd_tell(ld, LAUNCH_CAPS, &ld->caps, sizeof(ld->caps));
}

void
orchd_event(struct lvm *v, uint32_t kind)
{
	struct launch_event e = { .vm = v->uid,
		.kind = kind,
		.pid = (uint32_t)v->vmm_pid,
		.accel = v->accel };

	if (v->ld->orchd == NULL || v->probe || v->releasing)
		return;
	if (kind == LE_RUNNING || kind == LE_WARDEN)
		e.conf = v->conf;
	if (kind == LE_EXITED) {
		e.reason = v->reason;
		e.status = v->status;
		memcpy(e.detail, v->detail, sizeof(e.detail));
	}
	if (v->rung != UINT32_MAX)
		e.rung = v->rung;
	orchd_tell(v->ld, LAUNCH_EVENT, &e, sizeof(e));
}

/* Every request that waits for the release gets its one answer. */
void
orchd_released(struct lvm *v, int code, const char *why)
{
	struct chan *c = v->ld->orchd;
	unsigned int i;

	for (i = 0; i < v->nwaiters && c != NULL; i++) {
		int r = code == 0
		    ? say_done(c, v->waiters[i], v->uid)
		    : say_err(c, v->waiters[i], v->uid, code, why);

		if (r < 0) {
			orchd_gone(v->ld, c, CHAN_STALLED, "does not read");
			break;
		}
	}
	v->nwaiters = 0;
}

/* The VM a request names, made when nobody has heard of it yet. */
static struct lvm *
find_or_new(struct launchd *ld, uint64_t uid)
{
	struct lvm *v = lvm_find(ld, uid);

	if (v == NULL && uid != PROBE_VM) {
		v = lvm_new(ld, uid);
		if (v != NULL)
			v->settled = true;
	}
	return v;
}

static int
on_attach(void *arg, struct chan *c, struct msg *m)
{
	struct launch_attach a;
	struct lvm *v;

	memcpy(&a, m->data, sizeof(a));
	if ((v = find_or_new(arg, a.vm)) == NULL)
		return say_err(c, m->id, a.vm, -ENOBUFS, "too many VMs");
	if (v->state != L_NEW && a.role != FDR_SPEC)
		return say_err(c, m->id, a.vm, -EBUSY, "already started");
	if (a.role != FDR_SPEC) {
		if (machine_fds_put(&v->fds, a.role, a.index, m->fd) < 0)
			return -EINVAL;
		m->fd = -1;
		return say_done(c, m->id, a.vm);
	}
	close_fd(&v->boot_spec);
	v->boot_spec = m->fd;
	m->fd = -1;
	v->spec_sent = false;
	ward_give_spec(v);
	return say_done(c, m->id, a.vm);
}

/* A machine that orchd may ask for: what launchd, keeper and spawner decide
 * is left to them. */
static int
machine_of(const struct msg *m, size_t head, struct machine *ret)
{
	const uint8_t *p = m->data;
	size_t i;

	if (machine_get(p + head, m->len - head, ret) < 0 || ret->flags != 0 ||
	    ret->accel != ACCEL_UNKNOWN || ret->tsc_khz != 0)
		return -EINVAL;
	for (i = 0; i < ret->ndevs; i++) {
		uint16_t role = dev_row(ret->dev[i].kind)->fd;

		if (role != 0 && fd_role_from(role) != FD_ORCHD)
			return -EINVAL;
	}
	return 0;
}

static int
on_start(void *arg, struct chan *c, struct msg *m)
{
	const struct machine_dev *lacks;
	struct launch_start s;
	struct machine want;
	char text[64];
	struct lvm *v;

	memcpy(&s, m->data, sizeof(s));
	if (machine_of(m, sizeof(s), &want) < 0)
		return -EINVAL;
	if ((v = find_or_new(arg, s.vm)) == NULL)
		return say_err(c, m->id, s.vm, -ENOBUFS, "too many VMs");
	if (v->state != L_NEW)
		return say_err(c, m->id, s.vm, -EEXIST, "already started");
	if ((lacks = machine_lacks(&want, &v->fds)) != NULL) {
		(void)snprintf(text, sizeof(text), "no %s %u attached",
		    fd_role_name(dev_row(lacks->kind)->fd), lacks->index);
		return say_err(c, m->id, s.vm, -EINVAL, text);
	}
	v->machine = want;
	v->slot = s.slot;
	v->started_ms = clock_ms();
	v->ready_by_ms = v->started_ms + s.ready_ms;
	(void)say_done(c, m->id, s.vm);
	(void)lvm_step(v, E_START);
	return 0;
}

static int
on_stop(void *arg, struct chan *c, struct msg *m)
{
	struct launch_stop s;
	struct lvm *v;

	memcpy(&s, m->data, sizeof(s));
	v = lvm_find(arg, s.vm);
	if (v == NULL || v->state == L_NEW)
		return say_err(c, m->id, s.vm, -ENOENT, "no such VM");
	(void)say_done(c, m->id, s.vm);
	(void)stop_begin(v, &s);
	return 0;
}

static int
on_release(void *arg, struct chan *c, struct msg *m)
{
	struct launch_vm r;
	struct lvm *v;

	memcpy(&r, m->data, sizeof(r));
	if ((v = find_or_new(arg, r.vm)) == NULL)
		return say_err(c, m->id, r.vm, -ENOBUFS, "too many VMs");
	if (v->nwaiters == LVM_WAITERS)
		return say_err(c, m->id, r.vm, -EBUSY, "being released");
	v->waiters[v->nwaiters++] = m->id;
	if (!v->releasing || v->state == L_GONE)
		lvm_release(v);
	return 0;
}

static int
on_list(void *arg, struct chan *c, struct msg *m)
{
	struct launchd *ld = arg;
	struct launch_count n = { 0 };
	struct lvm *v;
	int r;

	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		struct launch_held h = { .vm = v->uid,
			.state = lvm_public_state(v),
			.pid = (uint32_t)v->vmm_pid,
			.slot = v->slot,
			.accel = v->accel,
			.conf = v->conf };

		if (v->freed || v->uid == PROBE_VM || v->state == L_NEW)
			continue;
		r = chan_send(c, LAUNCH_HELD, m->id, &h, sizeof(h), -1);
		if (r < 0)
			return r;
		n.n++;
	}
	r = chan_send(c, LAUNCH_LIST_END, m->id, &n, sizeof(n), -1);
	if (r < 0)
		return r;
	/* told again: the orchd that heard it first may be gone */
	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (v->state == L_GONE)
			orchd_event(v, LE_EXITED);
		else if (v->asked_spec && v->state == L_RUNNING)
			orchd_event(v, LE_NEED_SPEC);
	}
	return 0;
}

static int
on_stream(void *arg, struct chan *c, struct msg *m)
{
	struct launch_stream s;
	struct lvm *v;

	memcpy(&s, m->data, sizeof(s));
	v = lvm_find(arg, s.vm);
	if (v == NULL || v->state == L_NEW)
		return say_err(c, m->id, s.vm, -ENOENT, "no such VM");
	if (v->ward.phase != LINK_UP)
		return say_err(c, m->id, s.vm, -EAGAIN,
		    lvm_public_state(v) == LV_GONE ? "not running" : "not yet");
	/* a warden that does not read must not collect our descriptors: at
	 * our limit no other VM's stream would get through (I9) */
	if (RULE(STREAM_BACKLOG) && chan_queued(v->ward.chan) > 0)
		return say_err(c, m->id, s.vm, -EAGAIN, "busy");
	if (chan_send(v->ward.chan, WARD_STREAM, 0, &s, sizeof(s), m->fd) < 0) {
		m->fd = -1;
		return say_err(c, m->id, s.vm, -EAGAIN, "busy");
	}
	m->fd = -1;
	return say_done(c, m->id, s.vm);
}

static const struct msg_handler handlers[] = {
	{ LAUNCH_ATTACH, sizeof(struct launch_attach), 0, 1, PH_ANY,
	    launch_attach_check, on_attach },
	{ LAUNCH_START, sizeof(struct launch_start), sizeof(struct machine), 0,
	    PH_ANY, launch_start_check, on_start },
	{ LAUNCH_STOP, sizeof(struct launch_stop), 0, 0, PH_ANY,
	    launch_stop_check, on_stop },
	{ LAUNCH_RELEASE, sizeof(struct launch_vm), 0, 0, PH_ANY,
	    launch_vm_check, on_release },
	{ LAUNCH_LIST, 0, 0, 0, PH_ANY, NULL, on_list },
	{ LAUNCH_STREAM, sizeof(struct launch_stream), 0, 1, PH_ANY,
	    launch_stream_check, on_stream },
};

static void
orchd_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct launchd *ld = arg;
	struct lvm *v;

	log_warn("orchd: %s", why);
	if (ld->orchd != c)
		return;
	boot_fault(ld->parent, ROOM_ORCHD, ld->orchd_life, end);
	chan_free(ld->orchd);
	ld->orchd = NULL;
	/* what it asked goes on; its answers have nowhere to go.  What was
	 * attached but never started belongs to nobody. */
	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		v->nwaiters = 0;
		if (v->state == L_NEW && v->adopted == false)
			lvm_free_soon(v);
	}
}

static const struct chan_ops orchd_ops = { handlers, nitems(handlers),
	orchd_gone };

/* Serves the channel mewsd brought, once we know what we hold. */
void
orchd_open(struct launchd *ld)
{
	if (!ld->adopted || ld->orchd_fd < 0)
		return;
	if (ld->orchd != NULL) /* its other end was started anew */
		orchd_gone(ld, ld->orchd, CHAN_REPLACED, "replaced");
	ld->orchd = chan_new(ld->base, ld->orchd_fd, "orchd", &orchd_ops, ld);
	ld->orchd_fd = -1;
	if (ld->orchd == NULL)
		fatal("orchd's channel: out of memory");
	orchd_caps(ld);
}
