#include <errno.h>
#include <string.h>

#include "common/cur.h"
#include "common/log.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/reader.h"
#include "orchd/orchd.h"
#include "orchd/stored.h"
#include "proto/objects.h"

/* Events in one answer: a slow reader comes back for the next ones. */
#define EVENTS_BATCH 64
#define EVENT_WIRE_MAX 6144

/* An answer under construction: { u32 count, { u32 len, u64 seq, event } } */
struct batch {
	struct wcur w;
	uint32_t count;
	uint32_t skipped; /* cannot be read; the first of them, and why: */
	uint64_t bad;
	struct err why;
	uint64_t first, last; /* given or skipped; first 0: none */
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

	if (b->first == 0)
		b->first = row->seq;
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

/*
 * Whether events behind number `after`, which a reader has, are kept no more:
 * up to *pos then.  0 is nobody's number: who asks so wants what there is.
 */
static int
find_gap(const struct conn *c, uint64_t first, uint64_t *pos)
{
	const uint64_t after = c->events_after;
	uint64_t oldest;
	int r;

	if (after == 0 || first == after + 1 ||
	    (first == 0 && after >= c->tenant->told_seq))
		return 0;
	if ((r = store_oldest(c->orchd->store, c->tenant->row.id, &oldest)) < 0)
		return r;
	if (oldest == 0)
		*pos = c->tenant->told_seq;
	else if (oldest > after + 1)
		*pos = (first != 0 && first < oldest ? first : oldest) - 1;
	return *pos > after;
}

/* 1 when it was answered, 0 when there are none yet (with at_once never), or
 * an error. */
static int
answer(struct conn *c, bool at_once, bool anew)
{
	uint8_t buf[API_TAIL_MAX];
	struct orchd *o = c->orchd;
	struct api_res res = {
		.conn = c->id, .status = 200, .doc = API_DOC_EVENTS
	};
	struct batch b = { .last = c->events_after };
	uint64_t gap = c->events_after;
	int r, lost;

	wcur_init(&b.w, buf, sizeof(buf));
	(void)wcur_u32(&b.w, 0);
	do { /* past a batch of which none can be read, for one that can */
		r = store_events(o->store, c->tenant->row.id, b.last,
		    EVENTS_BATCH, batch_add, &b);
	} while (r > 0 && b.count == 0);
	if (b.skipped > 0)
		log_error("%u events left out; the first, %llu: %s", b.skipped,
		    (unsigned long long)b.bad, b.why.msg);
	if (r < 0 && b.count == 0)
		return r;
	/* also where it is full, or no more of them could be read */
	if ((lost = find_gap(c, b.first, &gap)) < 0)
		return lost;
	if (b.last < gap)
		b.last = gap;
	c->events_after = b.last;
	if (b.count == 0 && !at_once && lost == 0)
		return 0;
	if (lost > 0 || anew)
		res.total = gap + 1;
	memcpy(buf, &b.count, sizeof(b.count));
	res.last = b.last;
	return chan_send2(conn_chan(c), API_RES, c->req, &res, sizeof(res), buf,
		   b.w.used, -1) < 0
	    ? -ENOBUFS
	    : 1;
}

int
reader_ask(struct conn *c, uint64_t after, bool at_once)
{
	const struct tenant *t = c->tenant;
	const bool anew = after != API_NOW && after > t->row.last_seq;
	int r;

	/*
	 * API_NOW, or a number of another store, which is said: from here on.
	 * One between
	 * told and given is ours: the store shows what is committed before
	 * orchd knows, and its reader must not get it twice.
	 */
	c->events_after = after > t->row.last_seq ? t->told_seq : after;
	if ((r = answer(c, at_once, anew)) < 0)
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
		if (c->tenant->told_seq <= c->events_after ||
		    conn_chan(c) == NULL || (r = answer(c, false, false)) == 0)
			continue;
		conn_unpark(c);
		if (r < 0) /* it may end the connection, and free c */
			answer_error(
			    o, c->id, c->req, 500, "events cannot be read");
		else
			c->req = 0;
	}
}
