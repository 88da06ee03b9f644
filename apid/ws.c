#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "apid/apid.h"
#include "common/util.h"
#include "proto/jbuf.h"

/*
 * libwslay reads and writes the frames; it neither reads nor writes sockets
 * here, nor keeps messages: those it would keep in pieces as they came, and
 * a message of 64 KiB in frames of one byte would cost megabytes.
 */
struct ws {
	const struct ws_ops *ops;
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
	if (w->control || w->closing)
		return;
	if (a->payload_length > w->max - w->msg.len && w->ops->grows != NULL)
		w->ops->grows(arg);
	/* wslay knows the limit of a frame; of all of a message's, we do */
	if (RULE(API_WS_MAX) && a->payload_length > w->max - w->msg.len)
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
			w->ops->message(c, a->opcode == WSLAY_TEXT_FRAME,
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

void
ws_set_max(struct ws *w, size_t max)
{
	w->max = max;
	/* before ours, and for good: what may grow is ours to refuse */
	wslay_event_config_set_max_recv_msg_length(
	    w->ctx, w->ops->grows != NULL ? EXEC_REQUEST_MAX : max);
}

static int
ws_new(struct client *c, size_t max, const struct ws_ops *ops)
{
	struct ws *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	if (wslay_event_context_server_init(&w->ctx, &callbacks, c) != 0) {
		free(w);
		return -ENOMEM;
	}
	wslay_event_config_set_no_buffering(w->ctx, 1);
	w->ops = ops;
	ws_set_max(w, max);
	jbuf_init(&w->msg, EXEC_REQUEST_MAX); /* the longest of all */
	c->ws = w;
	return 0;
}

void
ws_upgrade(struct client *c, size_t max, const struct ws_ops *ops)
{
	char buf[HTTP_LINE_MAX];
	struct http_out o;
	size_t len = 0;

	answer_log(c, 101);
	ws_out_answer(&o, buf, sizeof(buf), &c->q.ws);
	if (http_out_end(&o, &len) < 0 || ws_new(c, max, ops) < 0) {
		client_drop(c, true);
		return;
	}
	client_http_free(c);
	c->phase = CP_WS;
	(void)client_put(c, buf, len);
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
		c->ws->ops->ending(c);
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
ws_close(struct client *c, uint16_t code)
{
	struct ws *w = c->ws;

	if (c->phase != CP_WS || w->closing)
		return;
	w->closing = true;
	w->ops->ending(c);
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
