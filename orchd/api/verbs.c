#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/api/access.h"
#include "orchd/api/choose.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/api/verbs.h"
#include "orchd/orchd.h"
#include "proto/chan.h"
#include "proto/right.h"

/*
 * All an apid may ask for, a line each: the message, who does it, and the most
 * bytes of a document (0: none).  Only where a document belongs may a
 * descriptor bring it.  Who may is in proto/right.h.
 */
#define VERBS(V)                                               \
	V(API_VM_LIST, verb_vm_list, API_TAIL_MAX)             \
	V(API_VM_GET, verb_vm_get, 0)                          \
	V(API_VM_CREATE, verb_vm_create, API_TAIL_MAX)         \
	V(API_VM_DELETE, verb_vm_delete, 0)                    \
	V(API_VM_START, verb_vm_start, 0)                      \
	V(API_VM_STOP, verb_vm_stop, API_TAIL_MAX)             \
	V(API_VM_RENAME, verb_vm_rename, API_TAIL_MAX)         \
	V(API_STREAM, verb_vm_stream, 0)                       \
	V(API_EVENTS, verb_events, 0)                          \
	V(API_DOCTOR, verb_doctor, 0)                          \
	V(API_AUDIT, verb_audit, API_TAIL_MAX)                 \
	V(API_TENANT_LIST, verb_tenant_list, 0)                \
	V(API_TENANT_GET, verb_tenant_get, 0)                  \
	V(API_TENANT_CREATE, verb_tenant_create, API_TAIL_MAX) \
	V(API_TENANT_CHANGE, verb_tenant_change, API_TAIL_MAX) \
	V(API_TENANT_DELETE, verb_tenant_delete, API_TAIL_MAX) \
	V(API_ORPHAN_LIST, verb_orphan_list, 0)                \
	V(API_ORPHAN_ADOPT, verb_orphan_adopt, API_TAIL_MAX)   \
	V(API_ORPHAN_DELETE, verb_orphan_delete, 0)            \
	V(API_STORE_BACKUP, verb_store_backup, 0)

#define VERB_ROW(type, fn, tail) { (type), (fn) },
static const struct {
	uint32_t verb;
	void (*fn)(const struct req *r);
} verbs[] = { VERBS(VERB_ROW) };

static int
on_closed(void *arg, struct chan *chan, struct msg *m)
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
document(struct req *r, const struct msg *m, void **tofree)
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

/* What a member's request is counted as; TENANT_AMOUNTS: as nothing. */
static enum tenant_amount
amount_of(const struct right *right)
{
	if (right->verb == API_EVENTS)
		return TENANT_READERS;
	if (right->verb == API_STREAM && right->stream != STREAM_SIGNAL)
		return TENANT_STREAMS;
	return right->of != OF_CALLER && right->role >= TENANT_OPERATOR
	    ? TENANT_OPERATIONS
	    : TENANT_AMOUNTS;
}

/* A reader asks for what comes next: apid's words, not a request of his. */
static bool
goes_on(const struct req *r, const struct tenant *t)
{
	return r->verb == API_EVENTS && (r->head.flags & API_AT_ONCE) == 0 &&
	    r->c->open.tenant == t->row.id && r->c->open.what == TENANT_READERS;
}

/* One request more of t, and what it is counted as. */
static int
charge_to(const struct req *r, struct tenant *t, enum tenant_amount what,
    struct err *e)
{
	const struct charge *open = &r->c->open;
	int err;

	if (goes_on(r, t))
		return 0;
	if ((err = tenant_ask(t, clock_ms(), e)) < 0 || what == TENANT_AMOUNTS)
		return err;
	/* it reads anew; a second stream its verb refuses */
	if (open->tenant == t->row.id && open->what == what)
		return 0;
	return conn_charge(r->c, t, what, e);
}

/* It is about no tenant: one more of any that its caller is in. */
static int
charge_any(const struct req *r, struct err *e)
{
	const struct access_in *in = access_in(r->c);
	struct tenants *all = &r->o->tenants;
	struct tenant *t;
	int err = 0;

	if (in->n == 1)
		return tenant_ask(tenant_by_id(all, in->only), clock_ms(), e);
	/* as he chooses, who chooses none */
	if (access_role(r->c, all->by_default) != TENANT_NONE &&
	    tenant_ask(all->by_default, clock_ms(), e) == 0)
		return 0;
	for (t = tenant_first(all); t != NULL; t = tenant_next(t))
		if (access_role(r->c, t) != TENANT_NONE &&
		    (err = tenant_ask(t, clock_ms(), e)) == 0)
			break;
	return err;
}

/* Within its tenant's quotas; a host admin's is not counted.  False: answered.
 */
static bool
charge(const struct req *r, const struct right *right)
{
	struct tenant *t = right->of == OF_NAMED ? r->named : r->tenant;
	const enum tenant_amount what = amount_of(right);
	struct err err = { 0 };
	int e;

	if (r->role == TENANT_HOST || right->of == OF_ANYBODY || t == NULL ||
	    !RULE(TENANT_RUNNING))
		return true;
	e = right->of == OF_CALLER ? charge_any(r, &err)
				   : charge_to(r, t, what, &err);
	if (e == -EBUSY)
		req_refuse(
		    r, 409, "this connection has a stream, or reads events");
	else if (e < 0)
		req_refuse(r, 429, err.msg);
	return e == 0;
}

/* The trail tells of it, if it is worth that: so far in the host's chain. */
static void
asked(const struct req *r, const struct right *right)
{
	struct audit_ask *a = &r->c->ask;

	*a = (struct audit_ask){
		.right = right,
		.chain = AUDIT_HOST,
		.user = r->c->creds.uid,
		.pid = r->c->creds.pid,
	};
	memcpy(a->object, r->head.var[0], sizeof(a->object));
}

/* Its tenant is known, and what he is there. */
static void
asked_of(const struct req *r, const struct right *right)
{
	const struct tenant *t = right->of == OF_NAMED ? r->named
	    : right->of == OF_CHOSEN		       ? r->tenant
						       : NULL;
	struct audit_ask *a = &r->c->ask;

	a->role = (uint8_t)r->role;
	/* what only the host may is in its own chain: that of a tenant which
	 * goes goes with it */
	if (t == NULL || right->role == TENANT_HOST || r->role == TENANT_NONE)
		return;
	a->chain = t->row.id;
	memcpy(a->tenant, t->row.name, sizeof(a->tenant));
}

/* Whose things it is about, and whether its caller may.  False: answered. */
static bool
may(struct req *r, const struct right **ret)
{
	const struct right *right = right_find(r->verb, r->head.kind);
	enum tenant_role role = TENANT_NONE;

	*ret = right;
	if (right == NULL) {
		req_refuse(r, r->verb == API_STREAM ? 400 : 404,
		    r->verb == API_STREAM ? "no such stream" : "no such verb");
		return false;
	}
	asked(r, right);
	/* keys of what is about tenants outlive those */
	r->tenant = r->o->tenants.by_default;
	if ((right->of == OF_CHOSEN &&
		(r->tenant = choose_tenant(r, &role)) == NULL) ||
	    (right->of == OF_NAMED && !choose_named(r, &r->named, &role)))
		return false;
	if (right->of == OF_CALLER)
		role = access_most(r->c);
	r->role = role;
	asked_of(r, right);
	if (role >= right->role || !RULE(API_ROLE))
		return true;
	if (role == TENANT_NONE)
		req_refuse(r, 403, API_NOT_LISTED);
	else
		choose_refuse(r, right->role);
	return false;
}

static void
run(const struct req *r)
{
	size_t i;

	for (i = 0; i < nitems(verbs); i++)
		if (verbs[i].verb == r->verb)
			verbs[i].fn(r);
}

static int
on_req(void *arg, struct chan *chan, struct msg *m)
{
	const struct right *right;
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
	e = document(&r, m, &tofree);
	if (e < 0 && e != -E2BIG && e != -ENOMEM)
		return e;
	r.c->req = r.id;
	if (e < 0)
		req_refuse(&r, e == -E2BIG ? 413 : 500,
		    e == -E2BIG ? "the request is too large" : "out of memory");
	else if (may(&r, &right) && charge(&r, right)) {
		r.o->audit.asking = &r.c->ask;
		run(&r);
		r.o->audit.asking = NULL;
	}
	if (tofree != NULL)
		explicit_bzero(tofree, r.len); /* env may be in it */
	free(tofree);
	return 0;
}

static void
on_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct orchd *o = arg;
	size_t i;

	for (i = 0; i < nitems(o->api); i++) {
		const uint32_t room = i == 0 ? ROOM_API : ROOM_API_ADMIN;

		if (o->api[i] != c)
			continue;
		log_warn("%s: %s", chan_peer(c), why);
		boot_ended(o->parent, room, o->life[room], end);
		chan_free(c);
		o->api[i] = NULL;
		conn_end_room(o, room);
	}
	conn_accept(o);
}

#define CHAN_ROW(type, fn, tail)                                           \
	{ (type), sizeof(struct api_req), (tail), (tail) > 0 ? FD_OPT : 0, \
		PH_ANY, api_req_check, on_req },
static const struct msg_handler handlers[] = {
	{ API_CLOSED, sizeof(struct api_conn), 0, 0, PH_ANY, api_conn_check,
	    on_closed },
	VERBS(CHAN_ROW)
};
const struct chan_ops verbs_ops = { handlers, nitems(handlers), on_gone };
