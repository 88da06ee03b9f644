#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "common/util.h"
#include "orchd/api/answer.h"
#include "orchd/link/link.h"
#include "orchd/link/link_launch.h"
#include "orchd/link/link_net.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/stored.h"
#include "orchd/vm/event.h"
#include "orchd/vm/stream.h"
#include "orchd/vm/vm.h"
#include "orchd/vm/vm_converge.h"
#include "orchd/vm/vm_kind.h"
#include "proto/jbuf.h"

#define PATIENCE_MIN_MS 17000U
#define RENAMES (WAITS(FOR_RENAMED) | WAITS(FOR_RENAMED_AGAIN))
/* What a person asks for that ends nothing. */
#define ENDS_NOTHING (RENAMES | WAITS(FOR_RUNNING) | WAITS(FOR_RUNNING_AGAIN))

/* What a VM is made of, in the order it is made; it is taken down in the
 * opposite one. */
static const struct part_kind *const parts[] = { &link_net_tap,
	&link_launch_jail };

struct vm *
vm_kind_new(struct orchd *o)
{
	return vm_new(o, &vm_kind, parts, nitems(parts));
}

static const struct vm *
vm_of(const struct object *obj)
{
	return (const struct vm *)obj;
}

static const char *
title(const struct object *obj)
{
	return vm_of(obj)->row.name;
}

static void
serve(struct object *obj)
{
	stream_serve(obj);
	if (!object_settled(obj)) /* its turn would wait for the disk */
		vm_give_back((struct vm *)obj);
}

/* --- to the store --- */

static int
save_new(struct txn *t, const struct vm *vm)
{
	struct vm_row row = vm->row;
	struct jbuf b;
	int r;

	jbuf_init(&b, TABLE_JSON_MAX);
	if ((r = table_store(&stored_request, &vm->request, &b, NULL)) == 0) {
		row.request =
		    (struct store_doc){ b.p, b.len, stored_request.version };
		if (vm->obj.life == OBJECT_STORED) /* in another place */
			txn_vm_del(t, row.vmid);
		txn_vm_put(t, &row);
		txn_needs_room(t);
	}
	jbuf_free(&b); /* env is in it */
	return r;
}

static int
save_set(struct txn *t, const struct vm *vm)
{
	if (vm->broken.why[0] != '\0')
		return 0; /* it stays as it is */
	txn_vm_set(t, &vm->row);
	if (vm->rename[0] != '\0')
		txn_vm_name(t, vm->row.vmid, vm->rename);
	/* the reserve is for what has to be written */
	if (write_asks_only(&vm->obj, ENDS_NOTHING))
		txn_needs_room(t);
	return 0;
}

static int
save(struct txn *t, const struct object *obj, enum write_op op)
{
	const struct vm *vm = vm_of(obj);

	switch (op) {
	case WRITE_NEW:
		return save_new(t, vm);
	case WRITE_SET:
		return save_set(t, vm);
	case WRITE_DEL:
		txn_vm_del(t, vm->row.vmid);
		return 0;
	}
	return -EINVAL;
}

static uint64_t
event(struct txn *t, const struct object *obj, const struct note *n)
{
	return event_vm(t, vm_of(obj), n);
}

/* --- to those who wait --- */

static bool
for_running(uint32_t what)
{
	return what == FOR_RUNNING || what == FOR_RUNNING_AGAIN;
}

/* As long as a guest may take to come up; before it is down, the ladder. */
static uint64_t
patience_ms(const struct object *obj, uint32_t what)
{
	const struct orchd_conf *c = &obj->orchd->conf;
	/* a helper that does not answer is found out before (part.c) */
	uint64_t ms =
	    c->ready_ms > PATIENCE_MIN_MS ? c->ready_ms : PATIENCE_MIN_MS;

	if ((WAITS(what) & RENAMES) != 0 || what == FOR_ADOPTED)
		return PATIENCE_MIN_MS; /* for the store alone */
	if (for_running(what))
		return ms;
	return ms +
	    (what == FOR_GONE ? vm_end_ms(vm_of(obj)) : vm_stop_ms(vm_of(obj)));
}

static bool
due(const struct object *obj, const struct waiter *w)
{
	const enum vm_state s = (enum vm_state)vm_of(obj)->row.state;

	if (obj->life == OBJECT_GONE)
		return true;
	switch ((enum wait_for)w->what) {
	case FOR_RUNNING:
	case FOR_RUNNING_AGAIN:
		return s != VM_PENDING && s != VM_STARTING;
	case FOR_STOPPED:
		return s == VM_STOPPED || s == VM_CRASHED || s == VM_DELETING;
	case FOR_STOPPED_AGAIN:
		return s != VM_STOPPING;
	case FOR_RENAMED:
	case FOR_RENAMED_AGAIN:
	case FOR_ADOPTED:
		return true; /* asked only when all of it is on the disk */
	case FOR_GONE:
		return false;
	}
	return false;
}

static void
answer(struct object *obj, const struct waiter *w)
{
	const bool again = w->what == FOR_RUNNING_AGAIN ||
	    w->what == FOR_STOPPED_AGAIN || w->what == FOR_RENAMED_AGAIN;
	const struct vm *vm = vm_of(obj);
	const enum vm_state s = (enum vm_state)vm->row.state;
	struct orchd *o = obj->orchd;

	if (w->what == FOR_GONE)
		answer_empty(o, w->conn, w->id, w->status);
	else if (obj->life == OBJECT_GONE)
		answer_error(o, w->conn, w->id, 409,
		    "vm %s was deleted meanwhile", vm->row.name);
	else if (s == VM_DELETING)
		answer_error(o, w->conn, w->id, again ? 410 : 409,
		    again ? "vm %s is being deleted"
			  : "vm %s was deleted meanwhile",
		    vm->row.name);
	else if (for_running(w->what) && s == VM_CRASHED)
		answer_error(o, w->conn, w->id, 500, "vm %s did not start: %s",
		    vm->row.name, vm->row.detail);
	else if (w->what == FOR_RUNNING && s != VM_RUNNING)
		answer_error(o, w->conn, w->id, 409,
		    "vm %s was stopped while it started", vm->row.name);
	else
		answer_vm(o, w->conn, w->id, w->status, vm);
}

/* What a VM that does not move lacks, as far as that is known here. */
static const char *
what_lacks(const struct object *obj)
{
	const char *missing = link_missing(obj->orchd);

	if (!object_settled(obj))
		return "the store cannot be written";
	return missing != NULL ? missing : "its helpers have not answered";
}

/* True: it waits for its turn, and was told so. */
static bool
late_for_turns(const struct vm *vm, const struct waiter *w)
{
	unsigned int before, has;

	if (!object_settled(&vm->obj) || !seat_waits(&vm->seat, &before, &has))
		return false;
	answer_error(vm->obj.orchd, w->conn, w->id, 503,
	    "vm %s is still %s: %u starts of %s%s go before it; it goes on by "
	    "itself",
	    vm->row.name, vm_fsm_state(vm->row.state), before + has,
	    vm->seat.line->is_host ? "host admins" : "tenant ",
	    vm->seat.line->is_host ? "" : vm->obj.tenant->row.name);
	return true;
}

static void
late(struct object *obj, const struct waiter *w)
{
	const struct vm *vm = vm_of(obj);

	if (late_for_turns(vm, w))
		return;

	if (vm->rename[0] != '\0' && (WAITS(w->what) & RENAMES) != 0)
		answer_error(obj->orchd, w->conn, w->id, 503,
		    "vm %s is not yet called %s: %s; it will be once that is over",
		    vm->row.name, vm->rename, what_lacks(obj));
	else
		answer_error(obj->orchd, w->conn, w->id, 503,
		    "vm %s is still %s: %s; it goes on by itself once that is over",
		    vm->row.name, vm_fsm_state(vm->row.state), what_lacks(obj));
}

static void
undone(struct object *obj, const struct waiter *w, int r)
{
	const char *what = obj->life != OBJECT_NEVER ? "not done"
	    : vm_of(obj)->orphan.is		     ? "not adopted"
						     : "not created";
	const char *why = r == -ENOSPC ? "the store is full"
	    : r == -ENOMEM	       ? "out of memory"
				       : "the store cannot be written";
	const unsigned int status = r == -ENOSPC ? 507 : 500;
	const struct vm *vm = vm_of(obj);

	if (vm->row.state == VM_DELETING)
		answer_error(obj->orchd, w->conn, w->id, status,
		    "vm %s: stopped, and will be gone once the store can be "
		    "written",
		    vm->row.name);
	else
		answer_error(obj->orchd, w->conn, w->id, status,
		    "vm %s: %s: %s", vm->row.name, what, why);
}

static void
kept(struct object *obj, uint32_t asked)
{
	struct vm *vm = (struct vm *)obj;

	if (obj->tenant->want.deleting) /* it was too new to go */
		object_wake(&obj->tenant->obj);
	if ((asked & WAITS(FOR_ADOPTED)) != 0)
		orphan_kept(vm);
	if ((asked & RENAMES) == 0 || vm->rename[0] == '\0')
		return;
	log_info("vm %s: renamed to %s", vm->row.name, vm->rename);
	vm_rename_end(vm, true);
}

/* A name changes when it is on the disk, so it is never taken back; the time of
 * a stop that never was is nobody's. */
static void
dropped(struct object *obj, uint32_t asked, void *was)
{
	struct vm *vm = (struct vm *)obj;

	if (was != NULL)
		memcpy(((struct vm_row *)was)->name, vm->row.name,
		    sizeof(vm->row.name));
	if ((asked & RENAMES) != 0)
		vm_rename_end(vm, false);
	if ((asked & WAITS(FOR_STOPPED)) != 0)
		vm->grace = (struct vm_grace){ 0 };
}

static void
vm_object_free(struct object *obj)
{
	if (obj->life == OBJECT_NEVER && vm_of(obj)->orphan.is) {
		orphan_again((struct vm *)obj); /* it is there all the same */
		return;
	}
	if (obj->life == OBJECT_GONE) {
		log_info("vm %s: gone", title(obj));
		link_launch_forget(obj->orchd, vm_of(obj)->row.vmid);
	}
	vm_free((struct vm *)obj);
}

const struct object_kind vm_kind = {
	.name = "vm",
	.row = offsetof(struct vm, row),
	.rowlen = sizeof(struct vm_row),
	.title = title,
	.save = save,
	.event = event,
	.converge = vm_converge,
	.serve = serve,
	.patience_ms = patience_ms,
	.due = due,
	.answer = answer,
	.late = late,
	.undone = undone,
	.kept = kept,
	.dropped = dropped,
	.free = vm_object_free,
};
