#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/util.h"
#include "orchd/api/access.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/vm/doubt.h"
#include "orchd/vm/stream.h"
#include "orchd/vm/vm_step.h"
#include "proto/right.h"

void
verb_vm_get(const struct req *r)
{
	const struct vm *vm = req_vm(r);

	if (vm != NULL)
		answer_vm(r->o, r->c->id, r->id, 200, vm);
}

/* --- start, stop, delete --- */

static bool
is_said(const struct vm_stop *s)
{
	return (s->has & TABLE_HAS(VM_STOP_TIMEOUT)) != 0;
}

static void
set_grace(struct vm *vm, const struct vm_stop *s)
{
	vm->grace.is_known = true;
	vm->grace.is_said = is_said(s);
	vm->grace.ms = s->timeout * 1000;
}

/* All that is to end it has that time from now on. */
static void
stop_anew(struct vm *vm)
{
	vm_life(vm)->stopping = false;
	if (vm->deadline != NULL)
		(void)evtimer_del(vm->deadline);
	temporary_anew(vm);
}

/* A retry only waits; but a time that it says may have died with the orchd that
 * heard it first.  s: of a stop, or NULL. */
static void
retry(const struct req *r, struct vm *vm, enum wait_for what,
    const struct vm_stop *s)
{
	const bool is_lost = s != NULL && is_said(s) &&
	    vm->row.state == VM_STOPPING && !vm->grace.is_known;
	const struct vm_grace was = vm->grace;

	if (is_lost)
		set_grace(vm, s);
	if (req_wait(r, &vm->obj, what, what == FOR_GONE ? 204 : 200) < 0) {
		vm->grace = was;
		return;
	}
	if (is_lost)
		stop_anew(vm);
	object_wake(&vm->obj);
}

/* The VM of a verb that changes it, and what its key says; s: of a stop.  NULL:
 * answered. */
static struct vm *
changed(const struct req *r, enum wait_for again, const struct vm_stop *s,
    struct idem_row *key)
{
	struct vm *vm;

	switch (req_key(r, key)) {
	case IDEM_OTHER:
		return NULL;
	case IDEM_AGAIN:
		/* by vmid: the name may be another's by now */
		if ((vm = vm_by_vmid(r->o, key->vm)) != NULL)
			retry(r, vm, again, s);
		else if (again == FOR_GONE)
			answer_empty(r->o, r->c->id, r->id, 204);
		else
			req_refuse(r, 410, "the vm of this request is deleted");
		return NULL;
	case IDEM_NEW:
		break;
	}
	return req_vm_change(r);
}

/* Asks for a change and waits for it.  Not 0: it was answered why not, and
 * nothing changed. */
static int
change(const struct req *r, struct vm *vm, enum vm_event ev, const char *why,
    enum wait_for what, struct idem_row *key)
{
	int e = req_wait(r, &vm->obj, what, what == FOR_GONE ? 204 : 200);

	if (e < 0)
		return e;
	if ((e = vm_step_asked(vm, ev, why, what, key)) < 0) {
		wait_drop(&vm->obj, r->c->id);
		if (e == -EPERM)
			req_refuse(r, 409, "not in the state this vm is in");
		else
			req_unnoted(r, e);
	}
	return e;
}

/* What is not known is neither running nor stopped.  True: answered. */
static bool
doubted(const struct req *r, const struct vm *vm)
{
	char why[200];

	if (!doubt_now(vm, why, sizeof(why)))
		return false;
	answer_error(
	    r->o, r->c->id, r->id, 503, "vm %s: %s", vm->row.name, why);
	return true;
}

/* It is so already, or on its way there.  Not 0: it was answered why that
 * cannot be waited for, and no key was noted. */
static int
join(const struct req *r, struct vm *vm, enum wait_for what,
    struct idem_row *key)
{
	int e;

	/* what is left is for what ends something */
	if (key->key[0] != '\0' && store_is_full(r->o->store)) {
		answer_error(r->o, r->c->id, r->id, 507,
		    "vm %s is %s already, and that this Idempotency-Key was "
		    "used cannot be kept: the store is full",
		    vm->row.name, vm_fsm_state(vm->row.state));
		return -ENOSPC;
	}
	e = req_wait(r, &vm->obj, what, what == FOR_GONE ? 204 : 200);
	if (e < 0)
		return e;
	key->vm = vm->row.vmid;
	if ((e = write_key(&vm->obj, key)) < 0) {
		wait_drop(&vm->obj, r->c->id);
		req_unnoted(r, e);
	} else
		object_wake(&vm->obj);
	return e;
}

static void
refuse_broken(const struct req *r, const struct vm *vm)
{
	char text[320];

	doubt_broken(vm, text, sizeof(text));
	req_refuse(r, 409, text);
}

/* Of a restored store: what runs has its place.  True: answered. */
static bool
in_way(const struct req *r, const struct vm *vm)
{
	const struct vm *orphan = orphan_in_way(vm);

	if (orphan == NULL)
		return false;
	answer_error(r->o, r->c->id, r->id, 409,
	    "vm %s: its slot or address is used by a vm that the store does not "
	    "know: a host admin can end that one: mews orphan rm %s",
	    vm->row.name, orphan->row.name);
	return true;
}

void
verb_vm_start(const struct req *r)
{
	struct idem_row key;
	struct vm *vm = changed(r, FOR_RUNNING_AGAIN, NULL, &key);
	char text[160];

	if (vm == NULL)
		return;
	switch ((enum vm_state)vm->row.state) {
	case VM_STOPPED:
	case VM_CRASHED:
		if (!in_way(r, vm) &&
		    change(r, vm, EV_START, "vm started", FOR_RUNNING, &key) ==
			0)
			vm->retried = false;
		return;
	case VM_PENDING:
	case VM_STARTING:
	case VM_RUNNING:
		/* under way or done: a second start is the first one's retry */
		if (vm->row.state != VM_RUNNING || !doubted(r, vm))
			(void)join(r, vm, FOR_RUNNING, &key);
		return;
	case VM_BROKEN:
		refuse_broken(r, vm);
		return;
	case VM_STOPPING:
	case VM_DELETING:
	case VM_ORPHAN:
	case VM_STATES:
		break;
	}
	(void)snprintf(text, sizeof(text), "vm %s is %s", vm->row.name,
	    vm_fsm_state(vm->row.state));
	req_refuse(r, 409, text);
}

/* How long its guest has, where that is said.  False: answered. */
static bool
stop_timeout(const struct req *r, struct vm_stop *ret)
{
	struct err e = { 0 };

	*ret = (struct vm_stop){ 0 };
	if (r->len == 0 ||
	    table_unpack_all(&vm_stop_table, r->doc, r->len, ret, &e) == 0)
		return true;
	req_refuse(r, 400, e.msg);
	return false;
}

/* How long its caller waits follows from its time; one that is refused left
 * none. */
static void
stop(const struct req *r, struct vm *vm, const struct vm_stop *s,
    struct idem_row *key)
{
	const struct vm_grace was = vm->grace;

	set_grace(vm, s);
	if (change(r, vm, EV_STOP, "vm stopped", FOR_STOPPED, key) < 0)
		vm->grace = was;
}

/* It is on its way down: what is said last of its time counts from now. */
static void
stop_again(const struct req *r, struct vm *vm, const struct vm_stop *s,
    struct idem_row *key)
{
	const struct vm_grace was = vm->grace;

	if (is_said(s))
		set_grace(vm, s);
	if (join(r, vm, FOR_STOPPED, key) < 0)
		vm->grace = was;
	else if (is_said(s))
		stop_anew(vm);
}

void
verb_vm_stop(const struct req *r)
{
	struct idem_row key;
	struct vm_stop s;
	struct vm *vm;

	if (!stop_timeout(r, &s) ||
	    (vm = changed(r, FOR_STOPPED_AGAIN, &s, &key)) == NULL)
		return;
	if (vm->row.state == VM_DELETING)
		req_refuse(r, 409, "vm is being deleted");
	else if (vm->row.state == VM_BROKEN)
		refuse_broken(r, vm);
	else if (vm->row.state == VM_STOPPED)
		/* stopped already: as Volant, that is fine */
		(void)join(r, vm, FOR_STOPPED, &key);
	else if (vm->row.state == VM_STOPPING)
		/* without a launcher it is written down, and done when there is
		 * one */
		stop_again(r, vm, &s, &key);
	else if (!vm->run.unknown || !doubted(r, vm))
		stop(r, vm, &s, &key);
}

void
verb_vm_delete(const struct req *r)
{
	struct idem_row key;
	struct vm *vm = changed(r, FOR_GONE, NULL, &key);

	if (vm == NULL)
		return;
	if (vm->row.state == VM_DELETING)
		(void)join(r, vm, FOR_GONE, &key);
	else
		(void)change(r, vm, EV_DELETE, "vm deleted", FOR_GONE, &key);
}

/* --- rename --- */

/* The name is its name once that is on the disk; till then it has the old one,
 * and nobody else gets either. */
static void
rename_new(
    const struct req *r, struct vm *vm, const char *name, struct idem_row *key)
{
	int e = req_wait(r, &vm->obj, FOR_RENAMED, 200);

	if (e < 0)
		return;
	key->vm = vm->row.vmid;
	e = write_ask(&vm->obj, vm_step_waits(FOR_RENAMED), key);
	if (e < 0) {
		wait_drop(&vm->obj, r->c->id);
		req_unnoted(r, e);
		return;
	}
	vm_rename_begin(vm, name);
	vm->row.updated_ns = clock_wall_ns();
	write_note(&vm->obj, EVENT_VM_RENAMED, vm->row.state, "vm renamed");
}

void
verb_vm_rename(const struct req *r)
{
	struct vm_rename want;
	struct idem_row key;
	struct vm *vm;
	struct err e = { 0 };

	if (table_unpack_all(&vm_rename_table, r->doc, r->len, &want, &e) < 0) {
		req_refuse(r, 400, e.msg);
		return;
	}
	if ((vm = changed(r, FOR_RENAMED_AGAIN, NULL, &key)) == NULL)
		return;
	if (vm->row.state == VM_DELETING)
		req_refuse(r, 409, "vm is being deleted");
	else if (vm->row.state == VM_BROKEN)
		refuse_broken(r, vm);
	else if (vm->rename[0] != '\0')
		answer_error(r->o, r->c->id, r->id, 503,
		    "vm %s is being renamed to %s, which is not on the disk yet: "
		    "try again",
		    vm->row.name, vm->rename);
	else if (strcmp(vm->row.name, want.name) == 0)
		(void)join(r, vm, FOR_RENAMED, &key);
	else if (vm_name_is_taken(r->o, r->tenant, want.name))
		answer_error(r->o, r->c->id, r->id, 409,
		    "vm already exists: %s", want.name);
	else if (!bucket_take(&vm->renames, 1, clock_ms()) && RULE(RENAME_PACE))
		answer_error(r->o, r->c->id, r->id, 503,
		    "vm %s is renamed too often: %d times at once, then once a "
		    "second: try again shortly",
		    vm->row.name, RENAMES_BURST);
	else
		rename_new(r, vm, want.name, &key);
}

/* --- streams --- */

/* One that the trail tells of before it begins. */
struct begun {
	struct orchd *o;
	uint64_t vmid;
	enum tenant_role least; /* that it takes */
	struct stream_ask a;
};

/* It is on the disk, or cannot be; its caller may be gone, or may no more. */
static void
on_recorded(void *arg, int e)
{
	struct begun *b = arg;
	struct conn *c = conn_find(b->o, b->a.conn);
	struct vm *vm = vm_by_vmid(b->o, b->vmid);

	if (c == NULL || c->req != b->a.id)
		vm = NULL;
	else if (e < 0)
		answer_error(b->o, b->a.conn, b->a.id, e == -ENOSPC ? 507 : 503,
		    "not done: it cannot be recorded in the audit trail: %s",
		    e == -ENOSPC ? "the store is full"
				 : "the store cannot be written");
	else if (vm == NULL)
		answer_error(b->o, b->a.conn, b->a.id, 404, "vm not found");
	else if (access_role(c, vm->obj.tenant) < b->least)
		answer_error(b->o, b->a.conn, b->a.id, 403,
		    "your role in tenant %s changed meanwhile",
		    vm->obj.tenant->row.name);
	else
		stream_ask(vm, &b->a);
	free(b);
}

/* What reaches into a guest is recorded first. */
static void
record(const struct req *r, const struct vm *vm, const struct stream_ask *a)
{
	struct audit_ask *ask = &r->c->ask;
	struct begun *b = calloc(1, sizeof(*b));

	if (b != NULL) {
		*b = (struct begun){ r->o, vm->row.vmid, ask->right->role, *a };
		if (audit_record(r->o, ask, vm->row.name, vm->row.vmid,
			on_recorded, b) == 0)
			return;
	}
	free(b);
	req_refuse(r, 500, "out of memory");
}

void
verb_vm_stream(const struct req *r)
{
	const struct stream_ask a = { .who = r->c->who,
		.conn = r->c->id,
		.id = r->id,
		.kind = r->head.kind,
		.flags = r->head.flags,
		.since_ns = r->head.since_ns };
	struct vm *vm = req_vm(r);

	if (vm == NULL)
		return;
	if (a.kind == 0)
		req_refuse(r, 400, "no such stream");
	else if (r->c->stream_of != 0)
		req_refuse(r, 409, "this connection has a stream already");
	else if (r->c->ask.right->does == ACTS && RULE(AUDIT_FIRST) &&
	    stream_fits(vm, &a))
		record(r, vm, &a);
	else
		stream_ask(vm, &a);
}
