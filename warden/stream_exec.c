#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "common/yamux.h"
#include "proto/ward.h"
#include "warden/agent.h"
#include "warden/stream_int.h"
#include "warden/text.h"

#define TEXT_MAX 256
#define JSON_DEPTH 8

void
exec_close(struct stream *st)
{
	call_free(st->call);
	st->call = NULL;
	if (st->ys != NULL)
		ystream_free(st->ys);
	st->ys = NULL;
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
		stream_fail(st, "the agent went away");
		return;
	}
	if ((ev & YS_WRITE) != 0)
		stream_push(st);
	if ((ev & YS_READ) != 0 && st->phase == SP_RUN && st->out_len == 0)
		stream_pump(st);
}

static void
upgraded(struct stream *st, struct ystream *ys)
{
	st->ys = ys;
	st->sink.event = exec_event;
	st->sink.arg = st;
	ystream_set_arg(ys, &st->sink);
	frame_init(st->up, FRAME_FROM_USER); /* the request was in there */
	if ((st->down = malloc(sizeof(*st->down))) == NULL) {
		exec_close(st);
		stream_opened(st, 503, "out of memory");
		return;
	}
	frame_init(st->down, FRAME_FROM_GUEST);
	stream_opened(st, 101, "");
}

/* The agent's {"error": "..."}, or its body as it is; printable. */
static void
error_text(const struct call_answer *a, char *text, size_t cap)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH);
	struct json_object *o = NULL, *v;
	const char *s = (const char *)a->body;
	size_t len = a->len;

	if (tok != NULL)
		o = json_tokener_parse_ex(tok, s, (int)len);
	if (json_object_is_type(o, json_type_object) &&
	    json_object_object_get_ex(o, "error", &v) &&
	    json_object_is_type(v, json_type_string)) {
		s = json_object_get_string(v);
		len = strlen(s);
	}
	text_print(text, cap, s, len);
	json_object_put(o);
	if (tok != NULL)
		json_tokener_free(tok);
}

static void
on_answer(void *arg, const struct call_answer *a)
{
	struct stream *st = arg;
	struct call *c = st->call;
	char text[TEXT_MAX];

	st->call = NULL;
	if (a->upgraded != NULL)
		upgraded(st, a->upgraded);
	else if (a->status == 0)
		stream_opened(st, 502, a->why);
	else {
		error_text(a, text, sizeof(text));
		stream_opened(st, allowed_status(a->status), text);
	}
	call_free(c);
}

void
exec_open(struct stream *st, const uint8_t *json, size_t len)
{
	struct yamux *y = agent_mux(st->ss->agent);

	if (y == NULL) {
		stream_opened(st, 503, "the agent does not answer yet");
		return;
	}
	if (call_new(y, HTTP_POST, "/v1/exec", json, len, true, on_answer, st,
		&st->call) < 0)
		stream_opened(st, 503, "no room for another stream");
}

/* The guest's next whole frame, checked: then it is what we send. */
enum pull
exec_pull(struct stream *st)
{
	const uint8_t *p;
	struct frame f;
	size_t used, n;
	int r;

	if (st->has_status)
		return PULL_END; /* nothing follows a status */
	if (st->ys == NULL)
		return PULL_WAIT;
	while ((n = ystream_peek(st->ys, &p)) > 0) {
		r = frame_feed(st->down, p, n, &used, &f);
		ystream_consume(st->ys, used);
		if (r < 0) {
			exec_close(st);
			stream_fail(st, "the agent broke the protocol");
			return PULL_WAIT;
		}
		if (r == 0)
			continue;
		st->has_status = f.channel == FRAME_STATUS;
		st->out = st->down->buf; /* head and payload, as they came */
		st->out_len = FRAME_HEAD_LEN + f.len;
		return PULL_SOME;
	}
	if (!ystream_is_eof(st->ys))
		return PULL_WAIT;
	exec_close(st);
	stream_fail(st, "the agent ended without a status");
	return PULL_WAIT;
}

size_t
exec_push(struct stream *st, const uint8_t *p, size_t len)
{
	return st->ys != NULL ? ystream_write(st->ys, p, len) : len;
}
