#include <errno.h>
#include <string.h>

#include "common/cur.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/reader.h"
#include "orchd/orchd.h"

/* Events in one answer: a slow reader comes back for the next ones. */
#define EVENTS_BATCH 64

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

/* 1 when it was answered, 0 when there are none yet (with at_once never), or
 * an error. */
static int
answer(struct conn *c, bool at_once)
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

int
reader_ask(struct conn *c, uint64_t after, bool at_once)
{
	const uint64_t told = c->orchd->tenant.told_seq;
	int r;

	/* API_NOW, or a number of another store: from here on */
	c->events_after = after > told ? told : after;
	if ((r = answer(c, at_once)) < 0)
		return r;
	if (r == 0)
		conn_park(c); /* until there is one */
	else
		c->req = 0;
	return 0;
}

void
reader_wake(struct orchd *o)
{
	struct conn *c, *next;
	int r;

	for (c = TAILQ_FIRST(&o->conns.parked); c != NULL; c = next) {
		next = TAILQ_NEXT(c, parked);
		if (conn_chan(c) == NULL || (r = answer(c, false)) == 0)
			continue;
		conn_unpark(c);
		if (r < 0) /* it may end the connection, and free c */
			answer_error(
			    o, c->id, c->req, 500, "events cannot be read");
		else
			c->req = 0;
	}
}
