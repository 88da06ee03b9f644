#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/share.h"
#include "common/util.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/link/link_launch.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/vm/doubt.h"
#include "orchd/vm/vm_step.h"

void
verb_vm_get(const struct req *r)
{
	const struct vm *vm = req_vm(r);

	if (vm != NULL)
		answer_vm(r->o, r->c->id, r->id, 200, vm);
}

/* --- start, stop, delete --- */

/* The VM of a verb that changes it, and what its key says.  NULL: answered. */
static struct vm *
changed(const struct req *r, enum wait_for again, struct idem_row *key)
{
	struct vm *vm;

	switch (req_key(r, key)) {
	case IDEM_OTHER:
		return NULL;
	case IDEM_AGAIN:
		/* by vmid: the name may be another's by now */
		if ((vm = vm_by_vmid(r->o, key->vm)) != NULL)
			req_join(
			    r, &vm->obj, again, again == FOR_GONE ? 204 : 200);
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

/* Asks for a change and waits for it, or says why not. */
static void
change(const struct req *r, struct vm *vm, enum vm_event ev, const char *why,
    enum wait_for what, struct idem_row *key)
{
	int e = req_wait(r, &vm->obj, what, what == FOR_GONE ? 204 : 200);

	if (e < 0)
		return;
	if ((e = vm_step_asked(vm, ev, why, what, key)) < 0) {
		wait_drop(&vm->obj, r->c->id);
		if (e == -EPERM)
			req_refuse(r, 409, "not in the state this vm is in");
		else
			req_unnoted(r, e);
	}
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

/* It is so already, or on its way there. */
static void
join(const struct req *r, struct vm *vm, enum wait_for what,
    struct idem_row *key)
{
	int e;

	key->vm = vm->row.vmid;
	if ((e = write_key(&vm->obj, key)) < 0)
		req_unnoted(r, e);
	else
		req_join(r, &vm->obj, what, what == FOR_GONE ? 204 : 200);
}

static void
refuse_broken(const struct req *r, const struct vm *vm)
{
	char text[STORE_NAME_MAX + STORE_DETAIL_MAX + 128];

	(void)snprintf(text, sizeof(text),
	    "vm %s is broken: its row in the store cannot be read (%s); all that "
	    "can be done with it is to delete it",
	    vm->row.name, vm->broken.why);
	req_refuse(r, 409, text);
}

void
verb_vm_start(const struct req *r)
{
	struct idem_row key;
	struct vm *vm = changed(r, FOR_RUNNING_AGAIN, &key);
	char text[160];

	if (vm == NULL)
		return;
	switch ((enum vm_state)vm->row.state) {
	case VM_STOPPED:
	case VM_CRASHED:
		vm->retried = false;
		change(r, vm, EV_START, "vm started", FOR_RUNNING, &key);
		return;
	case VM_PENDING:
	case VM_STARTING:
	case VM_RUNNING:
		/* under way or done: a second start is the first one's retry */
		if (vm->row.state != VM_RUNNING || !doubted(r, vm))
			join(r, vm, FOR_RUNNING, &key);
		return;
	case VM_BROKEN:
		refuse_broken(r, vm);
		return;
	case VM_STOPPING:
	case VM_DELETING:
	case VM_STATES:
		break;
	}
	(void)snprintf(text, sizeof(text), "vm %s is %s", vm->row.name,
	    vm_fsm_state(vm->row.state));
	req_refuse(r, 409, text);
}

void
verb_vm_stop(const struct req *r)
{
	struct idem_row key;
	struct vm *vm = changed(r, FOR_STOPPED_AGAIN, &key);

	if (vm == NULL)
		return;
	if (vm->row.state == VM_DELETING)
		req_refuse(r, 409, "vm is being deleted");
	else if (vm->row.state == VM_BROKEN)
		refuse_broken(r, vm);
	else if (vm->row.state == VM_STOPPED || vm->row.state == VM_STOPPING)
		/* stopped already: as Volant, that is fine */
		join(r, vm, FOR_STOPPED, &key);
	/* without a launcher it is written down, and done when there is one */
	else if (!vm->run.unknown || !doubted(r, vm))
		change(r, vm, EV_STOP, "vm stopped", FOR_STOPPED, &key);
}

void
verb_vm_delete(const struct req *r)
{
	struct idem_row key;
	struct vm *vm = changed(r, FOR_GONE, &key);

	if (vm == NULL)
		return;
	if (vm->row.state == VM_DELETING)
		join(r, vm, FOR_GONE, &key);
	else
		change(r, vm, EV_DELETE, "vm deleted", FOR_GONE, &key);
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
	e = write_ask(
	    &vm->obj, WAITS(FOR_RENAMED) | WAITS(FOR_RENAMED_AGAIN), key);
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
	if ((vm = changed(r, FOR_RENAMED_AGAIN, &key)) == NULL)
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
		join(r, vm, FOR_RENAMED, &key);
	else if (vm_name_is_taken(r->o, r->c->tenant, want.name))
		answer_error(r->o, r->c->id, r->id, 409,
		    "vm already exists: %s", want.name);
	else
		rename_new(r, vm, want.name, &key);
}

/* --- streams --- */

/* Its jail is there to serve one.  False: answered. */
static bool
may_serve(const struct req *r, const struct vm *vm)
{
	if (vm->row.state == VM_BROKEN) {
		refuse_broken(r, vm);
		return false;
	}
	if (doubted(r, vm))
		return false;
	if (vm->row.state == VM_RUNNING &&
	    vm_life_const(vm)->state == PART_USED)
		return true;
	req_refuse(r, 409, "vm not running");
	return false;
}

/* Takes fd.  0, or as of link_launch.h. */
static int
stream_ask(const struct req *r, const struct vm *vm, int fd)
{
	const struct api_req *q = &r->head;

	if (launch_is_log(q->kind))
		return link_launch_log(
		    r->o, vm->row.vmid, q->kind, q->flags, q->since_ns, fd);
	return link_launch_stream(r->o, vm->row.vmid, q->kind, q->flags, fd);
}

/*
 * The one end goes up to apid, the other down to the warden; descriptors
 * only ever travel towards the VM (I12), and orchd keeps neither.
 */
/* False: answered, with why not.  After true r->c may be gone. */
static bool
stream_send(const struct req *r, struct vm *vm)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		sv) < 0) {
		req_refuse(
		    r, 503, "no descriptor is left for a stream: try again");
		return false;
	}
	switch (stream_ask(r, vm, sv[1])) {
	case 0:
		/* it lasts as long as the connection, which ends with it */
		r->c->stream_of = vm->row.vmid;
		r->c->nstreams++;
		if (!launch_is_log(r->head.kind)) {
			r->c->nholds++;
			temporary_hold(vm);
		}
		answer_stream(r->o, r->c->id, r->id, sv[0]);
		return true;
	case -EPIPE:
		req_refuse(r, 503, "the launcher restarts: try again");
		break;
	default:
		req_refuse(r, 503, "the launcher is busy: try again");
		break;
	}
	fd_close(&sv[0]);
	return false;
}

void
verb_vm_stream(const struct req *r)
{
	struct vm *vm = req_vm(r);
	char why[200];
	int e;

	if (vm == NULL)
		return;
	if (r->head.kind == 0) {
		req_refuse(r, 400, "no such stream");
		return;
	}
	if (r->c->stream_of != 0 && r->c->stream_of != vm->row.vmid) {
		req_refuse(r, 409, "this connection has a stream already");
		return;
	}
	/* what it said is kept whether it runs or not */
	if (!launch_is_log(r->head.kind) && !may_serve(r, vm))
		return;
	if (r->head.kind == STREAM_EXEC && !vm->run.ready) {
		if (doubt_words(vm, why, sizeof(why)))
			answer_error(r->o, r->c->id, r->id, 503, "vm %s %s",
			    vm->row.name, why);
		else
			req_refuse(r, 503, "vm not ready yet");
		return;
	}
	if ((e = share_take(&vm->streams, r->c->who, 1)) == -EBUSY &&
	    RULE(STREAM_SHARE))
		req_busy(r, &vm->streams, "streams of this vm are open",
		    "end a command or console of yours, or try again later");
	else if (e == -ENOMEM)
		req_refuse(r, 500, "out of memory");
	else if (!stream_send(r, vm) && e == 0)
		vm_streams_end(vm, r->c->who, 1, 0);
}
