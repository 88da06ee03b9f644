#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "apid/apid.h"
#include "common/err.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/jbuf.h"
#include "proto/launch.h"
#include "proto/objects.h"
#include "proto/right.h"
#include "proto/ward.h"

#define INPUT_PIECE 16384
#define FAIL_MAX 4096 /* bytes of a status of ours: more than it can have */

/* What a guest may say: a console and its log have one channel. */
#define FROM_CONSOLE FRAME_BIT(FRAME_STDOUT)

void
stream_close(struct stream *s)
{
	if (s == NULL || s->fd == -1)
		return;
	(void)event_del(s->rd);
	(void)event_del(s->wr);
	(void)shutdown(s->fd, SHUT_RDWR);
	fd_close(&s->fd);
	outbuf_clear(&s->up);
}

void
stream_free(struct stream *s)
{
	if (s == NULL)
		return;
	if (s->rd != NULL)
		event_free(s->rd);
	if (s->wr != NULL)
		event_free(s->wr);
	fd_close(&s->fd);
	outbuf_clear(&s->up);
	explicit_bzero(s, sizeof(*s));
	free(s);
}

/* --- towards the VM --- */

static void
put(struct stream *s, uint8_t channel, const void *p, size_t n)
{
	uint8_t head[FRAME_HEAD_LEN] = { channel, 0, (uint8_t)(n >> 16),
		(uint8_t)(n >> 8), (uint8_t)n };

	if (s->fd == -1)
		return;
	if (outbuf_add(&s->up, head, sizeof(head)) < 0 ||
	    outbuf_add(&s->up, p, n) < 0)
		client_drop(s->c, true);
}

/* Its first frame: now the warden connects it. */
static void
open_vm(struct stream *s, const void *json, size_t len)
{
	if (len > FRAME_PAYLOAD_MAX)
		s->newer = "a command and environment of more than 64 KiB";
	put(s, FRAME_OPEN, json, len);
	s->asked = true;
}

void
stream_update(struct stream *s)
{
	int r;

	if (s->fd == -1)
		return;
	if ((r = outbuf_send(&s->up, s->fd)) == -EAGAIN)
		(void)event_add(s->wr, NULL);
	else
		(void)event_del(s->wr);
	/* it takes no more, but its last words may still be there to read */
	if (r < 0 && r != -EAGAIN)
		outbuf_clear(&s->up);
	if (client_has_room(s->c))
		(void)event_add(s->rd, NULL);
	else
		(void)event_del(s->rd);
}

/* --- from the client's WebSocket --- */

/* The status of an exec that never ran. */
static void
exec_fail(struct client *c, const char *why)
{
	struct jbuf b;

	jbuf_init(&b, FAIL_MAX);
	exec_status_fail(&b, why);
	if (b.r == 0)
		ws_send(c, FRAME_STATUS, b.p, b.len);
	jbuf_free(&b);
	ws_close(c, 1000);
}

/* The request of an exec: checked, and written anew for the agent. */
static void
exec_request(struct client *c, const char *text, size_t len)
{
	struct exec_request req;
	struct err e = { 0 };
	struct jbuf b;
	int r;

	r = table_decode(&exec_request_table, object_flags(&exec_request_table),
	    text, len, &req, &e);
	if (r < 0) {
		exec_fail(c, e.msg);
		return;
	}
	if (req.detach) {
		table_clear(&exec_request_table, &req);
		exec_fail(c, "detach: not over a WebSocket: POST it");
		return;
	}
	c->stream->newer = req.user[0] != '\0' ? "user" : NULL;
	jbuf_init(&b, WARD_OPEN_MAX);
	b.plain = true; /* no longer than it came */
	table_encode(&exec_request_table, TABLE_SECRETS, &req, &b);
	table_clear(&exec_request_table, &req);
	if (b.r < 0)
		exec_fail(c,
		    "command and environment are longer than 256 KiB "
		    "together: use standard input or a file");
	else {
		open_vm(c->stream, b.p, b.len);
		client_deadline(c, 0);
		ws_set_max(c->ws, WS_MESSAGE_MAX);
	}
	jbuf_free(&b);
}

/* A command's input, in pieces: its agent keeps whole what it has of one. */
static void
put_input(struct stream *s, const uint8_t *p, size_t n)
{
	size_t len;

	for (; n > 0; p += len, n -= len) {
		len = n < INPUT_PIECE ? n : INPUT_PIECE;
		put(s, FRAME_STDIN, p, len);
	}
}

/* [channel][data] from an exec's client */
static void
exec_message(struct client *c, const uint8_t *p, size_t len)
{
	if (len == 0)
		return;
	if (p[0] == FRAME_STDIN)
		put_input(c->stream, p + 1, len - 1);
	else if (p[0] == FRAME_RESIZE || !RULE(API_CHANNEL)) {
		if (len > 1) /* some clients open each channel with nothing */
			put(c->stream, p[0], p + 1, len - 1);
	} else if (p[0] == FRAME_SIGNAL && len == 2 && p[1] >= 1 &&
	    p[1] <= 31) {
		/* a guest of an older build hears of it when the client goes */
		if (c->stream->takes_signals)
			put(c->stream, FRAME_SIGNAL, p + 1, 1);
	} else if (p[0] == FRAME_CLOSE && len == 2 && p[1] == FRAME_STDIN)
		put(c->stream, FRAME_CLOSE, p + 1, 1);
	else
		ws_close(c, WSLAY_CODE_POLICY_VIOLATION);
}

static void
on_message(struct client *c, bool text, const void *p, size_t len)
{
	if (c->q.route->kind == ROUTE_CONSOLE) {
		if (len > 0)
			put(c->stream, FRAME_STDIN, p, len);
	} else if (c->stream->asked == text)
		/* text is the request, once; all else is binary */
		ws_close(c, WSLAY_CODE_UNSUPPORTED_DATA);
	else if (text)
		exec_request(c, p, len);
	else
		exec_message(c, p, len);
}

/* A request may be long, if that is not too much of its user's. */
static void
on_grows(struct client *c)
{
	struct stream *s = c->stream;
	char why[256];

	if (c->q.route->kind != ROUTE_EXEC || s->asked || s->asks > 0)
		return;
	if (client_hold(c, EXEC_ASK_HELD)) {
		s->asks = EXEC_ASK_HELD;
		ws_set_max(c->ws, EXEC_REQUEST_MAX);
		return;
	}
	answer_held_text(c, why, sizeof(why));
	exec_fail(c, why);
}

static void
on_ending(struct client *c)
{
	stream_close(c->stream);
}

static const struct ws_ops ws_ops = { on_message, on_grows, on_ending };

/* --- from the VM --- */

/* The whole answer to a call, which is the guest's word: read by its table. */
static void
called(struct client *c, const char *text)
{
	const struct route *rt = c->q.route;
	void *v = malloc(rt->out->size);
	struct err why = { 0 };
	struct jbuf b;
	int r = -ENOMEM;

	jbuf_init(&b, FRAME_PAYLOAD_MAX);
	if (v != NULL)
		r = table_decode(
		    rt->out, TABLE_STRICT, text, strlen(text), v, &why);
	if (r == -ENOMEM)
		answer_error(c, 502, "out of memory: " MAYBE_DONE);
	else if (r < 0)
		answer_error(
		    c, 502, "what the vm answered makes no sense: %s", why.msg);
	else {
		table_encode(rt->out, 0, v, &b);
		answer_json(c, rt->ok, &b, -1);
		table_clear(rt->out, v);
	}
	jbuf_free(&b);
	free(v);
}

/* The warden's first word: may the stream be, and if not, why. */
static void
opened(struct stream *s, int status, const char *text)
{
	struct client *c = s->c;
	char why[160];

	s->opened = true;
	if (s->asked) /* or it is held for a request that is still to come */
		client_let_go(c, s->asks);
	if (c->q.route->kind == ROUTE_CALL && status == c->q.route->ok) {
		stream_close(s);
		client_let_go(c, OUT_MAX); /* room for the answer */
		called(c, text);
		return;
	}
	if (status == 101 && c->q.route->kind != ROUTE_CALL) {
		s->takes_signals = c->q.route->kind == ROUTE_EXEC &&
		    strcmp(text, WARD_OPENED_SIGNALS) == 0;
		if (c->phase == CP_OPEN)
			client_deadline(c, 0);
		if (c->q.route->kind == ROUTE_CONSOLE)
			ws_upgrade(c, FRAME_PAYLOAD_MAX, &ws_ops);
		else if (c->q.route->kind == ROUTE_LOG)
			answer_chunked(c, "application/octet-stream", CP_LOG);
		else if (c->q.route->kind == ROUTE_FILE)
			answer_chunked(c, "application/vnd.sqlite3", CP_LOG);
		return;
	}
	stream_close(s);
	if (text[0] == '\0')
		text = "the vm refused without a reason";
	/* the request was checked here by the same table */
	if (status == 400 && s->newer != NULL) {
		(void)snprintf(why, sizeof(why),
		    "%s: the vm was started by an earlier suite, whose guest "
		    "does not know it: stop and start it",
		    s->newer);
		text = why;
		status = 409;
	}
	if (c->phase == CP_WS) {
		exec_fail(c, text);
		return;
	}
	/* with 503, if an earlier suite started the VM */
	if (strcmp(text, WARD_WENT_AWAY) == 0) {
		answer_error(c, 502, "%s: " MAYBE_DONE, text);
		return;
	}
	if (status < 400 || status > 599)
		status = 502;
	answer_error(c, status, "%s", text);
}

/* Nothing more can come, or nothing more can be believed. */
static void
ended(struct stream *s)
{
	struct client *c = s->c;
	const bool whole = frame_at_boundary(&s->dec) != 0;

	stream_close(s);
	switch (c->phase) {
	case CP_OPEN:
		c->keep = false;
		answer_error(c, 502, "the vm ended the stream at once");
		break;
	case CP_LOG:
		if (whole && (s->has_status || c->q.route->kind != ROUTE_FILE))
			answer_last(c);
		else
			client_drop(c, true); /* no last chunk: it is cut */
		break;
	case CP_WS:
		if (c->q.route->kind == ROUTE_EXEC && !s->has_status)
			exec_fail(c, "the connection to the vm broke");
		else
			ws_close(c, 1000);
		break;
	case CP_IDLE:
	case CP_HEAD:
	case CP_BODY:
	case CP_ASK:
	case CP_ANSWER:
	case CP_EVENTS:
	case CP_LINGER:
	case CP_DEAD:
		break;
	}
}

static void
broken(struct stream *s)
{
	log_warn("conn %016" PRIx64 ": a stream broke the protocol", s->c->id);
	ended(s);
}

/* Bytes of FRAME_OPENED; returns how many of them it was. */
static size_t
first_bytes(struct stream *s, const uint8_t *p, size_t n)
{
	size_t want = FRAME_HEAD_LEN, len;
	char text[sizeof(s->first)];

	if (s->nfirst >= FRAME_HEAD_LEN) {
		len = frame_len(s->first);
		if (s->first[0] != FRAME_OPENED || len < 2 ||
		    len > sizeof(s->first) - FRAME_HEAD_LEN) {
			broken(s);
			return n;
		}
		want += len;
	}
	len = want - s->nfirst < n ? want - s->nfirst : n;
	memcpy(s->first + s->nfirst, p, len);
	s->nfirst += len;
	if (s->nfirst < want || want == FRAME_HEAD_LEN)
		return len;
	(void)snprintf(text, sizeof(text), "%.*s",
	    (int)(want - FRAME_HEAD_LEN - 2),
	    (const char *)s->first + FRAME_HEAD_LEN + 2);
	opened(s, s->first[FRAME_HEAD_LEN] << 8 | s->first[FRAME_HEAD_LEN + 1],
	    text);
	return len;
}

static void
on_frame(struct stream *s, const struct frame *f)
{
	struct client *c = s->c;

	if (c->phase == CP_LOG && f->channel == FRAME_CLOSE)
		s->has_status = true;
	else if (c->phase == CP_LOG)
		(void)answer_chunk(c, f->data, f->len);
	else if (c->q.route->kind == ROUTE_EXEC) {
		s->has_status |= f->channel == FRAME_STATUS;
		ws_send(c, (int)f->channel, f->data, f->len);
	} else if (f->channel == FRAME_STDOUT)
		ws_send(c, -1, f->data, f->len);
}

static void
stream_input(struct stream *s, const uint8_t *p, size_t n)
{
	struct frame f;
	size_t used;
	int r;

	while (n > 0 && s->fd != -1) {
		if (s->opened) {
			r = frame_feed(&s->dec, p, n, &used, &f);
			if (r < 0) {
				broken(s);
				return;
			}
			if (r > 0)
				on_frame(s, &f);
		} else
			used = first_bytes(s, p, n);
		p += used;
		n -= used;
	}
}

static void
on_readable(int fd, short what, void *arg)
{
	static uint8_t buf[READ_MAX];
	struct stream *s = arg;
	struct client *c = s->c;
	ssize_t n;

	(void)what;
	n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		stream_input(s, buf, (size_t)n);
	else
		ended(s);
	if (c->phase != CP_DEAD)
		client_run(c);
}

static void
on_writable(int fd, short what, void *arg)
{
	const struct stream *s = arg;

	(void)fd;
	(void)what;
	client_run(s->c);
}

/* --- birth --- */

static struct stream *
stream_new(struct client *c, int fd)
{
	struct stream *s = NULL;

	if (!client_hold(c, STREAM_HELD) ||
	    (s = calloc(1, sizeof(*s))) == NULL) {
		fd_close(&fd);
		return NULL;
	}
	s->c = c;
	s->fd = fd;
	s->rd =
	    event_new(c->apid->base, fd, EV_READ | EV_PERSIST, on_readable, s);
	s->wr =
	    event_new(c->apid->base, fd, EV_WRITE | EV_PERSIST, on_writable, s);
	if (s->rd == NULL || s->wr == NULL || event_add(s->rd, NULL) < 0) {
		stream_free(s);
		return NULL;
	}
	frame_init(&s->dec,
	    c->q.route->kind == ROUTE_EXEC ? FRAME_FROM_GUEST : FROM_CONSOLE);
	return s;
}

void
stream_start(struct client *c, int fd)
{
	/* after a stream nothing is left that a next request could follow */
	c->keep = false;
	if ((c->stream = stream_new(c, fd)) == NULL) {
		answer_held(c);
		return;
	}
	if (c->q.route->kind == ROUTE_EXEC) {
		ws_upgrade(c, EXEC_REQUEST_SHORT, &ws_ops);
		client_deadline(c, HEAD_MS); /* for the request */
		return;
	}
	if (c->q.route->kind == ROUTE_CALL &&
	    c->q.route->right->stream == STREAM_EXEC)
		c->stream->newer = "detach";
	open_vm(
	    c->stream, c->q.call.p != NULL ? c->q.call.p : "", c->q.call.len);
	jbuf_free(&c->q.call);
	c->phase = CP_OPEN;
	client_deadline(c, OPEN_MS);
}
