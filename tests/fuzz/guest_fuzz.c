#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/yamux.h"
#include "warden/agent.h"
#include "warden/call.h"
#include "warden/stream.h"
#include "warden/vsock.h"

/*
 * A hostile guest's bytes on one stream, as the warden reads them: the
 * answer to CONNECT, an HTTP answer, then an exec's frames.  What leaves
 * the warden is checked here (I6).  The first byte chooses a call or an
 * exec, the second cuts the rest into pieces.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MODE_EXEC 1
#define MODE_FIN 2
#define MODE_GONE 4 /* the guest resets the stream at the end */

struct run {
	struct yamux *warden, *guest;
	struct ystream *gs; /* the guest's end */
	struct call *call;
	bool done;
};

static struct yamux *warden_mux;

struct yamux *
agent_mux(const struct agent *a)
{
	(void)a;
	return warden_mux;
}

bool
agent_takes_signals(const struct agent *a)
{
	(void)a;
	return true;
}

void
agent_hint(struct agent *a)
{
	(void)a;
}

void
agent_kick(struct agent *a)
{
	(void)a; /* settle() carries what waits */
}

static void
must_print(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((uint8_t)*s < 0x20 || *s == 0x7f)
			abort();
	}
}

void
stream_opened(struct stream *st, int status, const char *text)
{
	if (st->phase != SP_CALL || (status != 101 && status < 400) ||
	    status > 599)
		abort();
	must_print(text);
	st->phase = status == 101 ? SP_RUN : SP_END;
	if (status == 101)
		stream_pump(st);
	else
		stream_exec_ops.close(st);
}

void
stream_fail(struct stream *st, const char *why)
{
	must_print(why);
	st->phase = SP_END;
	stream_exec_ops.close(st);
}

void
stream_call(struct stream *st)
{
	st->phase = SP_CALL;
}

void
stream_push(struct stream *st)
{
	(void)stream_exec_ops.push(st, st->up->buf, 100);
}

void
stream_pump(struct stream *st)
{
	while (st->phase == SP_RUN) {
		const enum pull r = stream_exec_ops.pull(st);

		if (r == PULL_END) {
			st->phase = SP_END;
			stream_exec_ops.close(st);
		}
		if (r != PULL_SOME)
			return;
		/* whole, and of a guest's channels */
		if (st->out_len < FRAME_HEAD_LEN ||
		    st->out_len > sizeof(st->down->buf) ||
		    (st->out[0] != FRAME_CLOSE &&
			(st->out[0] > FRAME_STATUS ||
			    !(FRAME_FROM_GUEST & FRAME_BIT(st->out[0])))))
			abort();
		st->out_len = 0;
	}
}

static void
on_done(void *arg, const struct call_answer *a)
{
	struct run *r = arg;
	struct call *c = r->call;

	if (r->done || duct_is_open(&a->upgraded) || a->len > CALL_ANSWER_MAX ||
	    (a->status == 0) != (a->why != NULL))
		abort();
	r->done = true;
	r->call = NULL;
	call_free(c);
}

/* The same bytes by either way: here, by the session. */
int
vsock_dial(struct vsock *vs, void (*done)(void *arg, struct duct *d), void *arg,
    struct vwait **ret)
{
	(void)vs;
	(void)done;
	(void)arg;
	(void)ret;
	return -ENOTCONN;
}

void
vsock_cancel(struct vwait *w)
{
	(void)w;
}

void
vsock_failed(struct vsock *vs, const char *why)
{
	(void)vs;
	(void)why;
	abort();
}

static int
no_open(void *arg, struct ystream *s)
{
	(void)arg;
	(void)s;
	return -1;
}

static void
warden_event(void *arg, struct ystream *s, unsigned int ev)
{
	struct ysink *k = arg;

	(void)s;
	k->event(k->arg, ev);
}

static int
guest_open(void *arg, struct ystream *s)
{
	struct run *r = arg;

	ystream_set_arg(s, r);
	r->gs = s;
	return 0;
}

static void
guest_event(void *arg, struct ystream *s, unsigned int ev)
{
	struct run *r = arg;
	const uint8_t *p;

	if (ev & YS_GONE) {
		ystream_free(s);
		r->gs = NULL;
	} else
		ystream_consume(s, ystream_peek(s, &p));
}

static const struct yamux_ops warden_ops = { no_open, warden_event };
static const struct yamux_ops guest_ops = { guest_open, guest_event };

static size_t
move(struct yamux *from, struct yamux *to)
{
	const uint8_t *p;
	size_t n, used, total = 0;

	while ((n = yamux_output(from, &p)) > 0) {
		uint8_t buf[4096];

		n = n < sizeof(buf) ? n : sizeof(buf);
		memcpy(buf, p, n);
		yamux_drained(from, n);
		total += n;
		if (yamux_input(to, buf, n, &used) < 0)
			abort(); /* both sides are ours */
	}
	return total;
}

static void
settle(const struct run *r)
{
	while (move(r->warden, r->guest) + move(r->guest, r->warden) > 0)
		continue;
}

static void
answer(struct run *r, uint8_t mode, const uint8_t *p, size_t len, size_t step)
{
	settle(r);
	while (len > 0 && r->gs != NULL) {
		const size_t n =
		    ystream_write(r->gs, p, len < step ? len : step);

		settle(r);
		if (n == 0)
			break;
		p += n;
		len -= n;
	}
	if ((mode & MODE_FIN) && r->gs != NULL)
		ystream_fin(r->gs);
	settle(r);
	if ((mode & MODE_GONE) && r->gs != NULL) {
		ystream_free(r->gs);
		r->gs = NULL;
	}
	settle(r);
}

static void
ask(struct run *r, uint8_t mode, const uint8_t *p, size_t len, size_t step)
{
	static const char json[] = "{\"cmd\":[\"true\"]}";
	struct streams ss = { 0 };
	struct stream st = { .ss = &ss, .fd = -1, .phase = SP_CALL };

	if (!(mode & MODE_EXEC)) {
		if (call_mux(r->warden, HTTP_GET, "/healthz", NULL, 0, on_done,
			r, &r->call) == 0)
			answer(r, mode, p, len, step);
		/* an ended stream is an answer, if a bad one */
		if ((mode & (MODE_FIN | MODE_GONE)) && !r->done)
			abort();
		call_free(r->call);
		return;
	}
	if ((st.up = malloc(sizeof(*st.up))) == NULL)
		return;
	frame_init(st.up, FRAME_FROM_USER);
	stream_exec_ops.open(&st, (const uint8_t *)json, sizeof(json) - 1);
	answer(r, mode, p, len, step);
	if ((mode & (MODE_FIN | MODE_GONE)) && st.phase != SP_END)
		abort();
	stream_exec_ops.close(&st);
	free(st.up);
	free(st.down);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct run r = { 0 };

	if (len < 2)
		return 0;
	r.warden = warden_mux = yamux_new(YAMUX_CLIENT, 0, &warden_ops, NULL);
	r.guest = yamux_new(YAMUX_SERVER, 8, &guest_ops, &r);
	if (r.warden != NULL && r.guest != NULL)
		ask(&r, data[0], data + 2, len - 2, (size_t)data[1] * 16 + 1);
	yamux_free(r.warden);
	yamux_free(r.guest);
	return 0;
}
