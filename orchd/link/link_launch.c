#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/link/link.h"
#include "orchd/link/link_launch.h"
#include "orchd/orchd.h"
#include "orchd/text.h"
#include "orchd/vm/bootspec.h"
#include "orchd/vm/part.h"
#include "orchd/vm/vm.h"

#define ALL_ASKS (ASKED(ASK_MAKE) | ASKED(ASK_STOP) | ASKED(ASK_RELEASE))

/* --- asks --- */

/* For n messages of orchd's own: what streams may still say stays theirs. */
static bool
has_room(const struct orchd *o, size_t n)
{
	const struct chan *chan = o->link[LINK_LAUNCH].chan;

	return chan == NULL ||
	    chan_queued(chan) + n + o->passing.share.total - o->passing.n <=
	    CHAN_QUEUE_MAX;
}

static int
say(struct orchd *o, uint32_t type, uint64_t id, const void *p, size_t len)
{
	if (!has_room(o, 1))
		return -ENOBUFS;
	return link_send(o, LINK_LAUNCH, type, id, p, len, -1);
}

/* An attachment is not answered; what is wrong with it START will tell. */
static int
attach(struct vm *vm, enum fd_role role, uint32_t index, int fd)
{
	const struct launch_attach a = {
		.vm = vm->row.vmid, .role = role, .index = index
	};

	if (fd < 0)
		return fd;
	return link_send(
	    vm->obj.orchd, LINK_LAUNCH, LAUNCH_ATTACH, 0, &a, sizeof(a), fd);
}

/* What the other parts have for the jail is the jail's from now on. */
static int
attach_parts(struct vm *vm)
{
	struct part *p;
	int fd, r = 0;
	unsigned int i;

	for (i = 0; i < vm->nparts && r == 0; i++) {
		p = &vm->part[i];
		if (p->state != PART_READY)
			continue;
		p->state = PART_USED;
		fd = p->fd;
		p->fd = -1;
		r = attach(vm, dev_row(p->kind->dev)->fd, p->index, fd);
	}
	return r;
}

static int
attach_texts(struct vm *vm)
{
	const char *args = vm->request.kernel_cmdline;
	int r = attach(vm, FDR_SPEC, 0, bootspec_fd(vm));

	if (r < 0 || args[0] == '\0')
		return r;
	return attach(
	    vm, FDR_ARGS, 0, memfd_sealed("args", args, strlen(args)));
}

static int
start(struct vm *vm, uint64_t id)
{
	const struct launch_start req = { .vm = vm->row.vmid,
		.slot = (uint16_t)vm->row.slot,
		.then = LAUNCH_RUN,
		.ready_ms = vm->obj.orchd->conf.ready_ms };
	struct machine m = machine_new(
	    (uint16_t)vm->request.cpu_cores, (uint32_t)vm->request.memory_mb);
	unsigned int i;
	int r;

	for (i = 0; i < vm->nparts; i++) {
		const struct part *p = &vm->part[i];

		if (p->kind->dev != 0 &&
		    (r = machine_add(&m, p->kind->dev, p->kind->num(p))) < 0)
			return r;
	}
	return link_send2(vm->obj.orchd, LINK_LAUNCH, LAUNCH_START, id, &req,
	    sizeof(req), &m, machine_len(&m));
}

static int
jail_make(struct part *p, uint64_t id)
{
	struct vm *vm = p->vm;
	int r;

	/* its parts, spec and arguments, then START: all of it or nothing */
	if (!has_room(vm->obj.orchd, vm->nparts + 3))
		return -ENOBUFS;
	memset(&vm->run, 0, sizeof(vm->run));
	p->state = PART_USED;
	p->stopping = false;
	if ((r = attach_parts(vm)) == 0 && (r = attach_texts(vm)) == 0)
		r = start(vm, id);
	if (r < 0)
		p->state = PART_STALE; /* attachments of it may lie there */
	return r;
}

/*
 * A guest with a grace of its own has all of it; with none it is not asked. The
 * last of it is the power button's, for one whose agent never came: an agent
 * that was asked already does not care.
 */
static void
set_grace(const struct vm *vm, struct launch_stop *req)
{
	const uint32_t half = vm->grace.ms / 2;
	uint32_t *ms = req->deadline_ms;

	if (!vm->grace.is_said)
		return;
	req->from = vm->grace.ms > 0 ? STOP_AGENT : STOP_QUIT;
	req->grace_ms = vm->grace.ms;
	if (ms[STOP_ACPI] > half)
		ms[STOP_ACPI] = half;
	ms[STOP_AGENT] = vm->grace.ms - ms[STOP_ACPI];
}

static int
jail_stop(struct part *p, uint64_t id)
{
	struct orchd *o = p->vm->obj.orchd;
	struct launch_stop req = { .vm = p->vm->row.vmid, .from = STOP_AGENT };

	memcpy(req.deadline_ms, o->conf.stop_ms, sizeof(req.deadline_ms));
	set_grace(p->vm, &req);
	p->stopping = true;
	return say(o, LAUNCH_STOP, id, &req, sizeof(req));
}

static int
jail_release(struct part *p, uint64_t id)
{
	const struct launch_vm req = { .vm = p->vm->row.vmid };

	return say(p->vm->obj.orchd, LAUNCH_RELEASE, id, &req, sizeof(req));
}

static void
jail_forget(struct part *p)
{
	memset(&p->vm->run, 0, sizeof(p->vm->run));
}

const struct part_kind link_launch_jail = {
	.name = "jail",
	.link = LINK_LAUNCH,
	.gate = GATE_LAUNCH,
	.is_life = true,
	.send = { [ASK_MAKE] = jail_make,
	    [ASK_STOP] = jail_stop,
	    [ASK_RELEASE] = jail_release },
	.forget = jail_forget,
};

void
link_launch_spec(struct vm *vm)
{
	int fd = bootspec_fd(vm);

	if (fd < 0)
		log_error(
		    "vm %s: boot spec: %s", vm->row.name, strerrordesc_np(-fd));
	else
		(void)attach(vm, FDR_SPEC, 0, fd);
}

static int
say_stream(struct orchd *o, uint64_t id, uint64_t vmid,
    const struct stream_ask *a, int fd)
{
	const struct launch_stream s = {
		.vm = vmid, .kind = a->kind, .flags = a->flags
	};
	const struct launch_log l = { .vm = vmid,
		.kind = a->kind,
		.flags = a->flags,
		.since_ns = a->since_ns };

	if (launch_is_log(a->kind))
		return link_send(
		    o, LINK_LAUNCH, LAUNCH_LOG, id, &l, sizeof(l), fd);
	return link_send(o, LINK_LAUNCH, LAUNCH_STREAM, id, &s, sizeof(s), fd);
}

int
link_launch_stream(
    struct orchd *o, uint64_t vmid, const struct stream_ask *a, int fd)
{
	const uint64_t id = ++o->last_ask;
	int r = passing_add(&o->passing, a->who, id);

	if (r < 0 && (r != -EBUSY || RULE(PASSING_SHARE))) {
		fd_close(&fd);
		return r;
	}
	if ((r = say_stream(o, id, vmid, a, fd)) < 0)
		(void)passing_end(&o->passing, id);
	return r;
}

static void
lost(struct orchd *o)
{
	passing_clear(&o->passing);
}

void
link_launch_forget(struct orchd *o, uint64_t vmid)
{
	const struct launch_vm f = { .vm = vmid };

	(void)say(o, LAUNCH_FORGET, 0, &f, sizeof(f));
}

/* --- answers --- */

static int
on_done(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;
	struct launch_vm v;
	struct part *p;
	int r;

	(void)c;
	memcpy(&v, m->data, sizeof(v));
	if (passing_end(&o->passing, m->id))
		return 0;
	r = link_asker(arg, LINK_LAUNCH, m->id, v.vm, ALL_ASKS, &p);
	if (r == 0 && p != NULL)
		part_answered(p, 0, "");
	return r;
}

static int
on_err(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;
	struct launch_err err;
	struct part *p;
	int r;

	(void)c;
	memcpy(&err, m->data, sizeof(err));
	/* whose caller sees its end */
	if (passing_end(&o->passing, m->id))
		return 0;
	r = link_asker(arg, LINK_LAUNCH, m->id, err.vm, ALL_ASKS, &p);
	if (r < 0)
		return r;
	if (p != NULL)
		part_answered(p, err.code, err.msg);
	else if (m->id != 0)
		log_warn("launchd: %016llx: %s", (unsigned long long)err.vm,
		    err.msg);
	return 0;
}

/* --- what it holds --- */

/* On the ladder, which an orchd before us may have asked for. */
static void
held_stopping(struct vm *vm, uint32_t grace_ms)
{
	vm->grace.is_known = true;
	vm->grace.is_said = grace_ms > 0;
	vm->grace.ms = grace_ms;
	temporary_anew(vm);
}

static int
on_held(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;
	struct launch_held h;
	struct part *p;
	struct vm *vm;

	(void)c;
	memcpy(&h, m->data, sizeof(h));
	if (h.pid > INT32_MAX)
		return -EPERM;
	if ((vm = vm_by_vmid(o, h.vm)) == NULL &&
	    (vm = orphan_of(o, h.vm)) == NULL)
		return 0;
	/* UINT16_MAX: where it stands cannot be read any more */
	if (h.slot != UINT16_MAX)
		vm_held_at(vm, h.slot);
	p = vm_life(vm);
	p->listed = true;
	p->state = h.state == LV_GONE ? PART_STALE : PART_USED;
	p->stopping = h.state == LV_STOPPING;
	if (p->stopping)
		held_stopping(vm, h.grace_ms);
	vm->run.found = true;
	vm->run.unknown = h.state == LV_UNKNOWN;
	vm->run.fault = h.fault;
	vm->run.traceless = h.slot == UINT16_MAX && h.fault == 0;
	vm->run.mute[0] = '\0';
	vm->run.ready = false;
	if (vm->run.unknown)
		return 0; /* what is known of it was so when it was seen last */
	vm->run.pid = h.pid;
	vm->run.accel = h.accel;
	vm->run.backend = h.backend;
	vm->run.vcpus = h.vcpus;
	vm->run.mem_mib = h.mem_mib;
	vm->run.confined = h.confined;
	/* what it came to while nobody listened; what was heard before and is
	 * not on the disk yet stays true */
	vm->run.ready = h.state == LV_READY;
	vm->run.was_ready = vm->run.was_ready || vm->run.ready;
	vm->run.ran = vm->run.ran || vm->run.ready || h.state == LV_RUNNING;
	return 0;
}

/* What VMs said that were deleted while nobody could be told. */
static int
on_kept(void *arg, struct chan *c, struct msg *m)
{
	struct launch_vm v;
	size_t at;

	(void)c;
	for (at = 0; at < m->len; at += sizeof(v)) {
		if (m->len - at < sizeof(v))
			return -EBADMSG;
		memcpy(&v, (const uint8_t *)m->data + at, sizeof(v));
		if (v.vm == 0)
			return -EBADMSG;
		if (vm_by_vmid(arg, v.vm) == NULL)
			link_launch_forget(arg, v.vm);
	}
	return 0;
}

static int
on_list_end(void *arg, struct chan *c, struct msg *m)
{
	(void)c;
	(void)m;
	link_listed(arg, LINK_LAUNCH);
	return 0;
}

static int
on_caps(void *arg, struct chan *c, struct msg *m)
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

/* --- news of a run --- */

static void
heard_running(struct part *p, const struct launch_event *ev)
{
	struct run *run = &p->vm->run;

	if (p->state == PART_STALE || p->ask == ASK_RELEASE)
		return; /* late: of a run that is over */
	p->state = PART_USED; /* also if nobody wants it to */
	run->unknown = false;
	run->fault = LF_NONE;
	run->ran = true;
	run->pid = ev->pid;
	run->accel = ev->accel;
	run->backend = ev->backend;
	run->vcpus = ev->vcpus;
	run->mem_mib = ev->mem_mib;
	run->confined = ev->confined;
}

static void
heard_end(struct part *p, const struct launch_event *ev)
{
	struct run *run = &p->vm->run;
	char text[STORE_DETAIL_MAX];

	/* late, or told twice; and what ended before launchd has listed it is
	 * told again with the list */
	if (p->state == PART_NONE || p->ask == ASK_RELEASE || !p->listed ||
	    run->end.heard)
		return;
	run->end.heard = true;
	/* of a start that a launcher, or we, before this one made: it may be
	 * in the list already, with its end on the way */
	run->end.late = p->state == PART_STALE || run->unknown ||
	    (run->found && ev->reason == EXIT_START_FAILED);
	run->end.reason = ev->reason;
	run->end.status = ev->status;
	(void)snprintf(text, sizeof(text), "%s%s%.100s",
	    exit_reason_name(ev->reason), ev->detail[0] == '\0' ? "" : ": ",
	    ev->detail);
	text_clean(run->end.detail, sizeof(run->end.detail), text);
	run->ready = run->unknown = false;
	run->fault = LF_NONE;
	run->mute[0] = '\0';
	run->pid = 0;
	p->state = PART_STALE;
}

static void
heard_ready(struct part *p)
{
	struct run *run = &p->vm->run;

	if (p->state != PART_USED)
		return;
	run->ready = run->was_ready = true;
	run->mute[0] = '\0';
}

/* It runs, as far as anybody knows, and is not to be used. */
static void
heard_mute(struct part *p, const struct launch_event *ev)
{
	struct run *run = &p->vm->run;

	if (p->state != PART_USED)
		return;
	run->ready = false;
	text_clean(run->mute, sizeof(run->mute),
	    ev->detail[0] != '\0' ? ev->detail : "no answer in time");
	log_warn("vm %s: not ready any more: %s", p->vm->row.name, run->mute);
}

static int
on_event(void *arg, struct chan *c, struct msg *m)
{
	struct launch_event ev;
	struct part *p;
	struct vm *vm;

	(void)c;
	memcpy(&ev, m->data, sizeof(ev));
	if (ev.pid > INT32_MAX)
		return -EPERM;
	vm = vm_by_vmid(arg, ev.vm);
	if (vm == NULL || (p = link_part(vm, &link_launch_jail, 0)) == NULL)
		return 0; /* released meanwhile */
	switch ((enum launch_event_kind)ev.kind) {
	case LE_RUNNING:
		heard_running(p, &ev);
		break;
	case LE_READY:
		heard_ready(p);
		break;
	case LE_MUTE:
		heard_mute(p, &ev);
		break;
	case LE_NEED_SPEC:
		vm->run.need_spec = true;
		break;
	case LE_EXITED:
		heard_end(p, &ev);
		break;
	case LE_RUNG:
		log_info(
		    "vm %s: stop ladder at rung %u", vm->row.name, ev.rung);
		break;
	case LE_WARDEN:
		vm->run.confined = ev.confined;
		log_info("vm %s: a new warden serves", vm->row.name);
		break;
	}
	object_wake(&vm->obj);
	return 0;
}

static const struct msg_handler handlers[] = {
	{ LAUNCH_DONE, sizeof(struct launch_vm), 0, 0, PH_ANY, launch_vm_check,
	    on_done },
	{ LAUNCH_ERR, sizeof(struct launch_err), 0, 0, PH_ANY, launch_err_check,
	    on_err },
	{ LAUNCH_HELD, sizeof(struct launch_held), 0, 0, PH_LISTING,
	    launch_held_check, on_held },
	{ LAUNCH_KEPT, sizeof(struct launch_vm),
	    (LAUNCH_KEPT_MAX - 1) * sizeof(struct launch_vm), 0, PH_LISTING,
	    launch_vm_check, on_kept },
	{ LAUNCH_LIST_END, sizeof(struct launch_count), 0, 0, PH_LISTING, NULL,
	    on_list_end },
	{ LAUNCH_EVENT, sizeof(struct launch_event), 0, 0, PH_ANY,
	    launch_event_check, on_event },
	{ LAUNCH_CAPS, sizeof(struct launch_caps), 0, 0, PH_ANY,
	    launch_caps_check, on_caps },
};
const struct link_row link_launch = { .id = LINK_LAUNCH,
	.room = ROOM_LAUNCHD,
	.list = LAUNCH_LIST,
	.missing = "the launcher is not there",
	.lost = lost,
	.ops = { handlers, nitems(handlers), link_gone } };
