#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "common/yamux.h"
#include "proto/jread.h"
#include "proto/ward.h"
#include "warden/agent.h"
#include "warden/stream.h"
#include "warden/text.h"
#include "warden/vsock.h"

#define TEXT_MAX 256

static void
exec_close(struct stream *st)
{
	call_free(st->call);
	st->call = NULL;
	vsock_cancel(st->dialling);
	st->dialling = NULL;
	duct_close(&st->duct);
}

/* The statuses a guest may cause outside; any other becomes 502 (I6). */
static int
allowed_status(int status)
{
	static const int ok[] = { 400, 403, 404, 409, 413, 422, 429, 500, 503 };
	size_t i;

	for (i = 0; i < nitems(ok); i++) {
		if (ok[i] == status)
			return status;
	}
	return RULE(EXEC_STATUS) ? 502 : status;
}

static void
exec_event(void *arg, unsigned int ev)
{
	struct stream *st = arg;

	if ((ev & YS_GONE) != 0) {
		exec_close(st);
		stream_fail(st, WARD_WENT_AWAY);
		return;
	}
	if ((ev & YS_WRITE) != 0)
		stream_push(st);
	if ((ev & YS_READ) != 0 && st->phase == SP_RUN && st->out_len == 0)
		stream_pump(st);
}

static void
upgraded(struct stream *st, const struct duct *d)
{
	bool signals;

	st->duct = *d;
	st->sink.event = exec_event;
	st->sink.arg = st;
	duct_set_arg(&st->duct, &st->sink);
	signals = agent_takes_signals(st->ss->agent);
	/* the request was in there */
	frame_init(st->up, signals ? FRAME_FROM_USER_SIGNALS : FRAME_FROM_USER);
	if ((st->down = malloc(sizeof(*st->down))) == NULL) {
		exec_close(st);
		stream_opened(st, 502,
		    "out of memory: the command had begun, and is ended");
		return;
	}
	frame_init(st->down, FRAME_FROM_GUEST);
	stream_opened(st, 101, signals ? WARD_OPENED_SIGNALS : "");
}

/* The agent's {"error": "..."}, or its body as it is; printable. */
static void
error_text(const struct call_answer *a, char *text, size_t cap)
{
	const char *body = (const char *)a->body;
	struct jread j, at;
	struct jstr s;

	if (jread_open(&j, body, a->len) == 0 &&
	    jread_find(&j, "error", &at) == 0 &&
	    jread_peek(&at) == JREAD_STRING && jread_string(&at, &s) == 0)
		text_print_json(text, cap, &s);
	else
		text_print(text, cap, body, a->len);
}

static void open_mux(struct stream *st);

static void
on_answer(void *arg, const struct call_answer *a)
{
	struct stream *st = arg;
	struct call *c = st->call;
	char text[TEXT_MAX];

	st->call = NULL;
	if (duct_is_open(&a->upgraded))
		upgraded(st, &a->upgraded);
	else if (a->status == 0 && st->by_vsock && !a->connected) {
		/* nothing was asked for yet: the other way, then */
		vsock_failed(st->ss->vsock, a->why);
		open_mux(st);
	} else if (a->status == 0)
		stream_opened(st, 502, a->why);
	else if (a->status == 200 || a->status == 201) {
		/* all that there is to say: a table reads it in apid */
		text_print(text, sizeof(text), (const char *)a->body, a->len);
		stream_opened(st, a->status, text);
	} else {
		error_text(a, text, sizeof(text));
		stream_opened(st, allowed_status(a->status), text);
	}
	call_free(c);
}

static void
ask(struct stream *st, struct duct *d)
{
	if (call_new(d, HTTP_POST, st->path, st->req, st->req_len,
		st->kind == STREAM_EXEC, on_answer, st, &st->call) < 0)
		stream_opened(st, 503, "out of memory");
}

static void
open_mux(struct stream *st)
{
	struct yamux *y = agent_mux(st->ss->agent);
	struct duct d = { NULL, NULL };

	st->by_vsock = false;
	if (y == NULL)
		stream_opened(st, 503, "the agent does not answer yet");
	else if (ystream_open(y, &d.ys) < 0)
		stream_opened(st, 503, "no room for another stream");
	else
		ask(st, &d);
	agent_kick(st->ss->agent);
}

static void
on_dialled(void *arg, struct duct *d)
{
	struct stream *st = arg;

	st->dialling = NULL;
	if (!duct_is_open(d)) {
		open_mux(st);
		return;
	}
	st->by_vsock = true;
	ask(st, d);
}

static void
request_open(
    struct stream *st, const char *path, const uint8_t *json, size_t len)
{
	st->path = path;
	st->req = json;
	st->req_len = len;
	stream_call(st);
	if (vsock_dial(st->ss->vsock, on_dialled, st, &st->dialling) < 0)
		open_mux(st);
}

static void
exec_open(struct stream *st, const uint8_t *json, size_t len)
{
	request_open(st, "/v1/exec", json, len);
}

static void
signal_open(struct stream *st, const uint8_t *json, size_t len)
{
	request_open(st, "/v1/kill", json, len);
}

/* The guest's next whole frame, checked: then it is what we send. */
static enum pull
exec_pull(struct stream *st)
{
	const uint8_t *p;
	struct frame f;
	size_t used, n;
	int r;

	if (st->has_status)
		return PULL_END; /* nothing follows a status */
	if (!duct_is_open(&st->duct))
		return PULL_WAIT;
	while ((n = duct_peek(&st->duct, &p)) > 0) {
		r = frame_feed(st->down, p, n, &used, &f);
		duct_consume(&st->duct, used);
		if (r < 0) {
			exec_close(st);
			stream_fail(st, "the agent broke the protocol");
			return PULL_WAIT;
		}
		if (r == 0)
			continue;
		st->has_status = f.channel == FRAME_STATUS;
		if (st->has_status)
			agent_hint(st->ss->agent);
		st->out = st->down->buf; /* head and payload, as they came */
		st->out_len = FRAME_HEAD_LEN + f.len;
		return PULL_SOME;
	}
	if (!duct_is_eof(&st->duct))
		return PULL_WAIT;
	exec_close(st);
	stream_fail(st, "the agent ended without a status");
	return PULL_WAIT;
}

static size_t
exec_push(struct stream *st, const uint8_t *p, size_t len)
{
	return duct_is_open(&st->duct) ? duct_write(&st->duct, p, len) : len;
}

/* It is over with the answer; until then its client has nothing to say. */
const struct stream_ops stream_signal_ops = {
	.open = signal_open,
	.pull = exec_pull,
	.push = exec_push,
	.close = exec_close,
	.takes_frames = true,
};

const struct stream_ops stream_exec_ops = {
	.open = exec_open,
	.pull = exec_pull,
	.push = exec_push,
	.close = exec_close,
	.takes_frames = true,
};
