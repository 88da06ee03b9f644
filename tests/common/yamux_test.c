#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/util.h"
#include "common/yamux.h"
#include "tests/suite/t.h"

/* One end, and what its callbacks saw. */
struct end {
	struct yamux *y;
	struct ystream *last; /* opened by the peer */
	int opened, gone, writes, reads, refuse;
	bool frees_on_read, frees_on_gone;
};

static int
on_open(void *arg, struct ystream *s)
{
	struct end *e = arg;

	if (e->refuse)
		return -EPERM;
	e->opened++;
	e->last = s;
	ystream_set_arg(s, e);
	return 0;
}

static void
on_event(void *arg, struct ystream *s, unsigned int ev)
{
	struct end *e = arg;

	if (ev & YS_READ)
		e->reads++;
	if (ev & YS_WRITE)
		e->writes++;
	if (ev & YS_GONE)
		e->gone++;
	if (((ev & YS_READ) && e->frees_on_read) ||
	    ((ev & YS_GONE) && e->frees_on_gone)) {
		ystream_free(s);
		if (e->last == s)
			e->last = NULL;
	}
}

static const struct yamux_ops ops = { on_open, on_event };

static void
end_new(struct end *e, enum yamux_side side)
{
	*e = (struct end){ 0 };
	e->y = yamux_new(side, YAMUX_STREAMS_MAX, &ops, e);
}

/* Moves what waits from one to the other in pieces of at most step. */
static int
move(struct end *from, struct end *to, size_t step)
{
	const uint8_t *p;
	size_t n, used;
	int r = 0;

	while (r == 0 && (n = yamux_output(from->y, &p)) > 0) {
		uint8_t buf[65536];

		n = n < step ? n : step;
		n = n < sizeof(buf) ? n : sizeof(buf);
		memcpy(buf, p, n);
		yamux_drained(from->y, n);
		r = yamux_input(to->y, buf, n, &used);
	}
	return r;
}

/* Both ways until nothing moves. */
static void
settle(struct end *a, struct end *b, size_t step)
{
	const uint8_t *p;

	while (yamux_output(a->y, &p) > 0 || yamux_output(b->y, &p) > 0) {
		if (move(a, b, step) < 0 || move(b, a, step) < 0)
			return;
	}
}

static struct ystream *
open_pair(struct end *c, struct end *s)
{
	struct ystream *st = NULL;

	end_new(c, YAMUX_CLIENT);
	end_new(s, YAMUX_SERVER);
	t_eq(ystream_open(c->y, &st), 0);
	ystream_set_arg(st, c);
	settle(c, s, 4096);
	t_eq(s->opened, 1);
	return st;
}

static void
close_pair(struct end *c, struct end *s)
{
	yamux_free(c->y);
	yamux_free(s->y);
}

static void
test_echo(void)
{
	static const size_t steps[] = { 1, 5, 12, 13, 4096 };
	const uint8_t *p;
	struct end c, s;
	size_t i;

	for (i = 0; i < nitems(steps); i++) {
		struct ystream *st = open_pair(&c, &s);

		t_eq(ystream_id(st), 1);
		t_eq(ystream_write(st, "hello", 5), 5);
		settle(&c, &s, steps[i]);
		t_eq(ystream_peek(s.last, &p), 5);
		t_mem(p, 5, "hello", 5);
		ystream_consume(s.last, 5);
		t_eq(ystream_write(s.last, "there", 5), 5);
		settle(&c, &s, steps[i]);
		t_eq(ystream_peek(st, &p), 5);
		t_mem(p, 5, "there", 5);
		close_pair(&c, &s);
	}
}

static void
test_half_close(void)
{
	const uint8_t *p;
	struct end c, s;
	struct ystream *st = open_pair(&c, &s);

	t_eq(ystream_write(st, "last", 4), 4);
	ystream_fin(st);
	t_eq(ystream_write(st, "more", 4), 0);
	settle(&c, &s, 7);
	t_true(!ystream_is_eof(s.last));
	t_eq(ystream_peek(s.last, &p), 4);
	ystream_consume(s.last, 4);
	t_true(ystream_is_eof(s.last));
	t_eq(ystream_write(s.last, "answer", 6), 6);
	ystream_fin(s.last);
	settle(&c, &s, 7);
	t_eq(ystream_peek(st, &p), 6);
	ystream_consume(st, 6);
	t_true(ystream_is_eof(st));
	ystream_free(st);
	ystream_free(s.last);
	t_eq(yamux_output(c.y, &p), 0); /* both had finished: no reset */
	t_eq(yamux_output(s.y, &p), 0);
	t_eq(yamux_streams(c.y), 0);
	close_pair(&c, &s);
}

static void
test_reset(void)
{
	struct end c, s;
	struct ystream *st = open_pair(&c, &s);

	t_eq(ystream_write(st, "x", 1), 1);
	ystream_free(st);
	settle(&c, &s, 4096);
	t_eq(s.gone, 1);
	/* what the other side still says about it is no fault */
	t_eq(ystream_write(s.last, "late", 4), 0);
	ystream_free(s.last);
	settle(&c, &s, 4096);
	t_eq(yamux_error(c.y), 0);
	t_eq(yamux_error(s.y), 0);
	t_eq(yamux_streams(s.y), 0);
	close_pair(&c, &s);
}

/* Data that crosses with the reset of its stream is dropped. */
static void
test_reset_crossing(void)
{
	struct end c, s;
	struct ystream *st = open_pair(&c, &s);

	t_eq(ystream_write(s.last, "crossing", 8), 8);
	ystream_free(st);
	t_eq(move(&s, &c, 3), 0);
	t_eq(move(&c, &s, 3), 0);
	t_eq(s.gone, 1);
	close_pair(&c, &s);
}

static void
test_window(void)
{
	static uint8_t big[3 * YAMUX_WINDOW];
	const uint8_t *p;
	struct end c, s;
	struct ystream *st = open_pair(&c, &s);
	size_t sent = 0, got = 0, i, n;

	for (i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7 + i / 251);
	sent = ystream_write(st, big, sizeof(big));
	t_true(sent <= YAMUX_OUT_DATA + YAMUX_CHUNK);
	settle(&c, &s, 1000);
	sent += ystream_write(st, big + sent, sizeof(big) - sent);
	settle(&c, &s, 1000);
	/* nobody reads: exactly one window went over */
	t_eq(sent, YAMUX_WINDOW);
	t_eq(ystream_peek(s.last, &p), YAMUX_WINDOW);
	t_eq(ystream_room(st), 0);
	/* less than half of it is read: no new window yet, then there is */
	ystream_consume(s.last, YAMUX_WINDOW / 2 - 1);
	settle(&c, &s, 1000);
	t_eq(ystream_room(st), 0);
	got = YAMUX_WINDOW / 2 - 1;
	c.writes = 0;
	while (got < sizeof(big)) {
		n = ystream_peek(s.last, &p);
		t_true(n > 0);
		if (n == 0 || memcmp(p, big + got, n) != 0)
			break;
		ystream_consume(s.last, n);
		got += n;
		settle(&c, &s, 1000);
		sent += ystream_write(st, big + sent, sizeof(big) - sent);
		settle(&c, &s, 1000);
	}
	t_eq(got, sizeof(big));
	t_true(c.writes > 0);
	close_pair(&c, &s);
}

/* One that is bounded sends less ahead, and gets as much as ever through. */
static void
test_bound(void)
{
	enum { AHEAD = 20000 };
	static uint8_t big[3 * YAMUX_WINDOW];
	const uint8_t *p;
	struct end c, s;
	struct ystream *st = open_pair(&c, &s);
	size_t sent, got = 0, n;

	yamux_bound(c.y, AHEAD);
	yamux_bound(s.y, AHEAD);
	t_eq(ystream_room(st), YAMUX_CHUNK);
	sent = ystream_write(st, big, sizeof(big));
	t_eq(sent, AHEAD);
	settle(&c, &s, 1000);
	t_eq(ystream_room(st), 0);
	ystream_consume(s.last, AHEAD / 2 - 1);
	settle(&c, &s, 1000);
	t_eq(ystream_room(st), 0);
	c.writes = 0;
	ystream_consume(s.last, 1);
	settle(&c, &s, 1000);
	t_eq(c.writes, 1);
	t_eq(ystream_room(st), AHEAD / 2);
	for (got = AHEAD / 2; got < sizeof(big); got += n) {
		sent += ystream_write(st, big + sent, sizeof(big) - sent);
		settle(&c, &s, 1000);
		n = ystream_peek(s.last, &p);
		t_true(n > 0 && n <= AHEAD);
		if (n == 0)
			break;
		ystream_consume(s.last, n);
		settle(&c, &s, 1000);
	}
	t_eq(got, sizeof(big));
	/* the other way all of the window is used */
	sent = ystream_write(s.last, big, sizeof(big));
	settle(&c, &s, 1000);
	sent += ystream_write(s.last, big, sizeof(big));
	t_eq(sent, YAMUX_WINDOW);
	close_pair(&c, &s);
}

/* A stream without window does not hold up the others. */
static void
test_no_blocking(void)
{
	static uint8_t big[2 * YAMUX_WINDOW];
	const uint8_t *p;
	struct end c, s;
	struct ystream *a = open_pair(&c, &s), *b = NULL;
	struct ystream *sa = s.last;
	size_t sent;

	sent = ystream_write(a, big, sizeof(big));
	settle(&c, &s, 4096);
	(void)ystream_write(a, big, sizeof(big) - sent);
	settle(&c, &s, 4096);
	t_eq(ystream_open(c.y, &b), 0);
	ystream_set_arg(b, &c);
	t_eq(ystream_write(b, "ping", 4), 4);
	settle(&c, &s, 4096);
	t_true(s.last != sa);
	t_eq(ystream_peek(s.last, &p), 4);
	close_pair(&c, &s);
}

static void
test_stream_limit(void)
{
	struct ystream *st[YAMUX_STREAMS_MAX], *more = NULL;
	struct end c, s;
	size_t i;

	end_new(&c, YAMUX_CLIENT);
	end_new(&s, YAMUX_SERVER);
	for (i = 0; i < nitems(st); i++) {
		t_eq(ystream_open(c.y, &st[i]), 0);
		ystream_set_arg(st[i], &c);
	}
	t_eq(ystream_open(c.y, &more), -EMFILE);
	settle(&c, &s, 4096);
	t_eq(s.opened, YAMUX_STREAMS_MAX);
	ystream_free(st[0]);
	t_eq(ystream_open(c.y, &st[0]), 0);
	ystream_set_arg(st[0], &c);
	/* the reset comes first on the wire, but the server's user keeps the
	 * old one: the new one is over the limit and is reset */
	settle(&c, &s, 4096);
	t_eq(s.opened, YAMUX_STREAMS_MAX);
	t_eq(c.gone, 1);
	t_eq(yamux_error(c.y), 0);
	t_eq(yamux_error(s.y), 0);
	close_pair(&c, &s);
}

static void
test_refused(void)
{
	struct ystream *st = NULL;
	struct end c, s;

	end_new(&c, YAMUX_CLIENT);
	end_new(&s, YAMUX_SERVER);
	s.refuse = 1;
	t_eq(ystream_open(c.y, &st), 0);
	ystream_set_arg(st, &c);
	t_eq(ystream_write(st, "into the void", 13), 13);
	settle(&c, &s, 4096);
	t_eq(c.gone, 1);
	t_eq(yamux_streams(s.y), 0);
	t_eq(yamux_error(s.y), 0);
	ystream_free(st);
	close_pair(&c, &s);
}

static void
test_free_inside(void)
{
	struct end c, s;
	struct ystream *st = open_pair(&c, &s);

	s.frees_on_read = true;
	t_eq(ystream_write(st, "0123456789", 10), 10);
	settle(&c, &s, 1); /* freed at its first byte, nine still to come */
	t_eq(c.gone, 1);
	t_eq(yamux_streams(s.y), 0);
	t_eq(yamux_error(s.y), 0);
	close_pair(&c, &s);
}

static void
test_goaway(void)
{
	struct ystream *more = NULL;
	const uint8_t *p;
	struct end c, s;
	struct ystream *st = open_pair(&c, &s);

	yamux_goaway(s.y);
	settle(&c, &s, 4096);
	t_eq(ystream_open(c.y, &more), -ESHUTDOWN);
	t_eq(ystream_write(st, "still", 5), 5);
	settle(&c, &s, 4096);
	t_eq(ystream_peek(s.last, &p), 5);
	close_pair(&c, &s);
}

static void
test_ping(void)
{
	struct end c, s;

	(void)open_pair(&c, &s);
	t_eq(yamux_ping(c.y, 77), 0);
	settle(&c, &s, 4096);
	t_eq(yamux_pongs(c.y), 1);
	t_eq(yamux_pongs(s.y), 0);
	close_pair(&c, &s);
}

#define H(type, flags, id, len)                                             \
	{                                                                   \
		0, (type), (flags) >> 8, (flags)&0xff, (id) >> 24,          \
		    ((id) >> 16) & 0xff, ((id) >> 8) & 0xff, (id)&0xff,     \
		    (uint8_t)((uint32_t)(len) >> 24), ((len) >> 16) & 0xff, \
		    ((len) >> 8) & 0xff, (len)&0xff                         \
	}

/* Frames against a server on which the client has stream 1 open. */
static const struct {
	const char *name;
	uint8_t frames[3][YAMUX_HDR];
	int r;
} hostile[] = {
	{ "version 1", { { 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0 } }, -EPROTO },
	{ "type 4", { H(4, 0, 1, 0) }, -EPROTO },
	{ "unknown flag", { H(0, 16, 1, 0) }, -EPROTO },
	{ "unknown high flag", { H(1, 0x8000, 1, 0) }, -EPROTO },
	{ "data on stream 0", { H(0, 0, 0, 5) }, -EPROTO },
	{ "window on stream 0", { H(1, 0, 0, 5) }, -EPROTO },
	{ "all zero", { H(0, 0, 0, 0) }, -ESTALE },
	{ "data on a stream never opened", { H(0, 0, 3, 0) }, -EPROTO },
	{ "data on one of ours never opened", { H(0, 0, 2, 0) }, -EPROTO },
	{ "syn twice", { H(1, 1, 1, 0) }, -EPROTO },
	{ "syn with our parity", { H(1, 1, 4, 0) }, -EPROTO },
	{ "syn with an id that was passed", { H(1, 1, 5, 0), H(1, 1, 3, 0) },
	    -EPROTO },
	{ "syn and ack", { H(1, 3, 3, 0) }, -EPROTO },
	{ "syn and reset", { H(1, 9, 3, 0) }, -EPROTO },
	{ "ack of their own stream", { H(1, 2, 1, 0) }, -EPROTO },
	{ "frame of 64 KiB and one", { H(0, 0, 1, 65537) }, -EPROTO },
	{ "frame of 4 GiB", { H(0, 0, 1, 0xffffffffU) }, -EPROTO },
	{ "fin twice", { H(0, 4, 1, 0), H(0, 4, 1, 0) }, -EPROTO },
	{ "window after fin", { H(0, 4, 1, 0), H(1, 0, 1, 0) }, 0 },
	{ "data after fin", { H(0, 4, 1, 0), H(0, 0, 1, 1) }, -EPROTO },
	{ "window beyond the start", { H(1, 0, 1, 1) }, -EPROTO },
	{ "window of 4 GiB", { H(1, 0, 1, 0xffffffffU) }, -EPROTO },
	{ "ping on a stream", { H(2, 1, 1, 0) }, -EPROTO },
	{ "ping without flag", { H(2, 0, 0, 9) }, -EPROTO },
	{ "ping with fin", { H(2, 4, 0, 9) }, -EPROTO },
	{ "pong nobody asked for", { H(2, 2, 0, 9) }, 0 },
	{ "goaway on a stream", { H(3, 0, 1, 0) }, -EPROTO },
	{ "goaway with an unknown code", { H(3, 0, 0, 3) }, -EPROTO },
	{ "goaway, no error", { H(3, 0, 0, 0) }, 0 },
	{ "goaway, protocol error", { H(3, 0, 0, 1) }, -ECONNRESET },
	{ "reset and reset again", { H(1, 8, 1, 0), H(1, 8, 1, 0) }, 0 },
	{ "data after reset", { H(1, 8, 1, 0), H(0, 0, 1, 0) }, 0 },
	{ "id reuse after reset", { H(1, 8, 1, 0), H(1, 1, 1, 0) }, -EPROTO },
	{ "greatest id", { H(1, 1, 0xffffffffU, 0) }, 0 },
};

static void
test_hostile(void)
{
	static const uint8_t none[YAMUX_HDR];
	const uint8_t *p;
	size_t i, k, n, used;

	for (i = 0; i < nitems(hostile); i++) {
		struct end c, s;
		int r = 0;

		t_row(hostile[i].name);
		(void)open_pair(&c, &s);
		for (k = 0; k < 3 && r == 0; k++) {
			const uint8_t *f = hostile[i].frames[k];

			if (k > 0 && memcmp(f, none, YAMUX_HDR) == 0)
				break;
			r = yamux_input(s.y, f, YAMUX_HDR, &used);
			t_eq(used, YAMUX_HDR);
		}
		t_eq(r, hostile[i].r);
		n = yamux_output(s.y, &p);
		if (r == -EPROTO) {
			t_true(n >= YAMUX_HDR);
			p += n - YAMUX_HDR;
			t_eq(p[1], 3); /* goaway */
			t_eq(p[11], 1); /* protocol error */
			t_eq(s.gone, s.opened);
			t_eq(yamux_input(s.y, "x", 1, &used), -EPROTO);
			t_eq(used, 0);
		}
		close_pair(&c, &s);
	}
}

/* More than the window allows, in frames that are each small enough. */
static void
test_overrun(void)
{
	static const uint8_t h[YAMUX_HDR] = H(0, 0, 1, 65536);
	static uint8_t payload[65536];
	struct end c, s;
	size_t used;
	int i, r = 0;

	(void)open_pair(&c, &s);
	for (i = 0; i < 5 && r == 0; i++) {
		r = yamux_input(s.y, h, sizeof(h), &used);
		if (r == 0)
			r = yamux_input(s.y, payload, sizeof(payload), &used);
	}
	t_eq(i, 5);
	t_eq(r, -EPROTO);
	close_pair(&c, &s);
}

/* A peer that asks for answers and never reads them. */
static void
test_ping_flood(void)
{
	static const uint8_t ping[YAMUX_HDR] = H(2, 1, 0, 1);
	const uint8_t *p;
	struct end c, s;
	size_t used;
	int i, r = 0;

	(void)open_pair(&c, &s);
	for (i = 0; i < 1000000 && r == 0; i++)
		r = yamux_input(s.y, ping, sizeof(ping), &used);
	t_eq(r, -ENOBUFS);
	t_true(yamux_output(s.y, &p) <= YAMUX_OUT_MAX);
	t_eq(s.gone, 1);
	close_pair(&c, &s);
}

/* The session's death while a callee frees each stream it hears of. */
static void
test_gone_frees(void)
{
	static const uint8_t bad[YAMUX_HDR] = { 9 };
	struct ystream *st = NULL;
	struct end c, s;
	size_t used;
	int i;

	(void)open_pair(&c, &s);
	for (i = 0; i < 20; i++)
		t_eq(ystream_open(c.y, &st), 0);
	settle(&c, &s, 4096);
	s.frees_on_gone = true;
	t_eq(yamux_input(s.y, bad, sizeof(bad), &used), -EPROTO);
	t_eq(s.gone, 21);
	t_eq(yamux_streams(s.y), 0);
	close_pair(&c, &s);
}

static void
torture_once(void)
{
	static uint8_t big[100000];
	struct end c, s;
	struct ystream *st = NULL;

	end_new(&c, YAMUX_CLIENT);
	end_new(&s, YAMUX_SERVER);
	if (c.y != NULL && s.y != NULL && ystream_open(c.y, &st) == 0) {
		ystream_set_arg(st, &c);
		(void)ystream_write(st, big, sizeof(big));
		settle(&c, &s, 5000);
	}
	close_pair(&c, &s);
}

static void
test_torture(void)
{
	unsigned int n;
	bool failed;

	for (n = 1; n < 100; n++) {
		t_fail_alloc(n);
		torture_once();
		failed = t_alloc_failed();
		t_fail_alloc(0);
		if (!failed)
			break;
	}
	t_true(n > 3 && n < 100);
}

const struct t_case t_cases[] = { { "echo", test_echo },
	{ "half close", test_half_close }, { "reset", test_reset },
	{ "reset crosses data", test_reset_crossing },
	{ "window", test_window }, { "bound", test_bound },
	{ "no head of line blocking", test_no_blocking },
	{ "stream limit", test_stream_limit }, { "refused", test_refused },
	{ "freed inside its callback", test_free_inside },
	{ "goaway", test_goaway }, { "ping", test_ping },
	{ "hostile frames", test_hostile }, { "window overrun", test_overrun },
	{ "ping flood", test_ping_flood },
	{ "streams freed as the session dies", test_gone_frees },
	{ "torture", test_torture }, { NULL, NULL } };
