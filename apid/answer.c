#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "apid/apid.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/jbuf.h"

#define HEAD_OUT_MAX (HTTP_LINE_MAX + 1024)
#define ERROR_JSON_MAX 2048

void
answer_log(const struct client *c, int status)
{
	const bool known = c->http != NULL && c->http->method != HTTP_OTHER &&
	    c->http->path != NULL;

	log_info("conn %016" PRIx64 " %s %s %d %" PRIu64 " ms", c->id,
	    known ? http_method_name(c->http->method) : "-",
	    known ? c->http->path : "-", status,
	    c->began_ms != 0 ? (uint64_t)clock_ms() - c->began_ms : 0);
}

static void
head_begin(struct client *c, struct http_out *o, char *buf, int status)
{
	answer_log(c, status);
	http_out_response(o, buf, HEAD_OUT_MAX, status);
	/* an answer is for the one who asked, and is what it says it is */
	http_out_field(o, "X-Content-Type-Options", "nosniff");
	http_out_field(o, "Cache-Control", "no-store");
}

static int
head_end(struct client *c, struct http_out *o)
{
	size_t len = 0;

	if (!c->keep)
		http_out_field(o, "Connection", "close");
	if (http_out_end(o, &len) < 0) {
		/* only our own fault could come here */
		log_error("conn %016" PRIx64 ": an answer's head", c->id);
		client_drop(c, true);
		return -1;
	}
	return client_put(c, o->p, len);
}

static void
answer_body(struct client *c, const void *p, size_t n)
{
	c->phase = CP_ANSWER;
	client_deadline(c, 0); /* a client that takes nothing: client.c */
	if (!c->no_body)
		(void)client_put(c, p, n);
}

static void
body_head(struct http_out *o, const struct jbuf *b)
{
	http_out_field(o, "Content-Type", "application/json; charset=utf-8");
	http_out_field_u64(o, "Content-Length", b->len);
}

static void
answer_text(struct client *c, const struct refusal *no)
{
	char buf[HEAD_OUT_MAX];
	struct http_out o;
	struct jbuf b;

	jbuf_init(&b, ERROR_JSON_MAX);
	jbuf_text(&b, "{\"error\":");
	jbuf_str(&b, no->text, strlen(no->text));
	jbuf_text(&b, "}");
	if (b.r < 0) {
		jbuf_free(&b);
		client_drop(c, true);
		return;
	}
	head_begin(c, &o, buf, no->status);
	body_head(&o, &b);
	if (no->status == 405)
		http_out_field(&o, "Allow", no->allow);
	if (no->status == 301 || no->status == 307)
		http_out_field(&o, "Location", no->location);
	if (no->status == 426) {
		http_out_field(&o, "Upgrade", "websocket");
		http_out_field(&o, "Sec-WebSocket-Version", WS_VERSION);
	}
	if (no->status == 503 || no->status == 429)
		http_out_field(&o, "Retry-After", "1");
	if (head_end(c, &o) == 0)
		answer_body(c, b.p, b.len);
	jbuf_free(&b);
}

void
answer_refusal(struct client *c, const struct refusal *no)
{
	/*
	 * What follows a refused head is not read as a request: it may be
	 * its body, or what it wanted to upgrade to.
	 */
	if (c->http == NULL || c->http->framing != HTTP_BODY_NONE ||
	    c->http->upgrade != NULL || c->http->fault_status != 0) {
		c->keep = false;
		c->linger = true;
	}
	answer_text(c, no);
}

void
answer_error(struct client *c, int status, const char *fmt, ...)
{
	struct refusal no = { .status = status };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(no.text, sizeof(no.text), fmt, ap);
	va_end(ap);
	answer_text(c, &no);
}

void
answer_held_text(const struct client *c, char *text, size_t len)
{
	const struct share *s =
	    c->role == ROLE_NONE ? &c->apid->strangers : &c->apid->held;

	(void)snprintf(text, len,
	    "too much is under way: requests, answers and streams of your "
	    "user hold %" PRIu64 " KiB, those of all together at most %" PRIu64
	    " KiB, and some is kept for others: read or end some, or ask for "
	    "less (limit)",
	    share_has(s, c->who) / 1024, s->total / 1024);
}

void
answer_held(struct client *c)
{
	char text[256];

	answer_held_text(c, text, sizeof(text));
	answer_error(c, 503, "%s", text);
}

void
answer_asks(struct client *c)
{
	const struct share *s = &c->apid->asks;
	char tenant[SHARE_TENANT_MAX];

	share_tenant_words(s, c->who, tenant);
	answer_error(c, 503,
	    "too many requests are under way: your user has %" PRIu64
	    "%s, all together have at most %" PRIu64
	    ", and some are kept for others: wait for their answers",
	    share_has(s, c->who), tenant, s->total);
}

void
answer_json(struct client *c, int status, const struct jbuf *b, int64_t total)
{
	char buf[HEAD_OUT_MAX];
	struct http_out o;

	if (b->r < 0 || !client_hold(c, b->len)) {
		answer_held(c);
		return;
	}
	head_begin(c, &o, buf, status);
	body_head(&o, b);
	if (total >= 0)
		http_out_field_u64(&o, "X-Total-Count", (uint64_t)total);
	if (head_end(c, &o) == 0)
		answer_body(c, b->p, b->len);
}

void
answer_empty(struct client *c, int status)
{
	char buf[HEAD_OUT_MAX];
	struct http_out o;

	head_begin(c, &o, buf, status);
	if (head_end(c, &o) == 0)
		answer_body(c, NULL, 0);
}

void
answer_chunked(struct client *c, const char *type, enum client_phase p)
{
	char buf[HEAD_OUT_MAX];
	struct http_out o;

	head_begin(c, &o, buf, 200);
	http_out_field(&o, "Content-Type", type);
	http_out_field(&o, "Transfer-Encoding", "chunked");
	if (head_end(c, &o) < 0)
		return;
	client_http_free(c);
	c->phase = p;
}

int
answer_chunk(struct client *c, const void *p, size_t n)
{
	char head[HTTP_CHUNK_HEAD_MAX];

	if (n == 0)
		return 0; /* an empty chunk would be the last one */
	if (client_put(c, head, http_chunk_head(head, n)) < 0 ||
	    client_put(c, p, n) < 0)
		return -1;
	return client_put(c, "\r\n", 2);
}

void
answer_last(struct client *c)
{
	if (client_put(c, HTTP_CHUNK_LAST, sizeof(HTTP_CHUNK_LAST) - 1) < 0)
		return;
	c->phase = CP_ANSWER;
	client_deadline(c, 0);
}
