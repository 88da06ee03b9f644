#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "common/util.h"
#include "launchd/history.h"
#include "launchd/jaillog.h"
#include "launchd/launchd.h"
#include "launchd/orchd.h"
#include "launchd/stop.h"
#include "launchd/vm.h"
#include "launchd/wardlink.h"

/* Of a list, so many messages wait for its reader; then it pauses. */
#define LIST_QUEUED 256
#define LIST_PAUSE_MS 2

static int
say_done(struct chan *c, uint64_t id, uint64_t vm)
{
	struct launch_vm v = { .vm = vm };

	if (id == 0)
		return 0; /* nobody waits for it */
	return chan_send(c, LAUNCH_DONE, id, &v, sizeof(v), -1);
}

static int
say_err(struct chan *c, uint64_t id, uint64_t vm, int code, const char *text)
{
	struct launch_err e = { .vm = vm, .code = code };

	if (id == 0)
		return 0;
	(void)snprintf(e.msg, sizeof(e.msg), "%s", text);
	return chan_send(c, LAUNCH_ERR, id, &e, sizeof(e), -1);
}

/* What it asked goes on; its answers have nowhere to go.  Its streams end,
 * which the next one would not count.  What was attached but never started
 * belongs to nobody. */
static void
orchd_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct launchd *ld = arg;
	struct vm *v;

	log_warn("orchd: %s", why);
	if (ld->orchd != c)
		return;
	boot_fault(ld->parent, ROOM_ORCHD, ld->orchd_life, end);
	chan_free(ld->orchd);
	ld->orchd = NULL;
	if (ld->list.go_on != NULL)
		(void)evtimer_del(ld->list.go_on);
	histories_clear(&ld->logs.hist);
	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		wardlink_orphans(v);
		v->nreleases = 0;
		if (vm_is_idle(v)) {
			v->is_cleared = true;
			vm_answer(v);
		}
	}
}

/* News must not get lost: an orchd that does not read is as good as gone,
 * and asks for the list when it comes again. */
static void
tell(struct launchd *ld, uint32_t type, const void *data, size_t len)
{
	if (ld->orchd != NULL &&
	    chan_send(ld->orchd, type, 0, data, len, -1) < 0)
		orchd_gone(ld, ld->orchd, CHAN_STALLED, "does not read");
}

void
orchd_caps(struct launchd *ld)
{
	if (ld->accel != ACCEL_UNKNOWN)
		tell(ld, LAUNCH_CAPS, &ld->caps, sizeof(ld->caps));
}

/* Why a VM that was ready is not.  No word of it comes out of the jail. */
static const char *
mute_words(const struct vm *v)
{
	if (v->ward.phase != LINK_UP)
		return "its warden is gone, and is started again";
	if (v->ward_silent)
		return "its warden has not said anything for a while: is it "
		       "stopped?";
	if (v->ward_state.mute == WARD_MUTE_NOT_READY)
		return "its agent says that it is not ready";
	return "its agent does not answer: the guest or its hypervisor hangs, "
	       "or is stopped";
}

static void
tell_event(struct vm *v, enum launch_event_kind kind)
{
	struct launch_event e = { .vm = v->vmid,
		.kind = kind,
		.pid = (uint32_t)v->vmm_pid,
		.accel = v->accel,
		.backend = (uint8_t)v->machine.backend,
		.vcpus = v->machine.vcpus,
		.mem_mib = v->machine.mem_mib };

	if (v->is_probe || v->wants_release)
		return;
	if (kind == LE_RUNNING || kind == LE_WARDEN)
		e.confined = v->confined;
	if (kind == LE_EXITED) {
		e.reason = v->reason;
		e.status = v->status;
		memcpy(e.detail, v->detail, sizeof(e.detail));
	}
	if (kind == LE_MUTE) {
		/* it was said of a state that is over */
		if (v->state != VM_MUTE)
			return;
		(void)snprintf(e.detail, sizeof(e.detail), "%s", mute_words(v));
	}
	if (v->rung != UINT32_MAX)
		e.rung = v->rung;
	tell(v->ld, LAUNCH_EVENT, &e, sizeof(e));
}

/* Every request that waits for the release gets its one answer. */
static void
answer_releases(struct vm *v)
{
	struct chan *c = v->ld->orchd;
	unsigned int i;
	int r = 0;

	for (i = 0; i < v->nreleases && c != NULL && r == 0; i++)
		r = v->is_cleared ? say_done(c, v->releases[i], v->vmid)
				  : say_err(c, v->releases[i], v->vmid,
					v->spawn_code, v->spawn_why);
	if (r < 0)
		orchd_gone(v->ld, c, CHAN_STALLED, "does not read");
	v->nreleases = 0;
	v->is_refused = false;
}

void
orchd_tell(struct vm *v)
{
	/* in the order in which a VM lives through them */
	static const enum launch_event_kind kinds[] = { LE_RUNNING, LE_READY,
		LE_WARDEN, LE_NEED_SPEC, LE_MUTE, LE_RUNG, LE_EXITED };
	const uint32_t news = v->news;
	size_t i;

	v->news = 0;
	for (i = 0; i < nitems(kinds); i++) {
		if ((news & 1U << kinds[i]) != 0)
			tell_event(v, kinds[i]);
	}
	if (v->is_cleared || v->is_refused)
		answer_releases(v);
}

/* The VM a request names, made when nobody has heard of it yet. */
static struct vm *
find_or_new(struct launchd *ld, uint64_t vmid)
{
	struct vm *v = vm_find(ld, vmid);

	if (v == NULL && vmid != PROBE_VM)
		v = vm_new(ld, vmid);
	return v;
}

static int
on_attach(void *arg, struct chan *c, struct msg *m)
{
	struct launch_attach a;
	struct vm *v;

	memcpy(&a, m->data, sizeof(a));
	if ((v = find_or_new(arg, a.vm)) == NULL)
		return say_err(c, m->id, a.vm, -ENOBUFS, "too many VMs");
	if (a.role == FDR_SPEC) { /* which alone may come late */
		fd_close(&v->boot_spec);
		v->boot_spec = m->fd;
		v->spec_sent = false;
		v->gives_spec = true;
		vm_wake(v);
	} else if (!vm_is_idle(v))
		return say_err(c, m->id, a.vm, -EBUSY, "already started");
	else if (machine_fds_put(&v->fds, a.role, a.index, m->fd) < 0)
		return -EINVAL;
	m->fd = -1;
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
	    ret->accel != ACCEL_UNKNOWN || ret->backend != BACKEND_QEMU ||
	    ret->tsc_khz != 0)
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
	struct vm *v;

	memcpy(&s, m->data, sizeof(s));
	if (machine_of(m, sizeof(s), &want) < 0)
		return -EINVAL;
	if ((v = find_or_new(arg, s.vm)) == NULL)
		return say_err(c, m->id, s.vm, -ENOBUFS, "too many VMs");
	if (!vm_is_idle(v))
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
	v->wants_start = true;
	vm_wake(v);
	return say_done(c, m->id, s.vm);
}

static int
on_stop(void *arg, struct chan *c, struct msg *m)
{
	struct launch_stop s;
	struct vm *v;

	memcpy(&s, m->data, sizeof(s));
	v = vm_find(arg, s.vm);
	if (v == NULL || vm_is_idle(v))
		return say_err(c, m->id, s.vm, -ENOENT, "no such VM");
	memcpy(v->rung_ms, s.deadline_ms, sizeof(v->rung_ms));
	v->grace_ms = s.grace_ms;
	if (!v->wants_stop || s.from > v->stop_from)
		v->stop_from = s.from;
	v->wants_stop = true;
	vm_wake(v);
	return say_done(c, m->id, s.vm);
}

static int
on_release(void *arg, struct chan *c, struct msg *m)
{
	struct launch_vm r;
	struct vm *v;

	memcpy(&r, m->data, sizeof(r));
	if ((v = find_or_new(arg, r.vm)) == NULL)
		return say_err(c, m->id, r.vm, -ENOBUFS, "too many VMs");
	if (v->nreleases == VM_RELEASES_MAX)
		return say_err(c, m->id, r.vm, -EBUSY, "being released");
	v->releases[v->nreleases++] = m->id;
	v->wants_release = true;
	vm_wake(v);
	return 0;
}

static int
say_held(struct chan *c, uint64_t id, const struct vm *v)
{
	struct launch_held h = { .vm = v->vmid,
		.state = vm_public_state(v),
		.pid = (uint32_t)v->vmm_pid,
		.slot = v->slot,
		.accel = v->accel,
		.backend = (uint8_t)v->machine.backend,
		.vcpus = v->machine.vcpus,
		.mem_mib = v->machine.mem_mib,
		.fault = v->is_broken ? LF_RECORD : LF_NONE,
		.confined = v->confined,
		.grace_ms = stop_grace_ms(v) };

	return chan_send(c, LAUNCH_HELD, id, &h, sizeof(h), -1);
}

/* Told again: the orchd that heard it first may be gone. */
static void
say_news(struct vm *v)
{
	if (v->state == VM_GONE)
		vm_tell(v, LE_EXITED);
	else if (v->state == VM_MUTE)
		vm_tell(v, LE_MUTE);
	else if (v->spec_asked && v->state == VM_RUNNING)
		vm_tell(v, LE_NEED_SPEC);
}

struct kept {
	struct launchd *ld;
	uint32_t n;
	struct launch_vm v[LAUNCH_KEPT_MAX];
};

/* Those that were collected. */
static int
flush_kept(struct kept *k)
{
	const size_t len = k->n * sizeof(k->v[0]);

	k->n = 0;
	return len == 0 ? 0
			: chan_send(k->ld->orchd, LAUNCH_KEPT, k->ld->list.id,
			      k->v, len, -1);
}

static int
say_kept(void *arg, uint64_t vmid)
{
	struct kept *k = arg;

	if (vmid == PROBE_VM)
		return 0;
	k->v[k->n++].vm = vmid;
	return k->n == LAUNCH_KEPT_MAX ? flush_kept(k) : 0;
}

/* The VMs that are not in this list yet.  0: all are; 1: its reader is to take
 * some first; or a negative errno. */
static int
say_vms(struct launchd *ld)
{
	struct vm *v;
	int r;

	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (v->list == ld->list.n || v->is_cleared ||
		    v->vmid == PROBE_VM || vm_is_idle(v))
			continue;
		if (chan_queued(ld->orchd) >= LIST_QUEUED)
			return 1;
		if ((r = say_held(ld->orchd, ld->list.id, v)) < 0)
			return r;
		v->list = ld->list.n;
		ld->list.count.n++;
		say_news(v); /* before the end: then all is known */
		if (ld->orchd == NULL)
			return -EPIPE;
	}
	return 0;
}

/* As much of the list as its reader takes now. */
static int
list_go_on(struct launchd *ld)
{
	const struct timeval soon = { .tv_usec = LIST_PAUSE_MS * 1000L };
	struct kept k = { .ld = ld };
	int r = say_vms(ld);

	if (r > 0)
		return event_add(ld->list.go_on, &soon);
	if (r == 0)
		r = jaillog_each(&ld->logs, say_kept, &k);
	if (r == 0)
		r = flush_kept(&k);
	return r < 0 ? r
		     : chan_send(ld->orchd, LAUNCH_LIST_END, ld->list.id,
			   &ld->list.count, sizeof(ld->list.count), -1);
}

static void
on_go_on(int fd, short what, void *arg)
{
	struct launchd *ld = arg;

	(void)fd;
	(void)what;
	if (ld->orchd != NULL && list_go_on(ld) < 0 && ld->orchd != NULL)
		orchd_gone(ld, ld->orchd, CHAN_STALLED, "does not read");
}

static int
on_list(void *arg, struct chan *c, struct msg *m)
{
	struct launchd *ld = arg;

	(void)c;
	if (ld->list.go_on == NULL)
		ld->list.go_on = evtimer_new(ld->base, on_go_on, ld);
	if (ld->list.go_on == NULL)
		return -ENOMEM;
	ld->list.id = m->id;
	ld->list.n++;
	ld->list.count.n = 0;
	return list_go_on(ld);
}

/* The VM is deleted; what is left of its jail, if anything, goes first. */
static int
on_forget(void *arg, struct chan *c, struct msg *m)
{
	struct launchd *ld = arg;
	struct launch_vm f;
	char name[17];
	struct vm *v;

	(void)c;
	memcpy(&f, m->data, sizeof(f));
	if ((v = vm_find(ld, f.vm)) != NULL) {
		v->is_forgotten = true;
		return 0;
	}
	num_format_hex64(f.vm, name);
	jaillog_forget(&ld->logs, name);
	return 0;
}

/* Its warden, of an earlier suite, would take the kind for a breach. */
static bool
is_too_new(const struct vm *v, const struct launch_stream *s)
{
	return s->kind == STREAM_SIGNAL &&
	    v->ward_state.version < WARD_VERSION_SIGNAL;
}

/* Its warden's.  Takes the descriptor. */
static int
stream(struct launchd *ld, struct chan *c, struct msg *m,
    const struct launch_stream *s)
{
	struct vm *v = vm_find(ld, s->vm);
	int r;

	if (v == NULL || vm_is_idle(v))
		return say_err(c, m->id, s->vm, -ENOENT, "no such VM");
	if (v->ward.phase != LINK_UP)
		return say_err(c, m->id, s->vm, -EAGAIN,
		    vm_public_state(v) == LV_GONE ? "not running" : "not yet");
	if (is_too_new(v, s)) {
		history_refuse(m->fd, 409,
		    "the vm was started by an earlier suite, which passes no "
		    "signals on: stop and start it, or use exec with kill(1)");
		m->fd = -1;
		return say_done(c, m->id, s->vm);
	}
	r = wardlink_stream(v, s, m->fd);
	m->fd = -1;
	if (r < 0)
		return say_err(c, m->id, s->vm, r, "busy");
	return say_done(c, m->id, s->vm);
}

static int
on_stream(void *arg, struct chan *c, struct msg *m)
{
	struct launch_stream s;

	memcpy(&s, m->data, sizeof(s));
	return stream(arg, c, m, &s);
}

/* Ours to tell, of whatever VM, unless its jail has the file. */
static int
on_log(void *arg, struct chan *c, struct msg *m)
{
	struct launchd *ld = arg;
	const struct vm *v;
	struct launch_log l;
	char name[17];

	memcpy(&l, m->data, sizeof(l));
	v = vm_find(ld, l.vm);
	if (v != NULL && v->logs_itself && l.kind == STREAM_CONSOLE_LOG &&
	    l.since_ns == 0) {
		const struct launch_stream s = {
			.vm = l.vm, .kind = l.kind, .flags = l.flags
		};

		return stream(ld, c, m, &s);
	}
	if (v != NULL && v->logs_itself)
		history_refuse(m->fd, 409,
		    "an earlier suite started this VM: of its log only the "
		    "console is kept, without times, until it is started again");
	else {
		num_format_hex64(l.vm, name);
		jaillog_read(&ld->logs, name, l.kind == STREAM_CONSOLE_LOG,
		    (l.flags & STREAM_FOLLOW) != 0 && v != NULL &&
			v->log != NULL,
		    l.since_ns, m->fd);
	}
	m->fd = -1;
	return say_done(c, m->id, l.vm);
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
	{ LAUNCH_FORGET, sizeof(struct launch_vm), 0, 0, PH_ANY,
	    launch_vm_check, on_forget },
	{ LAUNCH_LIST, 0, 0, 0, PH_ANY, NULL, on_list },
	{ LAUNCH_STREAM, sizeof(struct launch_stream), 0, 1, PH_ANY,
	    launch_stream_check, on_stream },
	{ LAUNCH_LOG, sizeof(struct launch_log), 0, 1, PH_ANY, launch_log_check,
	    on_log },
};
static const struct chan_ops ops = { handlers, nitems(handlers), orchd_gone };

void
orchd_open(struct launchd *ld)
{
	if (!ld->listed || ld->orchd_fd < 0)
		return;
	if (ld->orchd != NULL) /* its other end was started anew */
		orchd_gone(ld, ld->orchd, CHAN_REPLACED, "replaced");
	ld->orchd = chan_new(ld->base, ld->orchd_fd, "orchd", &ops, ld);
	ld->orchd_fd = -1;
	if (ld->orchd == NULL)
		fatal("orchd's channel: out of memory");
	orchd_caps(ld);
}
