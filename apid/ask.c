#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apid/apid.h"
#include "apid/doc.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/chan.h"
#include "proto/jbuf.h"
#include "proto/objects.h"
#include "proto/right.h"

/*
 * Questions to orchd and what comes back.  An answer names the connection
 * and repeats the message id; both must be those of one question that is
 * open, or two callers' answers could be swapped.
 */
#define ERROR_TEXT_MAX 255
#define LIST_JSON_MAX TABLE_LIST_MAX
#define EVENTS_DOC_MAX API_TAIL_MAX
#define EVENTS_TEXT_MAX (96UL * 1024) /* of a document of 64 events */

/* c->q.tail goes with it.  0, or the client has its answer. */
static int
ask(struct client *c, uint32_t verb, const struct api_req *req)
{
	struct apid *a = c->apid;
	size_t len = c->q.tail_len;
	int fd = -1, r;

	if (a->orchd == NULL) {
		answer_error(c, 503, "the suite is starting: try again");
		return -EPIPE;
	}
	if (len > API_TAIL_MAX) {
		if ((fd = memfd_sealed("request", c->q.tail, len)) < 0) {
			answer_error(c, 503, "no memory for the request now");
			return fd;
		}
		len = 0;
	}
	c->ask = ++a->last_ask;
	r = chan_send2(
	    a->orchd, verb, c->ask, req, sizeof(*req), c->q.tail, len, fd);
	request_sent(&c->q); /* it may hold secrets: not a moment longer */
	if (r < 0) {
		c->ask = 0;
		answer_error(c, 503,
		    "too many requests are under way: %d wait to be read: try "
		    "again shortly",
		    CHAN_QUEUE_MAX);
	}
	return r;
}

void
ask_request(struct client *c)
{
	if (c->q.route->kind != ROUTE_EVENTS && !client_ask(c)) {
		answer_asks(c);
		return;
	}
	c->phase = CP_ASK;
	if (ask(c, c->q.route->right->verb, &c->q.req) < 0)
		return;
	if (c->q.route->kind != ROUTE_CALL)
		client_release(c); /* the body is gone */
	client_deadline(c, c->apid->conf.ask_ms + c->q.more_ms);
}

void
ask_events(struct client *c)
{
	const struct api_req req = { .conn = c->id, .after = c->after };

	if (c->apid->orchd == NULL || ask(c, API_EVENTS, &req) < 0)
		client_drop(c, true);
}

/* --- answers --- */

/* A document, wherever it came: the tail, or a sealed memfd. */
struct doc {
	const void *p;
	size_t len;
	void *owned; /* to free */
};

static int
doc_take(struct doc *d, const struct msg *m, size_t max)
{
	d->p = (const uint8_t *)m->data + sizeof(struct api_res);
	d->len = m->len - sizeof(struct api_res);
	if (m->fd == -1)
		return 0;
	if (d->len != 0 || memfd_read(m->fd, max, &d->owned, &d->len) < 0)
		return -EBADMSG;
	d->p = d->owned;
	return 0;
}

static int
res_error(struct client *c, const struct api_res *res, const struct msg *m)
{
	const char *p = (const char *)m->data + sizeof(*res);
	size_t len = m->len - sizeof(*res);

	if (m->fd != -1 ||
	    (res->doc != API_DOC_ERROR &&
		(res->doc != API_DOC_NONE || len != 0)))
		return -EBADMSG;
	if (len == 0) {
		p = http_reason((int)res->status);
		len = strlen(p);
	}
	if (len > ERROR_TEXT_MAX)
		len = ERROR_TEXT_MAX;
	answer_error(c, (int)res->status, "%.*s", (int)len, p);
	return 0;
}

static int
res_json(struct client *c, const struct api_res *res, const struct msg *m)
{
	const struct route *rt = c->q.route;
	struct doc d = { .owned = NULL };
	struct jbuf b;
	int r;

	jbuf_init(&b, LIST_JSON_MAX);
	if ((r = doc_take(&d, m, API_DOC_MAX)) < 0)
		goto out;
	r = doc_json(rt->out, rt->list, d.p, d.len, &b);
	if (r == -ENOMEM || r == -EMSGSIZE) {
		answer_error(c, 503, "the answer is too long: use limit");
		r = 0;
	} else if (r == 0)
		/* a query may show a part: of how many */
		answer_json(c, (int)res->status, &b,
		    rt->query != NULL && rt->list
			? (int64_t)(res->total & INT64_MAX)
			: -1);
out:
	free(d.owned);
	jbuf_free(&b);
	return r;
}

/* 0: orchd said what it may say to this question.  Else it is refused. */
static int
res_ask(struct client *c, const struct api_res *res, struct msg *m)
{
	const struct route *rt = c->q.route;

	if (res->status >= 400)
		return res_error(c, res, m);
	if (rt->right->verb == API_STREAM || rt->kind == ROUTE_FILE) {
		if (res->status != 101 || res->doc != API_DOC_NONE ||
		    m->fd == -1 || m->len != sizeof(*res))
			return -EBADMSG;
		stream_start(c, m->fd);
		m->fd = -1;
		return 0;
	}
	if (rt->out == NULL) {
		if (res->status != 204 || res->doc != API_DOC_NONE ||
		    m->fd != -1 || m->len != sizeof(*res))
			return -EBADMSG;
		answer_empty(c, 204);
		return 0;
	}
	if (res->doc != (rt->list ? API_DOC_LIST : API_DOC_OBJECT) ||
	    res->status < 200 || res->status > 202)
		return -EBADMSG;
	return res_json(c, res, m);
}

/* Those up to number last are missing: said in their place. */
static void
put_gap(struct client *c, uint64_t last, struct jbuf *b)
{
	const bool first = c->after == API_NOW; /* so far the client's word */
	const uint64_t after = first ? c->q.req.after : c->after;
	struct event_gap gap = { .after = (int64_t)after,
		.last = (int64_t)last };

	if (after > last)
		(void)snprintf(gap.message, sizeof(gap.message),
		    "the numbering of events begins again at %" PRIu64
		    ": what came before is not known, list what there is",
		    last);
	else
		(void)snprintf(gap.message, sizeof(gap.message),
		    "events %" PRIu64 " to %" PRIu64
		    " are kept no more: list what there is",
		    after + 1, last);
	jbuf_text(b, "id: ");
	jbuf_int(b, (long long)last);
	jbuf_text(b, "\nevent: GAP\ndata: ");
	table_encode(&event_gap_table, 0, &gap, b);
	jbuf_text(b, "\n\n");
	c->after = last;
}

/* What of a first answer says where the reader is, if no event does: so that
 * one that breaks off before it misses nothing. */
static void
put_place(struct client *c, uint64_t last, struct jbuf *b)
{
	jbuf_text(b, "id: ");
	jbuf_int(b, (long long)last);
	jbuf_text(b, "\n\n");
	c->after = last;
}

static int
res_events(struct client *c, const struct api_res *res, const struct msg *m)
{
	struct doc d = { .owned = NULL };
	struct jbuf b;
	int r;

	if (res->status >= 400) {
		answer_last(c); /* the client comes back with its last id */
		c->keep = false;
		return 0;
	}
	if (res->status != 200 || res->doc != API_DOC_EVENTS)
		return -EBADMSG;
	/* a gap goes on behind what the reader has: orchd gave that number */
	if (res->total > INT64_MAX ||
	    (res->total != 0 && c->after != API_NOW &&
		res->total - 1 <= c->after))
		return -EBADMSG;
	jbuf_init(&b, EVENTS_TEXT_MAX);
	if (res->total != 0)
		put_gap(c, res->total - 1, &b);
	if ((r = doc_take(&d, m, EVENTS_DOC_MAX)) == 0)
		r = doc_events(d.p, d.len, &c->after, &b);
	if (r == 0) {
		if (c->after == API_NOW)
			put_place(c, res->last, &b);
		(void)answer_chunk(c, b.p, b.len);
		client_deadline(c, BEAT_MS);
	} else if (r == -ENOMEM || r == -EMSGSIZE) {
		client_drop(c, true);
		r = 0;
	}
	free(d.owned);
	jbuf_free(&b);
	return r;
}

/* The first answer: from here on it is a stream of events. */
static int
res_begin(struct client *c, const struct api_res *res, const struct msg *m)
{
	if (res->status >= 400)
		return res_error(c, res, m);
	if (res->status != 200 || res->doc != API_DOC_EVENTS ||
	    res->last > INT64_MAX)
		return -EBADMSG;
	if (!client_hold(c, EVENTS_TEXT_MAX)) {
		answer_held(c);
		return 0;
	}
	answer_chunked(c, "text/event-stream", CP_EVENTS);
	if (c->phase != CP_EVENTS)
		return 0;
	/* of its number orchd makes what its store has: any event will do */
	c->after = API_NOW;
	return res_events(c, res, m);
}

int
ask_on_res(void *arg, struct chan *chan, struct msg *m)
{
	struct apid *a = arg;
	struct api_res res;
	struct client *c;
	int r = 0;

	(void)chan;
	memcpy(&res, m->data, sizeof(res));
	if ((c = client_find(a, res.conn)) == NULL)
		return 0; /* it closed at the same moment */
	/* the answer to somebody else's question, or to none */
	if (RULE(API_RES_MATCH) && (c->ask == 0 || c->ask != m->id))
		return -EPERM;
	c->ask = 0;
	client_answered(c);
	if (c->phase == CP_EVENTS)
		r = res_events(c, &res, m);
	else if (c->phase == CP_ASK)
		r = c->q.route->kind == ROUTE_EVENTS ? res_begin(c, &res, m)
						     : res_ask(c, &res, m);
	/* any other phase: it came after its deadline */
	if (r == 0 && c->phase != CP_DEAD)
		client_run(c);
	return r;
}
