#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apid/doc.h"
#include "apid/request.h"
#include "common/cur.h"
#include "common/err.h"
#include "proto/objects.h"

/*
 * 'q' and the bytes of a connection: HTTP, route, JSON, message.  What
 * comes out must be what orchd accepts, and the same however the bytes were
 * cut.  'd', a kind, and a document as a taken-over orchd might send it.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define REQUESTS_MAX 16
#define TEXT_MAX (1U << 20)
#define CHECKS 5 /* of the seeds: a list of checks; else of VMs */

static void
mix(uint64_t *sum, const void *p, size_t len)
{
	const uint8_t *b = p;

	while (len-- > 0)
		*sum = (*sum ^ *b++) * 1099511628211ULL;
}

/* A message that orchd would refuse would end apid's channel. */
static void
check_message(const struct request *q)
{
	const struct table *t;
	struct err e;
	void *v;

	if (api_req_check(&q->req) < 0)
		abort();
	t = q->route->in;
	/* what a log is asked by is in the head of the message */
	if (t == NULL && q->route->kind != ROUTE_LOG)
		t = q->route->query;
	if (t == NULL) {
		if (q->tail_len != 0)
			abort();
		return;
	}
	if ((v = malloc(t->size)) == NULL ||
	    table_unpack_all(t, q->tail, q->tail_len, v, &e) < 0)
		abort();
	table_clear(t, v);
	free(v);
}

/* One message's end.  True: another may follow. */
static bool
finish(struct http *h, struct request *q, uint64_t *sum)
{
	struct refusal no = { .status = 0 };
	const bool keep = h->keep_alive && h->upgrade == NULL;

	if (request_done(q, &no) < 0) {
		if (no.status < 400 || no.status > 599 || no.text[0] == '\0')
			abort();
		mix(sum, &no.status, sizeof(no.status));
	} else {
		check_message(q);
		/* how long ago is a moment that goes on */
		q->req.since_ns = q->req.since_ns != 0;
		mix(sum, &q->req, sizeof(q->req));
		mix(sum, q->tail, q->tail_len);
	}
	request_clear(q);
	request_init(q);
	http_next(h);
	return keep;
}

static uint64_t
run(const uint8_t *p, size_t len, size_t piece)
{
	static struct http h;
	struct request q;
	const struct http_sink sink = { request_write, &q };
	struct refusal no = { .status = 0 };
	uint64_t sum = 14695981039346656037ULL;
	unsigned int n = 0;
	size_t at = 0, used;
	bool more = true;

	request_init(&q);
	http_request_init(&h, BODY_MAX, &sink);
	while (more) {
		const size_t left = len - at;
		const enum http_ev ev =
		    http_feed(&h, p + at, left < piece ? left : piece, &used);

		at += used;
		if (ev == HTTP_EV_HEAD) {
			q.req.conn = 1;
			more = request_head(&q, &api_routes, &h, &no) == 0;
			if (!more && (no.status < 300 || no.status > 599))
				abort();
		} else if (ev == HTTP_EV_DONE)
			more = finish(&h, &q, &sum) && ++n < REQUESTS_MAX;
		else if (ev == HTTP_EV_FAULT || at == len)
			more = false;
	}
	mix(&sum, &no.status, sizeof(no.status));
	mix(&sum, no.text, strlen(no.text));
	request_clear(&q);
	return sum;
}

static void
document(uint32_t kind, const void *p, size_t len)
{
	struct jbuf b;
	uint64_t after = API_NOW;
	int r;

	jbuf_init(&b, TEXT_MAX);
	if (kind == API_DOC_EVENTS)
		r = doc_events(p, len, &after, &b);
	else
		r = doc_json(kind == CHECKS ? &check_table : &vm_table,
		    kind != API_DOC_OBJECT, p, len, &b);
	/* what is accepted is text of one line each, without controls */
	if (r == 0 && kind != API_DOC_EVENTS && b.p != NULL &&
	    strpbrk(b.p, "\r\n") != NULL)
		abort();
	jbuf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 2 || len > 65536)
		return 0;
	if (data[0] == 'd')
		document(data[1] & 7, data + 2, len - 2);
	else if (run(data + 1, len - 1, SIZE_MAX) != run(data + 1, len - 1, 1))
		abort();
	return 0;
}
