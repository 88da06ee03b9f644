#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/conn.h"
#include "agent/hold.h"
#include "common/num.h"
#include "proto/jbuf.h"

/* Secrets may be in it. */
static void
body_free(struct conn *c)
{
	if (c->body != NULL)
		explicit_bzero(c->body, c->body_cap);
	if (c->body != c->short_body) {
		free(c->body);
		hold_give(c->body_cap);
	}
	c->body = NULL;
	c->body_len = c->body_cap = 0;
}

void
conn_free(struct conn *c)
{
	if (c == NULL)
		return;
	if (c->taker != NULL)
		c->taker->gone(c->taken);
	duct_close(&c->d);
	free(c->http);
	body_free(c);
	free(c);
}

int
conn_new(struct agent *a, const struct duct *d)
{
	struct conn *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return -ENOMEM;
	c->a = a;
	c->d = *d;
	duct_set_arg(d, c);
	return 0;
}

int
conn_open(void *arg, struct ystream *s)
{
	const struct duct d = { .ys = s };

	return conn_new(arg, &d);
}

/* cap bytes in all; while it moves both are held.  False: no more fits.  A
 * short one always does: what ends a VM or its commands is always heard. */
static bool
body_grow(struct conn *c, size_t cap)
{
	const size_t len = c->body_len;
	char *p;

	if (c->body == NULL && cap <= sizeof(c->short_body)) {
		c->body = c->short_body;
		c->body_cap = sizeof(c->short_body);
		return true;
	}
	if (!hold_take(cap))
		return false;
	if ((p = malloc(cap)) == NULL) {
		hold_give(cap);
		return false;
	}
	if (c->body != NULL)
		memcpy(p, c->body, len);
	body_free(c); /* wiped where it was */
	c->body = p;
	c->body_len = len;
	c->body_cap = cap;
	return true;
}

/* What a body of so many bytes and a NUL takes: just that where its length was
 * said. */
static size_t
body_cap(const struct conn *c, size_t len)
{
	size_t cap = c->body_cap == 0 ? CONN_SHORT : c->body_cap;

	if (c->http->framing == HTTP_BODY_LENGTH)
		return (size_t)c->http->content_length + 1;
	while (cap < len + 1)
		cap *= 2;
	return cap <= CONN_BODY_MAX ? cap : CONN_BODY_MAX + 1;
}

/* The decoded body, collected. */
static int
body_write(void *arg, const void *data, size_t len)
{
	struct conn *c = arg;

	if (len > CONN_BODY_MAX - c->body_len)
		return -EMSGSIZE;
	if (c->is_dropped || len == 0)
		return 0;
	if (c->body_len + len + 1 > c->body_cap &&
	    !body_grow(c, body_cap(c, c->body_len + len))) {
		body_free(c);
		c->is_dropped = true;
		return 0;
	}
	memcpy(c->body + c->body_len, data, len);
	c->body_len += len;
	return 0;
}

static void
out_flush(struct conn *c)
{
	c->out_off +=
	    duct_write(&c->d, c->out + c->out_off, c->out_len - c->out_off);
	if (c->out_off == c->out_len)
		c->out_off = c->out_len = 0;
}

void
conn_answer(struct conn *c, int status, const char *json)
{
	struct http_out o;
	size_t len = 0, body = json == NULL ? 0 : strlen(json);

	http_out_response(&o, c->out, sizeof(c->out), status);
	if (status != 101 && status != 204)
		http_out_field_u64(&o, "Content-Length", body);
	if (json != NULL)
		http_out_field(&o, "Content-Type", "application/json");
	if (status == 101) {
		http_out_field(&o, "Connection", "Upgrade");
		http_out_field(&o, "Upgrade", "mews-exec");
	} else if (c->state == CONN_LAST) {
		http_out_field(&o, "Connection", "close");
	}
	if (http_out_end(&o, &len) < 0 || body > sizeof(c->out) - len) {
		c->state = CONN_LAST;
		return; /* an answer of ours is never that large */
	}
	if (body > 0)
		memcpy(c->out + len, json, body);
	c->out_len = len + body;
	out_flush(c);
}

void
conn_error(struct conn *c, int status, const char *text)
{
	struct jbuf b;

	jbuf_init(&b, 2048);
	jbuf_text(&b, "{\"error\":");
	jbuf_str(&b, text, strlen(text));
	jbuf_text(&b, "}");
	conn_answer(c, status, b.r == 0 ? b.p : NULL);
	jbuf_free(&b);
}

void
conn_upgrade(struct conn *c, const struct conn_taker *t, void *arg)
{
	conn_answer(c, 101, NULL);
	conn_take(c, t, arg);
}

void
conn_take(struct conn *c, const struct conn_taker *t, void *arg)
{
	c->taker = t;
	c->taken = arg;
	c->state = CONN_TAKEN;
}

/* Nobody has it any more, and nothing follows. */
static void
let_go(struct conn *c)
{
	c->taker = NULL;
	c->state = CONN_LAST;
}

void
conn_late(struct conn *c, int status, const char *json)
{
	let_go(c);
	conn_answer(c, status, json);
	conn_event(c, c->d.ys, YS_WRITE);
}

void
conn_late_error(struct conn *c, int status, const char *text)
{
	let_go(c);
	conn_error(c, status, text);
	conn_event(c, c->d.ys, YS_WRITE);
}

static int
http_begin(struct conn *c)
{
	const struct http_sink sink = { body_write, c };

	if ((c->http = malloc(sizeof(*c->http))) == NULL)
		return -ENOMEM;
	http_request_init(c->http, CONN_BODY_MAX, &sink);
	c->http->flags |= HTTP_OK_UPGRADE_BODY; /* exec's request is one */
	c->state = CONN_HTTP;
	return 0;
}

/* "CONNECT <port>\n".  0, or negative: the stream is to be reset. */
static int
line_done(struct conn *c)
{
	static const char word[] = "CONNECT ";
	char ok[16];
	long long port;
	int n;

	c->line[c->line_len] = '\0';
	if (strncmp(c->line, word, sizeof(word) - 1) != 0 ||
	    num_parse(c->line + sizeof(word) - 1, 1, 65535, &port) < 0)
		return -EPROTO;
	if (port != AGENT_PORT)
		return -ECONNREFUSED;
	n = snprintf(ok, sizeof(ok), "OK %lld\n", port);
	if (n < 0 || duct_write(&c->d, ok, (size_t)n) != (size_t)n)
		return -ENOBUFS;
	return http_begin(c);
}

static int
take_line(struct conn *c, const uint8_t *p, size_t len, size_t *used)
{
	for (*used = 0; *used < len;) {
		char ch = (char)p[(*used)++];

		if (ch == '\n')
			return line_done(c);
		if (c->line_len == CONN_LINE_MAX)
			return -EPROTO;
		c->line[c->line_len++] = ch;
	}
	return 0;
}

static void
refuse(struct conn *c)
{
	char text[160];

	(void)snprintf(text, sizeof(text), HOLD_FULL, hold_max() / 1024);
	conn_error(c, 503, text);
}

/* One request is whole: it is answered. */
static void
request_done(struct conn *c)
{
	if (!c->http->keep_alive)
		c->state = CONN_LAST;
	if (c->is_dropped)
		refuse(c);
	else
		c->a->request(c);
	c->is_dropped = false;
	body_free(c);
	if (c->state == CONN_TAKEN) {
		free(c->http);
		c->http = NULL;
	} else if (c->state == CONN_HTTP) {
		http_next(c->http);
	}
}

static int
take_http(struct conn *c, const uint8_t *p, size_t len, size_t *used)
{
	enum http_ev ev = http_feed(c->http, p, len, used);
	size_t more;

	if (ev == HTTP_EV_HEAD) {
		if (c->http->expect_continue)
			(void)duct_write(
			    &c->d, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		/* without a body it is done only when asked once more */
		ev = http_feed(c->http, p + *used, len - *used, &more);
		*used += more;
	}
	switch (ev) {
	case HTTP_EV_MORE:
	case HTTP_EV_HEAD:
		break;
	case HTTP_EV_DONE:
		request_done(c);
		break;
	case HTTP_EV_FAULT:
		c->state = CONN_LAST;
		conn_error(c, c->http->fault_status, c->http->fault_text);
		*used = len;
		break;
	}
	return 0;
}

static int
take(struct conn *c, const uint8_t *p, size_t len, size_t *used)
{
	switch (c->state) {
	case CONN_LINE:
		return take_line(c, p, len, used);
	case CONN_HTTP:
		return take_http(c, p, len, used);
	case CONN_TAKEN:
		if (c->taker->input != NULL)
			return c->taker->input(c->taken, p, len, used);
		*used = len;
		return 0;
	case CONN_LAST:
		*used = len; /* after the last answer nothing counts */
		return 0;
	}
	return 0;
}

/*
 * Reads until there is no more, or an answer waits to be taken: who does
 * not read answers is not read either.  Negative: the conn is to go.
 */
static int
conn_read(struct conn *c)
{
	const uint8_t *p;
	size_t len, used;
	int r;

	while (c->out_len == 0 && (len = duct_peek(&c->d, &p)) > 0) {
		used = 0;
		if ((r = take(c, p, len, &used)) < 0)
			return r;
		duct_consume(&c->d, used);
		if (used == 0)
			break; /* its taker is full */
	}
	return 0;
}

void
conn_event(void *arg, struct ystream *s, unsigned int ev)
{
	struct conn *c = arg;

	(void)s;
	if (ev & YS_GONE) {
		conn_free(c);
		return;
	}
	if (c->out_len > 0)
		out_flush(c);
	if (conn_read(c) < 0) {
		conn_free(c);
		return;
	}
	if (c->out_len == 0 && c->state == CONN_TAKEN) {
		if (duct_is_eof(&c->d) && c->taker->eof != NULL)
			c->taker->eof(c->taken);
		if (c->taker->pump != NULL)
			c->taker->pump(c->taken); /* may free c: return */
		return;
	}
	if (c->out_len > 0)
		return;
	if (c->state == CONN_LAST || duct_is_eof(&c->d)) {
		duct_fin(&c->d);
		if (duct_is_eof(&c->d) || c->state == CONN_LAST)
			conn_free(c);
	}
}
