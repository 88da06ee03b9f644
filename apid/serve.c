#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "apid/apid.h"
#include "apid/openapi.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/jbuf.h"
#include "proto/right.h"

/*
 * What a connection's bytes, its silence and its end lead to: the floor
 * above all that it asks of.
 */

/* --- a request --- */

static int
request_begin(struct client *c)
{
	const struct http_sink sink = { request_write, &c->q };

	if ((c->http = malloc(sizeof(*c->http))) == NULL) {
		client_drop(c, true);
		return -ENOMEM;
	}
	http_request_init(c->http, BODY_MAX, &sink);
	request_init(&c->q);
	c->began_ms = (uint64_t)clock_ms();
	c->phase = CP_HEAD;
	c->keep = false;
	client_deadline(c, HEAD_MS);
	return 0;
}

static void
on_fault(struct client *c)
{
	struct refusal no = { .status = c->http->fault_status };

	c->keep = false;
	if (no.status == 413)
		(void)request_refuse(&no, 413,
		    "the body may have %zu bytes here",
		    c->q.route != NULL ? route_body_max(c->q.route) : BODY_MAX);
	else
		(void)request_refuse(&no, no.status, "%s", c->http->fault_text);
	log_debug("conn %016" PRIx64 ": %s", c->id, c->http->fault_rule);
	answer_refusal(c, &no);
}

/* To be read by who has no role; all else orchd would refuse, too. */
static bool
is_open(const struct route *r)
{
	return r->right->of == OF_ANYBODY;
}

/* Its body is gone; what the VM will get of it is held until that has ended. */
static bool
hold_call(struct client *c)
{
	client_release(c);
	return client_hold(c, c->q.call.len);
}

/* What its body may come to. */
static size_t
body_max(const struct client *c)
{
	if (c->http->framing == HTTP_BODY_LENGTH)
		return (size_t)c->http->content_length;
	return route_body_max(c->q.route);
}

/* The head stands: is the rest worth reading? */
static void
on_head(struct client *c)
{
	struct refusal no;

	c->keep = c->http->keep_alive && c->http->upgrade == NULL &&
	    c->role != ROLE_NONE;
	c->no_body = c->http->method == HTTP_HEAD;
	c->q.req.conn = c->id;
	if (request_head(&c->q, &api_routes, c->http, &no) < 0) {
		answer_refusal(c, &no);
		return;
	}
	if (c->role == ROLE_NONE && !is_open(c->q.route) &&
	    RULE(API_STRANGER)) {
		(void)request_refuse(&no, 403, "%s", API_NOT_LISTED);
		answer_refusal(c, &no);
		return;
	}
	if (c->http->framing == HTTP_BODY_NONE)
		return;
	if (c->q.route->in != NULL && !client_hold(c, body_max(c))) {
		c->keep = false;
		c->linger = true; /* the body is not read */
		answer_held(c);
		return;
	}
	c->phase = CP_BODY;
	client_deadline(c, BODY_MS);
	if (c->http->expect_continue && c->in_len == c->in_off)
		(void)client_put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

/* What needs no orchd, or says that there is one. */
static void
local(struct client *c)
{
	struct jbuf b;

	jbuf_init(&b, OPENAPI_MAX);
	if (c->q.route->kind == ROUTE_OPENAPI)
		openapi_write(&api_routes, &b);
	else if (c->apid->orchd == NULL) {
		answer_error(c, 503, "the suite is starting: try again");
		return;
	} else
		jbuf_text(&b, "{\"status\":\"ok\"}");
	answer_json(c, 200, &b, -1);
	jbuf_free(&b);
}

static void
on_done(struct client *c)
{
	struct refusal no = { .status = 0 };

	if (request_done(&c->q, &no) < 0) {
		c->q.route = NULL;
		answer_error(c, no.status, "%s", no.text);
		return;
	}
	if (c->q.route->kind == ROUTE_HEALTH ||
	    c->q.route->kind == ROUTE_OPENAPI)
		local(c);
	else if (c->q.route->kind == ROUTE_CALL && !hold_call(c))
		answer_held(c);
	else
		ask_request(c);
}

static bool
is_reading(const struct client *c)
{
	return c->phase == CP_IDLE || c->phase == CP_HEAD ||
	    c->phase == CP_BODY;
}

static void
request_input(struct client *c)
{
	enum http_ev ev;
	size_t used;

	if (c->phase == CP_IDLE && request_begin(c) < 0)
		return;
	do {
		ev = http_feed(
		    c->http, c->in + c->in_off, c->in_len - c->in_off, &used);
		c->in_off += used;
		if (ev == HTTP_EV_HEAD)
			on_head(c);
	} while (ev == HTTP_EV_HEAD && is_reading(c));
	if (ev == HTTP_EV_FAULT)
		on_fault(c);
	else if (ev == HTTP_EV_DONE)
		on_done(c);
}

static void
eof(struct client *c)
{
	/* half a request, and its sender may still read */
	if ((c->phase == CP_HEAD || c->phase == CP_BODY) &&
	    http_eof(c->http) == HTTP_EV_FAULT) {
		on_fault(c);
		c->linger = false;
		client_run(c);
		return;
	}
	client_drop(c, true);
}

/* --- what happens next --- */

/* Between requests: only the connection itself costs anything. */
static void
idle(struct client *c)
{
	request_clear(&c->q);
	client_http_free(c);
	client_release(c);
	c->phase = CP_IDLE;
	c->no_body = c->linger = false;
	c->began_ms = 0;
	client_deadline(c, c->apid->conf.idle_ms);
}

static void
answered(struct client *c)
{
	if (c->keep) {
		idle(c);
		return;
	}
	if (!c->linger) {
		client_drop(c, true);
		return;
	}
	/*
	 * Closed at once, the client would get an error while it still
	 * writes and might never look at the answer.
	 */
	(void)shutdown(c->fd, SHUT_WR);
	client_in_free(c);
	c->phase = CP_LINGER;
	client_deadline(c, LINGER_MS);
}

/* True when something was done that may make more possible. */
static bool
step(struct client *c)
{
	const bool has_input = c->in_off < c->in_len;

	switch (c->phase) {
	case CP_IDLE:
	case CP_HEAD:
	case CP_BODY:
		if (has_input)
			request_input(c);
		return has_input;
	case CP_WS:
		if (has_input && ws_reads(c->ws)) {
			ws_input(c);
			return true;
		}
		if (ws_flush(c))
			client_drop(c, true);
		return false;
	case CP_ANSWER:
		if (outbuf_left(&c->out) > 0)
			return false;
		answered(c);
		return true;
	case CP_EVENTS:
		/* the next ones when these are on their way, not before */
		if (c->ask == 0 && outbuf_left(&c->out) == 0)
			ask_events(c);
		return false;
	case CP_ASK:
	case CP_OPEN:
	case CP_LOG:
	case CP_LINGER:
	case CP_DEAD:
		break;
	}
	return false;
}

static bool
wants_read(const struct client *c)
{
	if (c->phase == CP_LINGER)
		return true;
	if (c->in_off < c->in_len)
		return false;
	if (c->phase == CP_WS)
		return ws_reads(c->ws) && client_has_room(c) &&
		    (c->stream == NULL ||
			outbuf_left(&c->stream->up) < OUT_MAX);
	return is_reading(c);
}

static bool
rest(struct client *c)
{
	/* first: what the VM's side takes makes room for more */
	if (c->stream != NULL)
		stream_update(c->stream);
	return wants_read(c);
}

/* --- deadlines --- */

static void
late(struct client *c)
{
	static const char beat[] = ": still here\n\n";

	switch (c->phase) {
	case CP_HEAD:
	case CP_BODY:
		c->keep = false;
		c->linger = true;
		answer_error(c, 408, "the request did not come to its end");
		break;
	case CP_ASK:
		c->keep = false;
		answer_error(c, 504, "the suite did not answer in time");
		break;
	case CP_OPEN:
		c->keep = false;
		answer_error(c, 504, "the vm did not answer in time");
		break;
	case CP_EVENTS:
		/* whoever is still taking the last ones knows that we are */
		if (outbuf_left(&c->out) == 0)
			(void)answer_chunk(c, beat, sizeof(beat) - 1);
		client_deadline(c, BEAT_MS);
		break;
	case CP_WS:
		ws_late(c);
		break;
	case CP_IDLE:
	case CP_ANSWER:
	case CP_LOG:
	case CP_LINGER:
		client_drop(c, true);
		break;
	case CP_DEAD:
		break;
	}
}

/* --- the end --- */

/* 503 has it asked again: not of a call that is in the VM already. */
static void
say_lost(struct client *c)
{
	const struct route *rt = c->q.route;

	if (rt->kind == ROUTE_CALL && c->phase == CP_OPEN)
		answer_error(c, 502, "the suite restarts: " MAYBE_DONE);
	else if (rt->kind != ROUTE_ASK || rt->method == HTTP_GET)
		answer_error(c, 503, "the suite restarts: ask again");
	else if (c->q.req.key[0] != '\0')
		answer_error(c, 503,
		    "the suite restarts: ask again, with the same "
		    "Idempotency-Key");
	else
		answer_error(c, 503,
		    "the suite restarts: ask again; an Idempotency-Key makes "
		    "that safe");
}

static void
lost(struct client *c)
{
	if (c->phase != CP_ASK && c->phase != CP_OPEN)
		return;
	c->keep = false;
	say_lost(c);
	/* what the socket takes now; nobody vouches for the caller any more */
	(void)outbuf_send(&c->out, c->fd);
}

static void
dropped(struct client *c)
{
	if (c->phase == CP_ASK || c->phase == CP_OPEN)
		answer_log(c, 499);
	stream_close(c->stream); /* the VM's side sees the end now */
}

static void
freed(struct client *c)
{
	ws_free(c->ws);
	stream_free(c->stream);
	request_clear(&c->q);
}

const struct client_ops serve_ops = { step, rest, eof, late, lost, dropped,
	freed };
