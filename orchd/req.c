#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/req.h"

/* The VM a request names, or an answer that there is none. */
struct vm *
req_vm(const struct req *r)
{
	struct vm *vm = NULL;
	int e = vm_find(r->o, r->c->tenant, r->head.name, &vm);

	if (e == -EEXIST) {
		req_refuse(r, 409, "more than one vm begins with that id");
		return NULL;
	}
	if (e < 0 || !vm->committed) {
		req_refuse(r, 404, "vm not found");
		return NULL;
	}
	return vm;
}

static void
on_get(const struct req *r)
{
	const struct vm *vm = req_vm(r);

	if (vm != NULL)
		res_vm(r->o, r->c->id, r->id, 200, vm);
}

/* Waits, or says why not; what has come already is answered at once. */
void
req_wait(
    const struct req *r, struct vm *vm, enum wait_for what, unsigned int status)
{
	if (vm_wait(vm, r->c, what, status) < 0)
		req_refuse(r, 503, "too many requests wait for this vm");
	else
		vm_wake(vm);
}

/* What the request's key says; IDEM_OTHER is answered. */
enum idem_verdict
req_key(const struct req *r, struct idem_row *key)
{
	const enum idem_verdict v =
	    idem_look(r->o, r->c, &r->head, r->verb, r->doc, r->len, key);

	if (v == IDEM_OTHER)
		req_refuse(r, 422,
		    "this Idempotency-Key was used for another request");
	return v;
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
		/* by uid: the name may be another's by now */
		if ((vm = vm_by_uid(r->o, key->vm)) != NULL)
			req_wait(r, vm, again, again == FOR_GONE ? 204 : 200);
		else if (again == FOR_GONE)
			res_empty(r->o, r->c->id, r->id, 204);
		else
			req_refuse(r, 410, "the vm of this request is deleted");
		return NULL;
	case IDEM_NEW:
		break;
	}
	return req_vm(r);
}

/* Asks for a change and waits for it, or says why not. */
static void
change(const struct req *r, struct vm *vm, enum vm_event ev, const char *why,
    enum vm_desired want, enum wait_for what, struct idem_row *key)
{
	int e = vm_wait(vm, r->c, what, what == FOR_GONE ? 204 : 200);

	if (e < 0) {
		req_refuse(r, 503, "too many requests wait for this vm");
		return;
	}
	if ((e = vm_request(vm, ev, why, want, what, key)) < 0) {
		vm_wait_drop(vm, r->c->id);
		req_refuse(r, e == -EPERM ? 409 : 500,
		    e == -EPERM ? "not in the state this vm is in"
				: "out of memory");
	}
}

/* It is so already, or on its way there. */
static void
join(const struct req *r, struct vm *vm, enum wait_for what,
    struct idem_row *key)
{
	if (vm_remember(vm, key) < 0)
		req_refuse(r, 500, "out of memory");
	else
		req_wait(r, vm, what, what == FOR_GONE ? 204 : 200);
}

static void
on_start(const struct req *r)
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
		change(r, vm, EV_START, "vm started", WANT_RUNNING, FOR_RUNNING,
		    &key);
		return;
	case VM_PENDING:
	case VM_STARTING:
	case VM_RUNNING:
		/* under way or done: a second start is the first one's retry */
		join(r, vm, FOR_RUNNING, &key);
		return;
	case VM_STOPPING:
	case VM_DELETING:
	case VM_STATES:
		break;
	}
	(void)snprintf(text, sizeof(text), "vm %s is %s", vm->row.name,
	    vm_state_name(vm->row.state));
	req_refuse(r, 409, text);
}

static void
on_stop(const struct req *r)
{
	struct idem_row key;
	struct vm *vm = changed(r, FOR_STOPPED_AGAIN, &key);

	if (vm == NULL)
		return;
	if (vm->row.state == VM_DELETING)
		req_refuse(r, 409, "vm is being deleted");
	else if (vm->row.state == VM_STOPPED || vm->row.state == VM_STOPPING)
		/* stopped already: as Volant, that is fine */
		join(r, vm, FOR_STOPPED, &key);
	else
		change(r, vm, EV_STOP, "vm stopped", WANT_STOPPED, FOR_STOPPED,
		    &key);
}

static void
on_delete(const struct req *r)
{
	struct idem_row key;
	struct vm *vm = changed(r, FOR_GONE, &key);

	if (vm == NULL)
		return;
	if (vm->row.state == VM_DELETING)
		join(r, vm, FOR_GONE, &key);
	else
		change(
		    r, vm, EV_DELETE, "vm deleted", WANT_GONE, FOR_GONE, &key);
}

/* --- streams, events, doctor --- */

/*
 * The one end goes up to apid, the other down to the warden; descriptors
 * only ever travel towards the VM (I12), and orchd keeps neither.
 */
static void
on_stream(const struct req *r)
{
	struct api_res res = { .conn = r->c->id, .status = 101 };
	struct launch_stream s = { .kind = r->head.kind,
		.flags = r->head.flags };
	const struct vm *vm = req_vm(r);
	struct conn *c;
	int sv[2];

	if (vm == NULL)
		return;
	if (s.kind == 0) {
		req_refuse(r, 400, "no such stream");
		return;
	}
	s.vm = vm->row.vmid;
	if (vm->row.state != VM_RUNNING || vm->hv != HV_ALIVE) {
		req_refuse(r, 409, "vm not running");
		return;
	}
	if (s.kind == STREAM_EXEC && !vm->ready) {
		req_refuse(r, 503, "vm not ready yet");
		return;
	}
	if (r->o->launch.chan == NULL) {
		req_refuse(r, 503, "the launcher restarts: try again");
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		sv) < 0) {
		req_refuse(r, 503, "too many streams on this host");
		return;
	}
	if (chan_send(r->o->launch.chan, LAUNCH_STREAM, 0, &s, sizeof(s),
		sv[1]) < 0) {
		close_fd(&sv[0]);
		req_refuse(r, 503, "the launcher is busy: try again");
		return;
	}
	if ((c = res_conn(r->o, r->c->id, r->id)) == NULL) {
		close_fd(&sv[0]);
		return;
	}
	res_send(c, r->id, &res, NULL, 0, sv[0]);
}

static void
on_events(const struct req *r)
{
	int e;

	/* API_NOW, or a number of another store: from here on */
	r->c->events_after = r->head.after > r->o->tenant.last_seq
	    ? r->o->tenant.last_seq
	    : r->head.after;
	if ((e = events_answer(r->c)) == 0) {
		r->c->events_id = r->id; /* parked until there is one */
		TAILQ_INSERT_TAIL(&r->o->parked, r->c, parked);
	} else if (e < 0)
		req_refuse(r, 500, "events cannot be read");
	else
		r->c->req = 0;
}

/* --- dispatch --- */

static const struct {
	uint32_t verb;
	void (*fn)(const struct req *r);
	enum role role; /* at least */
} verbs[] = {
	{ API_VM_LIST, req_list, ROLE_USER },
	{ API_VM_GET, on_get, ROLE_USER },
	{ API_VM_CREATE, req_create, ROLE_USER },
	{ API_VM_DELETE, on_delete, ROLE_USER },
	{ API_VM_START, on_start, ROLE_USER },
	{ API_VM_STOP, on_stop, ROLE_USER },
	{ API_STREAM, on_stream, ROLE_USER },
	{ API_EVENTS, on_events, ROLE_USER },
	{ API_DOCTOR, req_doctor, ROLE_USER },
};

int
on_api_closed(void *arg, struct chan *chan, struct msg *m)
{
	struct orchd *o = arg;
	struct api_conn msg;
	struct conn *c;

	memcpy(&msg, m->data, sizeof(msg));
	c = conn_find(o, msg.conn);
	if (c == NULL)
		return 0; /* it hung up at the same moment */
	/* an apid speaks for the connections it was given, no others (I1) */
	if (RULE(API_CONN_OWNER) && conn_chan(c) != chan)
		return -EPERM;
	conn_end(c, true);
	return 0;
}

/* The document of a request: its tail, or a sealed memfd.  0 or -errno. */
static int
req_doc(struct req *r, const struct msg *m, void **tofree)
{
	void *buf = NULL;
	int e;

	r->doc = (const uint8_t *)m->data + sizeof(r->head);
	r->len = m->len - sizeof(r->head);
	if (m->fd < 0)
		return 0;
	if (r->len > 0)
		return -EINVAL; /* one or the other */
	if ((e = memfd_read(m->fd, REQ_DOC_MAX, &buf, &r->len)) < 0)
		return e;
	*tofree = buf;
	r->doc = buf;
	return 0;
}

static void
req_run(const struct req *r)
{
	size_t i;

	for (i = 0; i < nitems(verbs); i++) {
		if (verbs[i].verb != r->verb)
			continue;
		if (RULE(API_ROLE) && r->c->role < verbs[i].role) {
			req_refuse(r, 403,
			    "access denied: your user is not listed "
			    "in mews.conf (users, admins)");
			return;
		}
		verbs[i].fn(r);
		return;
	}
	req_refuse(r, 404, "no such verb");
}

int
on_api_req(void *arg, struct chan *chan, struct msg *m)
{
	struct req r = { .o = arg, .verb = m->type, .id = m->id };
	void *tofree = NULL;
	int e;

	memcpy(&r.head, m->data, sizeof(r.head));
	if (m->id == 0)
		return -EINVAL;
	if ((r.c = conn_find(r.o, r.head.conn)) == NULL)
		return 0; /* it hung up at the same moment */
	if (RULE(API_CONN_OWNER) && conn_chan(r.c) != chan)
		return -EPERM;
	if (r.c->req != 0)
		return -EBUSY; /* HTTP/1.1: one at a time */
	e = req_doc(&r, m, &tofree);
	if (e < 0 && e != -E2BIG && e != -ENOMEM)
		return e;
	r.c->req = r.id;
	if (e < 0)
		req_refuse(&r, e == -E2BIG ? 413 : 500,
		    e == -E2BIG ? "the request is too large" : "out of memory");
	else
		req_run(&r);
	if (tofree != NULL)
		explicit_bzero(tofree, r.len); /* env may be in it */
	free(tofree);
	return 0;
}
