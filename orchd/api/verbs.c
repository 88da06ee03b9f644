#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/api/verbs.h"
#include "orchd/orchd.h"
#include "proto/chan.h"

/*
 * All an apid may ask for, a line each: the message, who does it, the least
 * role, and the most bytes of a document (0: none).  Only where a document
 * belongs may a descriptor bring it.
 */
#define VERBS(V)                                                  \
	V(API_VM_LIST, verb_vm_list, ROLE_USER, API_TAIL_MAX)     \
	V(API_VM_GET, verb_vm_get, ROLE_USER, 0)                  \
	V(API_VM_CREATE, verb_vm_create, ROLE_USER, API_TAIL_MAX) \
	V(API_VM_DELETE, verb_vm_delete, ROLE_USER, 0)            \
	V(API_VM_START, verb_vm_start, ROLE_USER, 0)              \
	V(API_VM_STOP, verb_vm_stop, ROLE_USER, API_TAIL_MAX)     \
	V(API_VM_RENAME, verb_vm_rename, ROLE_USER, API_TAIL_MAX) \
	V(API_STREAM, verb_vm_stream, ROLE_USER, 0)               \
	V(API_EVENTS, verb_events, ROLE_USER, 0)                  \
	V(API_DOCTOR, verb_doctor, ROLE_USER, 0)

#define VERB_ROW(type, fn, role, tail) { (type), (fn), (role) },
static const struct {
	uint32_t verb;
	void (*fn)(const struct req *r);
	enum api_role role; /* at least */
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

static void
run(const struct req *r)
{
	size_t i;

	for (i = 0; i < nitems(verbs); i++) {
		if (verbs[i].verb != r->verb)
			continue;
		if (RULE(API_ROLE) && r->c->role < verbs[i].role) {
			req_refuse(r, 403, API_NOT_LISTED);
			return;
		}
		verbs[i].fn(r);
		return;
	}
	req_refuse(r, 404, "no such verb");
}

static int
on_req(void *arg, struct chan *chan, struct msg *m)
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
	e = document(&r, m, &tofree);
	if (e < 0 && e != -E2BIG && e != -ENOMEM)
		return e;
	r.c->req = r.id;
	if (e < 0)
		req_refuse(&r, e == -E2BIG ? 413 : 500,
		    e == -E2BIG ? "the request is too large" : "out of memory");
	else
		run(&r);
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

#define CHAN_ROW(type, fn, role, tail)                                     \
	{ (type), sizeof(struct api_req), (tail), (tail) > 0 ? FD_OPT : 0, \
		PH_ANY, api_req_check, on_req },
static const struct msg_handler handlers[] = {
	{ API_CLOSED, sizeof(struct api_conn), 0, 0, PH_ANY, api_conn_check,
	    on_closed },
	VERBS(CHAN_ROW)
};
const struct chan_ops verbs_ops = { handlers, nitems(handlers), on_gone };
