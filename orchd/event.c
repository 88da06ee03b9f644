#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cur.h"
#include "common/fds.h"
#include "common/log.h"
#include "orchd/orchd.h"
#include "orchd/stored.h"
#include "proto/jbuf.h"

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
	struct event_view ev = { 0 };
	struct jbuf b;
	struct err e = { 0 };

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
	ev.uid = vm->row.vmid;
	ev.seq = (int64_t)row.seq;
	jbuf_init(&b, TABLE_JSON_MAX);
	if (table_store(&stored_event, &ev, &b, &e) == 0) {
		row.body =
		    (struct store_doc){ b.p, b.len, stored_event.version };
		txn_event(t, &row);
	} else {
		log_error("vm %s: event %s: %s", vm->row.name, type, e.msg);
	}
	jbuf_free(&b);
}

/* An answer under construction: { u32 count, { u32 len, u64 seq, event } } */
struct batch {
	struct wcur w;
	uint32_t count;
	uint32_t skipped; /* cannot be read; the first of them, and why: */
	uint64_t bad;
	struct err why;
	uint64_t last; /* given or skipped */
};

/* One that cannot be read is a gap in the numbers: it ends no reader. */
static int
batch_add(void *arg, const struct event_row *row)
{
	struct batch *b = arg;
	struct event_view ev;
	uint8_t buf[EVENT_WIRE_MAX];
	struct wcur w;
	struct err e = { 0 };

	wcur_init(&w, buf, sizeof(buf));
	if (table_restore(&stored_event, row->body.version, row->body.text,
		row->body.len, &ev, &e) < 0 ||
	    table_pack(&event_table, &ev, &w) < 0) {
		if (b->skipped++ == 0) {
			b->bad = row->seq;
			b->why = e;
		}
		b->last = row->seq;
		return 0;
	}
	if (b->w.left < w.used + 12)
		return -E2BIG;
	(void)wcur_u32(&b->w, (uint32_t)(w.used + sizeof(uint64_t)));
	(void)wcur_u64(&b->w, row->seq);
	(void)wcur_bytes(&b->w, buf, w.used);
	b->count++;
	b->last = row->seq;
	return 0;
}

/* 1 when events were sent, 0 when there are none yet, or an error. */
int
events_answer(struct conn *c)
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
	do { /* past a batch of which none can be read, for one that can */
		r = store_events(
		    o->store, c->tenant, b.last, EVENTS_BATCH, batch_add, &b);
	} while (r > 0 && b.count == 0);
	if (b.skipped > 0)
		log_error("%u events left out; the first, %llu: %s", b.skipped,
		    (unsigned long long)b.bad, b.why.msg);
	c->events_after = b.last;
	if (b.count == 0)
		return r;
	memcpy(buf, &b.count, sizeof(b.count));
	res.last = b.last;
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
		if (conn_chan(c) == NULL || (r = events_answer(c)) == 0)
			continue;
		events_unpark(c);
		if (r < 0) /* it may end the connection, and free c */
			res_error(
			    o, c->id, c->req, 500, "events cannot be read");
		else
			c->req = 0;
	}
}
