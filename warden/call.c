#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http.h"
#include "common/util.h"
#include "common/yamux.h"
#include "warden/call.h"

#define CONNECT_LINE_MAX 32
#define INTERIMS_MAX 8 /* 100 Continue and the like before the answer */

enum call_phase { CALL_CONNECT, CALL_ANSWER, CALL_DONE };

struct call {
	struct duct d;
	struct ysink sink;
	void (*done)(void *arg, const struct call_answer *a);
	void *arg;
	enum call_phase phase;
	bool upgrade;
	const uint8_t *body;
	size_t body_len, body_off;
	char head[CALL_HEAD_MAX];
	size_t head_len, head_off;
	char line[CONNECT_LINE_MAX]; /* the answer to CONNECT */
	size_t line_len;
	struct http *http; /* large: only while an answer is awaited */
	unsigned int interims;
	struct http_buf answer;
	uint8_t buf[CALL_ANSWER_MAX];
};

static void
finish(struct call *c, int status, const char *why)
{
	struct call_answer a = { .status = status, .why = why };

	if (c->phase == CALL_DONE)
		return;
	a.connected = c->phase == CALL_ANSWER;
	c->phase = CALL_DONE;
	if (status == 101) {
		a.upgraded = c->d;
		c->d = (struct duct){ NULL, NULL }; /* done() owns it now */
	} else {
		a.body = c->buf;
		a.len = c->answer.used;
	}
	c->done(c->arg, &a); /* may free c */
}

/* As much of the request as the stream takes. */
static void
send_request(struct call *c)
{
	size_t n;

	if (c->head_off < c->head_len) {
		n = duct_write(
		    &c->d, c->head + c->head_off, c->head_len - c->head_off);
		c->head_off += n;
	}
	if (c->head_off == c->head_len && c->body_off < c->body_len) {
		n = duct_write(
		    &c->d, c->body + c->body_off, c->body_len - c->body_off);
		c->body_off += n;
	}
}

/* 1: the stream is connected, 0: more, -1: refused. */
static int
read_connect(struct call *c)
{
	char want[CONNECT_LINE_MAX];
	const uint8_t *p;
	size_t i, n = duct_peek(&c->d, &p);
	int len = snprintf(want, sizeof(want), "OK %d\n", CALL_PORT);

	for (i = 0; i < n && c->line_len < (size_t)len; i++)
		c->line[c->line_len++] = (char)p[i];
	duct_consume(&c->d, i);
	if (memcmp(c->line, want, c->line_len) != 0)
		return -1;
	return c->line_len == (size_t)len;
}

/* A whole answer is there.  True: it was an interim one, go on. */
static bool
answered(struct call *c)
{
	int status = c->http->status;

	if (status >= 100 && status < 200 && status != 101) {
		/* or a guest would have us read them for ever */
		if (RULE(CALL_INTERIMS) && ++c->interims > INTERIMS_MAX) {
			finish(c, 0, "the agent never comes to an answer");
			return false;
		}
		http_next(c->http);
		c->answer.used = 0;
		return true;
	}
	finish(c, status, NULL);
	return false;
}

/* False: nothing more can be done now, or c is finished and maybe freed. */
static bool
read_answer(struct call *c)
{
	const uint8_t *p;
	size_t used, n = duct_peek(&c->d, &p);
	enum http_ev ev;

	ev = http_feed(c->http, p, n, &used);
	duct_consume(&c->d, used);
	if (ev == HTTP_EV_HEAD)
		return true;
	if (ev == HTTP_EV_MORE && !duct_is_eof(&c->d))
		return used > 0;
	if (ev == HTTP_EV_MORE)
		ev = http_eof(c->http);
	if (ev == HTTP_EV_DONE)
		return answered(c);
	finish(c, 0, c->http->fault_text);
	return false;
}

static void
call_event(void *arg, unsigned int ev)
{
	struct call *c = arg;
	int r = 1;

	if ((ev & YS_GONE) != 0) {
		finish(c, 0, "the agent's channel was lost");
		return;
	}
	send_request(c);
	if (c->phase == CALL_CONNECT && (r = read_connect(c)) > 0)
		c->phase = CALL_ANSWER;
	if (r < 0 || (r == 0 && duct_is_eof(&c->d))) {
		finish(c, 0, "the agent refused the connection");
		return;
	}
	if (c->phase == CALL_ANSWER) {
		while (read_answer(c))
			;
	}
}

static int
make_head(struct call *c, enum http_method method, const char *target)
{
	struct http_out o;
	size_t len = 0;
	int n, r;

	n = snprintf(c->head, sizeof(c->head), "CONNECT %d\n", CALL_PORT);
	http_out_request(&o, c->head + n, sizeof(c->head) - (size_t)n, method,
	    target, "agent");
	if (c->upgrade) {
		http_out_field(&o, "Connection", "Upgrade");
		http_out_field(&o, "Upgrade", CALL_UPGRADE);
	} else
		http_out_field(&o, "Connection", "close");
	if (c->body_len > 0)
		http_out_field(&o, "Content-Type", "application/json");
	http_out_field_u64(&o, "Content-Length", c->body_len);
	if ((r = http_out_end(&o, &len)) < 0)
		return r;
	c->head_len = (size_t)n + len;
	return 0;
}

void
call_free(struct call *c)
{
	if (c == NULL)
		return;
	duct_close(&c->d);
	free(c->http);
	free(c);
}

int
call_new(struct duct *d, enum http_method method, const char *target,
    const void *body, size_t len, bool upgrade,
    void (*done)(void *arg, const struct call_answer *a), void *arg,
    struct call **ret)
{
	struct call *c = calloc(1, sizeof(*c));
	struct http_sink sink = { .write = http_buf_write };
	int r = -ENOMEM;

	if (c == NULL || (c->http = malloc(sizeof(*c->http))) == NULL)
		goto out;
	c->answer.p = c->buf;
	c->answer.cap = sizeof(c->buf);
	sink.arg = &c->answer;
	http_response_init(
	    c->http, sizeof(c->buf), upgrade ? HTTP_TO_UPGRADE : 0, &sink);
	c->upgrade = upgrade;
	c->body = body;
	c->body_len = len;
	c->done = done;
	c->arg = arg;
	if ((r = make_head(c, method, target)) < 0)
		goto out;
	c->d = *d;
	*d = (struct duct){ NULL, NULL };
	c->sink.event = call_event;
	c->sink.arg = c;
	duct_set_arg(&c->d, &c->sink);
	send_request(c);
	*ret = c;
	c = NULL;
out:
	duct_close(d);
	call_free(c);
	return r;
}

int
call_mux(struct yamux *y, enum http_method method, const char *target,
    const void *body, size_t len,
    void (*done)(void *, const struct call_answer *), void *arg,
    struct call **ret)
{
	struct duct d = { NULL, NULL };
	int r = ystream_open(y, &d.ys);

	return r < 0
	    ? r
	    : call_new(&d, method, target, body, len, false, done, arg, ret);
}
