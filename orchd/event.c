#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cur.h"
#include "common/fds.h"
#include "common/log.h"
#include "orchd/orchd.h"

/* Events in one answer: a slow reader comes back for the next ones. */
#define EVENTS_BATCH 64
#define EVENT_WIRE_MAX 6144

static uint8_t
name_index(const char *const *names, const char *name)
{
	uint8_t i;

	for (i = 0; names[i] != NULL; i++) {
		if (strcmp(names[i], name) == 0)
			return i;
	}
	return 0;
}

void
event_add_vm(struct txn *t, const struct vm *vm, const char *type,
    const char *status, const char *why)
{
	struct orchd *o = vm->orchd;
	struct event_row row = { .tenant = vm->row.tenant };
	uint8_t buf[EVENT_WIRE_MAX];
	struct event_view ev = { 0 };
	struct wcur w;

	row.seq = ++o->tenant.last_seq;
	row.at_ns = now_ns();
	ev.type = name_index(event_type_names, type);
	ev.status = name_index(vm_status_names, status);
	(void)snprintf(ev.name, sizeof(ev.name), "%s", vm->row.name);
	format_ipv4(vm->row.ipv4, ev.ip_address, sizeof(ev.ip_address));
	format_mac(vm->row.mac, ev.mac_address, sizeof(ev.mac_address));
	ev.pid = (int32_t)vm->pid; /* checked where it came from */
	ev.timestamp = row.at_ns;
	text_clean(ev.message, sizeof(ev.message), why);
	ev.uid = vm->row.uid;
	ev.seq = (int64_t)row.seq;
	wcur_init(&w, buf, sizeof(buf));
	if (table_pack(&event_table, &ev, &w) < 0) {
		log_error("vm %s: event %s does not fit", vm->row.name, type);
		return;
	}
	row.body = buf;
	row.len = w.used;
	txn_event(t, &row);
}

/* An answer under construction: { u32 count, { u32 len, u64 seq, event } } */
struct batch {
	struct wcur w;
	uint32_t count;
	uint64_t last;
};

static int
batch_add(void *arg, const struct event_row *row)
{
	struct batch *b = arg;

	if (b->w.left < row->len + 12)
		return -E2BIG;
	(void)wcur_u32(&b->w, (uint32_t)(row->len + sizeof(uint64_t)));
	(void)wcur_u64(&b->w, row->seq);
	(void)wcur_bytes(&b->w, row->body, row->len);
	b->count++;
	b->last = row->seq;
	return 0;
}

static int
note_seq(void *arg, const struct event_row *row)
{
	*(uint64_t *)arg = row->seq;
	return 0;
}

int
events_now(struct orchd *o, uint64_t *ret)
{
	const int r = store_events(o->store, o->tenant.id, o->tenant.disk_seq,
	    STORE_EVENTS_MAX, note_seq, &o->tenant.disk_seq);

	*ret = o->tenant.disk_seq;
	return r < 0 ? r : 0;
}

int
events_answer(struct conn *c, bool at_once)
{
	uint8_t buf[API_TAIL_MAX];
	struct orchd *o = c->orchd;
	struct api_res res = {
		.conn = c->id, .status = 200, .doc = API_DOC_EVENTS
	};
	struct batch b = { .last = c->events_after };
	int r;

	wcur_init(&b.w, buf, sizeof(buf));
	(void)wcur_u32(&b.w, 0);
	r = store_events(
	    o->store, c->tenant, c->events_after, EVENTS_BATCH, batch_add, &b);
	if (b.count == 0 && (r < 0 || !at_once))
		return r;
	memcpy(buf, &b.count, sizeof(b.count));
	res.last = b.last;
	c->events_after = b.last;
	return chan_send2(conn_chan(c), API_RES, c->req, &res, sizeof(res), buf,
		   b.w.used, -1) < 0
	    ? -ENOBUFS
	    : 1;
}

void
events_unpark(struct conn *c)
{
	if (c->events_id == 0)
		return;
	c->events_id = 0;
	TAILQ_REMOVE(&c->orchd->parked, c, parked);
}

void
events_wake(struct orchd *o)
{
	struct conn *c, *next;
	int r;

	for (c = TAILQ_FIRST(&o->parked); c != NULL; c = next) {
		next = TAILQ_NEXT(c, parked);
		if (conn_chan(c) == NULL || (r = events_answer(c, false)) == 0)
			continue;
		events_unpark(c);
		if (r < 0) /* it may end the connection, and free c */
			res_error(
			    o, c->id, c->req, 500, "events cannot be read");
		else
			c->req = 0;
	}
}
