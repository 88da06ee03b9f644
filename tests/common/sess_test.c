#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/sess.h"
#include "common/util.h"
#include "tests/suite/t.h"

struct end {
	struct sess *s;
	int ups, downs, gone, opened;
	char got[64]; /* what the streams of this end received */
	size_t gotlen;
};

static int
on_open(void *arg, struct ystream *s)
{
	struct end *e = arg;

	ystream_set_arg(s, e);
	e->opened++;
	return 0;
}

static void
on_event(void *arg, struct ystream *s, unsigned int ev)
{
	struct end *e = arg;
	const uint8_t *p;
	size_t n;

	if (ev & YS_GONE) {
		e->gone++;
		ystream_free(s);
		return;
	}
	if (!(ev & YS_READ))
		return;
	n = ystream_peek(s, &p);
	if (n <= sizeof(e->got) - e->gotlen) {
		memcpy(e->got + e->gotlen, p, n);
		e->gotlen += n;
	}
	/* the server answers in capitals, so each side knows its own */
	if (n > 0 && e->opened > 0)
		(void)ystream_write(s, "ANSWER", 6);
	ystream_consume(s, n);
}

static void
on_up(void *arg, struct yamux *y)
{
	struct end *e = arg;

	(void)y;
	e->ups++;
}

static void
on_down(void *arg)
{
	struct end *e = arg;

	e->downs++;
}

static const struct sess_ops ops = { { on_open, on_event }, on_up, on_down };

static void
client_new(struct end *c, uint8_t seed)
{
	uint8_t nonce[SESS_NONCE];
	size_t i;

	for (i = 0; i < sizeof(nonce); i++)
		nonce[i] = (uint8_t)((size_t)seed * 31 + i);
	*c = (struct end){ 0 };
	c->s = sess_new(nonce, 0, &ops, c);
}

static void
server_new(struct end *e)
{
	*e = (struct end){ 0 };
	e->s = sess_new(NULL, YAMUX_STREAMS_MAX, &ops, e);
}

/* Moves at most max bytes; returns how many. */
static size_t
move(struct end *from, struct end *to, size_t max)
{
	size_t total = 0, n;
	const uint8_t *p;

	while (total < max && (n = sess_output(from->s, &p)) > 0) {
		uint8_t buf[4096];

		n = n < max - total ? n : max - total;
		n = n < sizeof(buf) ? n : sizeof(buf);
		memcpy(buf, p, n);
		sess_drained(from->s, n);
		total += n;
		if (to != NULL && sess_input(to->s, buf, n) < 0)
			break;
	}
	return total;
}

static void
settle(struct end *c, struct end *s)
{
	while (move(c, s, SIZE_MAX) + move(s, c, SIZE_MAX) > 0)
		continue;
}

/* A whole exchange: hello, a stream, a question, its answer. */
static void
exchange(struct end *c, struct end *s)
{
	struct ystream *st = NULL;

	settle(c, s);
	t_eq(c->ups, 1);
	if (sess_yamux(c->s) == NULL)
		return;
	t_eq(ystream_open(sess_yamux(c->s), &st), 0);
	ystream_set_arg(st, c);
	t_eq(ystream_write(st, "question", 8), 8);
	settle(c, s);
	t_mem(c->got, c->gotlen, "ANSWER", 6);
}

static void
test_exchange(void)
{
	struct end c, s;

	client_new(&c, 1);
	server_new(&s);
	exchange(&c, &s);
	t_eq(s.ups, 1);
	t_eq(s.downs, 0);
	sess_free(c.s);
	sess_free(s.s);
}

/*
 * The client dies after its n-th byte, for every n of an exchange but the
 * inside of the long run of zeros, and the next one must get through; the
 * server had also sent only a part of what it had to say.
 */
static size_t
cut_once(size_t cut, size_t back)
{
	struct ystream *st = NULL;
	struct end a, b, s;
	size_t n;

	client_new(&a, 1);
	server_new(&s);
	n = move(&a, &s, cut);
	if (n == cut)
		goto second;
	(void)move(&s, &a, SIZE_MAX);
	if (sess_yamux(a.s) == NULL || ystream_open(sess_yamux(a.s), &st) < 0)
		goto second;
	ystream_set_arg(st, &a);
	(void)ystream_write(st, "question", 8);
	ystream_fin(st);
	n += move(&a, &s, cut - n);
second:
	(void)move(&s, NULL, back); /* reached nobody, or half a frame */
	client_new(&b, 2);
	s.gotlen = 0;
	exchange(&b, &s);
	/* a cut inside a frame ends with zeros, never with old data late */
	t_true(s.gotlen >= 8);
	t_mem(s.got + s.gotlen - 8, 8, "question", 8);
	t_true(s.downs <= s.ups);
	sess_free(a.s);
	sess_free(b.s);
	sess_free(s.s);
	return n;
}

static void
test_cuts(void)
{
	size_t cut, back;

	for (back = 0; back < 40; back += 13) {
		for (cut = 0; cut < SESS_ZEROS + 200; cut++) {
			if (cut == 30)
				cut = SESS_ZEROS - 20;
			if (cut_once(cut, back) < cut)
				break; /* past the exchange's end */
		}
		t_true(cut > SESS_ZEROS + SESS_HELLO + 30);
	}
}

/*
 * The client dies in the largest frame there is, at each byte of its header:
 * the zeros complete the header, are the payload, and must still suffice for
 * a header that no frame has.
 */
static void
test_cut_in_largest(void)
{
	static const uint8_t syn[YAMUX_HDR] = { 0, 1, 0, 1, 0, 0, 0, 1 };
	static const uint8_t data[YAMUX_HDR] = { 0, 0, 0, 0, 0, 0, 0, 1, 0, 1,
		0, 0 };
	struct end a, b, s;
	size_t cut;

	for (cut = 1; cut <= sizeof(data); cut++) {
		client_new(&a, 1);
		client_new(&b, 2);
		server_new(&s);
		settle(&a, &s);
		t_eq(sess_input(s.s, syn, sizeof(syn)), 0);
		t_eq(sess_input(s.s, data, cut), 0);
		exchange(&b, &s);
		t_eq(s.gone, 1);
		t_eq(s.downs, 1);
		sess_free(a.s);
		sess_free(b.s);
		sess_free(s.s);
	}
}

static const struct {
	const char *name, *bytes;
	size_t len;
} junk[] = {
	{ "text", "GET / HTTP/1.1\r\n\r\n", 18 },
	{ "a hello without its zeros", "MEWSHELO\0\0\0\1AAAAAAAAAAAAAAAA", 28 },
	{ "half a hello", "MEWSHELO\0\0\0\1AAAA", 16 },
	{ "a wrong letter", "MEWSHELP\0\0\0\1AAAAAAAAAAAAAAAA", 28 },
	{ "another version", "MEWSHELO\0\0\0\2AAAAAAAAAAAAAAAA", 28 },
	{ "a few zeros", "\0\0\0\0\0", 5 },
	{ "ones", "\377\377\377\377\377\377\377\377\377\377\377\377\377", 13 },
	{ "a frame that breaks a rule", "\0\11\0\0\0\0\0\1\0\0\0\0", 12 },
};

/* Whatever came before, fresh or in a session, a client gets through. */
static void
test_junk(void)
{
	struct end a, b, s;
	size_t i;

	for (i = 0; i < 2 * nitems(junk); i++) {
		t_row(junk[i / 2].name);
		client_new(&a, 1);
		client_new(&b, 2);
		server_new(&s);
		if (i % 2)
			exchange(&a, &s);
		t_eq(sess_input(s.s, junk[i / 2].bytes, junk[i / 2].len), 0);
		exchange(&b, &s);
		sess_free(a.s);
		sess_free(b.s);
		sess_free(s.s);
	}
}

/*
 * Framing is lost while a stranger's payload comes in, which holds as many
 * zeros as a client's frame can carry and then a hello: it is not believed.
 */
static void
test_no_spoof(void)
{
	static const uint8_t bad[YAMUX_HDR] = { 7 };
	static uint8_t payload[YAMUX_CHUNK];
	struct end a, s;
	int i;

	client_new(&a, 1);
	server_new(&s);
	settle(&a, &s);
	t_eq(sess_input(s.s, bad, sizeof(bad)), 0);
	t_eq(s.ups, 1);
	for (i = 0; i < 3; i++) {
		t_eq(sess_input(s.s, payload, sizeof(payload)), 0);
		t_eq(sess_input(s.s, "\0\0\0\0\0\0\0\1\0\0\100\0", 12), 0);
		t_eq(
		    sess_input(s.s, "MEWSHELO\0\0\0\1AAAAAAAAAAAAAAAA", 28), 0);
	}
	t_eq(s.ups, 1);
	sess_free(a.s);
	sess_free(s.s);
}

static void
test_stale_answer(void)
{
	struct end c;

	client_new(&c, 1);
	t_row("another nonce");
	t_eq(sess_input(c.s, "MEWSHELO\0\0\0\1AAAAAAAAAAAAAAAA", 28), 0);
	t_eq(c.ups, 0);
	t_row("another version");
	t_eq(sess_input(c.s, "MEWSHELO\0\0\0\2", 12), 0);
	t_eq(sess_input(
		 c.s, "\37\40\41\42\43\44\45\46\47\50\51\52\53\54\55\56", 16),
	    -EPROTONOSUPPORT);
	sess_free(c.s);
}

const struct t_case t_cases[] = { { "exchange", test_exchange },
	{ "cut at every byte", test_cuts },
	{ "cut in the largest frame", test_cut_in_largest },
	{ "junk first", test_junk }, { "no spoofed hello", test_no_spoof },
	{ "stale answer", test_stale_answer }, { NULL, NULL } };
