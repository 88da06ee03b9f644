#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/sess.h"

/*
 * Resync: whatever bytes a former client left in the port, cut wherever it
 * died, the next one gets a session and an answer.  The first byte says
 * whether the server had a session before, how pieces are cut, and whether
 * anybody took what the server had to say.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FIRST_ID 1

struct end {
	struct sess *s;
	struct ystream *own; /* the client's question */
	int ups, downs;
	size_t got;
};

static int
on_open(void *arg, struct ystream *s)
{
	ystream_set_arg(s, arg);
	return 0;
}

static void
on_event(void *arg, struct ystream *s, unsigned int ev)
{
	struct end *e = arg;
	const uint8_t *p;
	size_t n;

	if (ev & YS_GONE) {
		if (s == e->own)
			e->own = NULL;
		ystream_free(s);
		return;
	}
	n = ystream_peek(s, &p);
	if (e->own == NULL)
		(void)ystream_write(s, p, n); /* the server echoes */
	else
		e->got += n;
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

	if (++e->downs > e->ups)
		abort();
}

static const struct sess_ops ops = { { on_open, on_event }, on_up, on_down };

static size_t
move(struct end *from, struct end *to)
{
	const uint8_t *p;
	size_t n, total = 0;

	while ((n = sess_output(from->s, &p)) > 0) {
		uint8_t buf[4096];

		n = n < sizeof(buf) ? n : sizeof(buf);
		memcpy(buf, p, n);
		sess_drained(from->s, n);
		total += n;
		if (to != NULL && sess_input(to->s, buf, n) < 0)
			abort();
	}
	return total;
}

/* Up, a stream, a question, its echo: or the channel is lost for good. */
static void
must_work(struct end *server, uint8_t seed)
{
	struct end c = { 0 };
	uint8_t nonce[SESS_NONCE];

	memset(nonce, seed, sizeof(nonce));
	if ((c.s = sess_new(nonce, 0, &ops, &c)) == NULL)
		return;
	while (move(&c, server) + move(server, &c) > 0)
		continue;
	if (sess_yamux(c.s) == NULL ||
	    ystream_open(sess_yamux(c.s), &c.own) < 0)
		abort();
	ystream_set_arg(c.own, &c);
	(void)ystream_write(c.own, "question", 8);
	while (move(&c, server) + move(server, &c) > 0)
		continue;
	if (c.got != 8)
		abort();
	sess_free(c.s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct end server = { 0 };
	size_t step, n;
	uint8_t mode;

	if (len < 2)
		return 0;
	mode = data[0];
	step = (size_t)data[1] + 1;
	server.s = sess_new(NULL, YAMUX_STREAMS_MAX, &ops, &server);
	if (server.s == NULL)
		return 0;
	if (mode & 1)
		must_work(&server, 0xaa);
	for (data += 2, len -= 2; len > 0; data += n, len -= n) {
		n = len < step ? len : step;
		/* a server survives whatever comes */
		if (sess_input(server.s, data, n) < 0)
			abort();
		if (mode & 2)
			(void)move(&server, NULL);
	}
	must_work(&server, 0xbb);
	sess_free(server.s);
	return 0;
}
