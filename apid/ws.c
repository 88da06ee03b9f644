#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "apid/apid.h"
#include "common/err.h"
#include "common/util.h"
#include "proto/jbuf.h"
#include "proto/objects.h"

/*
 * libwslay reads and writes the frames; it neither reads nor writes sockets
 * here, nor keeps messages: those it would keep in pieces as they came, and
 * a message of 64 KiB in frames of one byte would cost megabytes.
 */
struct ws {
	struct client *c;
	wslay_event_context_ptr ctx;
	struct jbuf msg; /* the message so far */
	size_t max; /* of a message */
	bool control; /* the frame that comes is a control frame */
	bool closing; /* our close is on its way */
	bool broken; /* what came is no WebSocket: nothing more is read */
};

static struct ws *
ws_of(void *arg)
{
	return ((struct client *)arg)->ws;
}

/* --- wslay's callbacks --- */

static ssize_t
on_recv(
    wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
	struct client *c = arg;
	size_t n = c->in_len - c->in_off;

	(void)flags;
	if (n == 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (n > len)
		n = len;
	memcpy(buf, c->in + c->in_off, n);
	c->in_off += n;
	return (ssize_t)n;
}

static ssize_t
on_send(wslay_event_context_ptr ctx, const uint8_t *p, size_t len, int flags,
    void *arg)
{
	(void)flags;
	/* bounded by those who ask for it: they stop at OUT_MAX */
	if (client_put(arg, p, len) < 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
		return -1;
	}
	return (ssize_t)len;
}

static void
on_frame_start(wslay_event_context_ptr ctx,
    const struct wslay_event_on_frame_recv_start_arg *a, void *arg)
{
	struct ws *w = ws_of(arg);

	(void)ctx;
	w->control = wslay_is_ctrl_frame(a->opcode) != 0;
	/* wslay knows the limit of a frame; of all of a message's, we do */
	if (RULE(API_WS_MAX) && !w->control &&
	    a->payload_length > w->max - w->msg.len)
		ws_close(arg, WSLAY_CODE_MESSAGE_TOO_BIG);
}

static void
on_frame_chunk(wslay_event_context_ptr ctx,
    const struct wslay_event_on_frame_recv_chunk_arg *a, void *arg)
{
	struct ws *w = ws_of(arg);

	(void)ctx;
	if (!w->control && !w->closing)
		jbuf_raw(&w->msg, (const char *)a->data, a->data_length);
}

static void
set_max(struct ws *w, size_t max)
{
	w->max = max;
	wslay_event_config_set_max_recv_msg_length(w->ctx, max);
}

/* The request of an exec: checked, and written anew for the agent. */
static void
exec_request(struct client *c, const char *text, size_t len)
{
	struct exec_request req;
	struct err e = { 0 };
	struct jbuf b;
	int r;

	r = table_decode(
	    &exec_request_table, TABLE_STRICT, text, len, &req, &e);
	if (r < 0) {
		ws_fail(c, e.msg);
		ws_close(c, 1000);
		return;
	}
	jbuf_init(&b, FRAME_PAYLOAD_MAX);
	table_encode(&exec_request_table, TABLE_SECRETS, &req, &b);
	table_clear(&exec_request_table, &req);
	if (b.r < 0) {
		ws_fail(c, "the request is longer than 64 KiB");
		ws_close(c, 1000);
	} else {
		stream_open(c->stream, b.p, b.len);
		client_deadline(c, 0);
		set_max(c->ws, WS_MESSAGE_MAX);
	}
	jbuf_free(&b);
}

/* [channel][data] from an exec's client */
static void
exec_message(struct client *c, const uint8_t *p, size_t len)
{
	if (len == 0)
		return;
	if (p[0] == FRAME_STDIN || p[0] == FRAME_RESIZE || !RULE(API_CHANNEL)) {
		if (len > 1) /* some clients open each channel with nothing */
			stream_send(c->stream, p[0], p + 1, len - 1);
	} else if (p[0] == FRAME_CLOSE && len == 2 && p[1] == FRAME_STDIN)
		stream_send(c->stream, FRAME_CLOSE, p + 1, 1);
	else
		ws_close(c, WSLAY_CODE_POLICY_VIOLATION);
}

static void
on_message(struct client *c, uint8_t opcode, const char *p, size_t len)
{
	const bool text = opcode == WSLAY_TEXT_FRAME;

	if (c->q.route->kind == ROUTE_CONSOLE) {
		if (len > 0)
			stream_send(c->stream, FRAME_STDIN, p, len);
	} else if (c->stream->asked == text)
		/* text is the request, once; all else is binary */
		ws_close(c, WSLAY_CODE_UNSUPPORTED_DATA);
	else if (text)
		exec_request(c, p, len);
	else
		exec_message(c, (const uint8_t *)p, len);
}

static void
on_msg(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *a,
    void *arg)
{
	struct client *c = arg;
	struct ws *w = c->ws;

	(void)ctx;
	if (wslay_is_ctrl_frame(a->opcode)) {
		if (a->opcode > WSLAY_PONG && !w->closing)
			ws_close(c, WSLAY_CODE_PROTOCOL_ERROR);
		return; /* wslay itself answers pings and closes */
	}
	if (c->phase == CP_WS && !w->closing) {
		if (w->msg.r < 0)
			client_drop(c, true); /* no memory */
		else
			on_message(c, a->opcode,
			    w->msg.p != NULL ? w->msg.p : "", w->msg.len);
	}
	jbuf_free(&w->msg);
}

static const struct wslay_event_callbacks callbacks = {
	.recv_callback = on_recv,
	.send_callback = on_send,
	.on_frame_recv_start_callback = on_frame_start,
	.on_frame_recv_chunk_callback = on_frame_chunk,
	.on_msg_recv_callback = on_msg,
};

/* --- what the others use --- */

int
ws_start(struct client *c)
{
	struct ws *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	if (wslay_event_context_server_init(&w->ctx, &callbacks, c) != 0) {
		free(w);
		return -ENOMEM;
	}
	wslay_event_config_set_no_buffering(w->ctx, 1);
	set_max(w,
	    c->q.route->kind == ROUTE_EXEC ? EXEC_REQUEST_MAX
					   : FRAME_PAYLOAD_MAX);
	jbuf_init(&w->msg, EXEC_REQUEST_MAX);
	w->c = c;
	c->ws = w;
	return 0;
}

void
ws_free(struct ws *w)
{
	if (w == NULL)
		return;
	wslay_event_context_free(w->ctx);
	jbuf_free(&w->msg);
	free(w);
}

bool
ws_reads(const struct ws *w)
{
	return !w->broken && wslay_event_want_read(w->ctx) != 0;
}

void
ws_input(struct client *c)
{
	/* close, 2 bytes, 1002: wslay's own would not say why */
	static const char broken[] = "\x88\x02\x03\xea";

	if (wslay_event_recv(c->ws->ctx) != 0 && c->phase == CP_WS) {
		c->ws->broken = true;
		if (!c->ws->closing)
			(void)client_put(c, broken, sizeof(broken) - 1);
	}
	/* bytes behind a close frame are nobody's */
	if (c->phase == CP_WS && !ws_reads(c->ws)) {
		c->in_off = c->in_len;
		stream_close(c->stream);
		client_deadline(c, CLOSE_MS);
	}
}

void
ws_send(struct client *c, int channel, const void *p, size_t n)
{
	static uint8_t buf[WS_MESSAGE_MAX];
	struct wslay_event_msg msg = {
		.opcode = WSLAY_BINARY_FRAME, .msg = p, .msg_length = n
	};

	if (c->phase != CP_WS || c->ws->closing ||
	    !wslay_event_get_write_enabled(c->ws->ctx))
		return;
	if (channel >= 0) {
		if (n > sizeof(buf) - 1)
			return; /* no frame is that long */
		buf[0] = (uint8_t)channel;
		memcpy(buf + 1, p, n);
		msg.msg = buf;
		msg.msg_length = n + 1;
	}
	/* at once: a close that is queued later would overtake it */
	if (wslay_event_queue_msg(c->ws->ctx, &msg) != 0 ||
	    wslay_event_send(c->ws->ctx) != 0)
		client_drop(c, true);
}

void
ws_fail(struct client *c, const char *why)
{
	struct jbuf b;

	jbuf_init(&b, FRAME_PAYLOAD_MAX);
	exec_status_fail(&b, why);
	if (b.r == 0)
		ws_send(c, FRAME_STATUS, b.p, b.len);
	jbuf_free(&b);
}

void
ws_close(struct client *c, uint16_t code)
{
	struct ws *w = c->ws;

	if (c->phase != CP_WS || w->closing)
		return;
	w->closing = true;
	stream_close(c->stream);
	/* an error means that a close is on its way already */
	(void)wslay_event_queue_close(w->ctx, code, NULL, 0);
	client_deadline(c, CLOSE_MS);
}

bool
ws_flush(struct client *c)
{
	struct ws *w = c->ws;

	if (w->broken)
		return outbuf_left(&c->out) == 0;
	if (wslay_event_want_write(w->ctx) && wslay_event_send(w->ctx) != 0)
		return true;
	return c->phase == CP_DEAD ||
	    (!wslay_event_want_read(w->ctx) &&
		!wslay_event_want_write(w->ctx) && outbuf_left(&c->out) == 0);
}

void
ws_late(struct client *c)
{
	if (c->ws->closing || !ws_reads(c->ws))
		client_drop(c, true);
	else
		ws_close(c, WSLAY_CODE_POLICY_VIOLATION); /* no request came */
}
