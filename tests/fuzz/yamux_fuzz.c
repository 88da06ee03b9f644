#include <stdint.h>
#include <stdlib.h>

#include "common/sess.h"

/*
 * A hostile peer of either side.  The first byte says which side we are and
 * what our user does with streams; the second cuts the rest into pieces.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct user {
	uint8_t mode;
	struct yamux *mux;
};

static void
on_event(void *arg, struct ystream *s, unsigned int ev)
{
	struct user *u = arg;
	const uint8_t *p;
	size_t n;

	if (ev & YS_GONE) {
		ystream_free(s);
		return;
	}
	n = ystream_peek(s, &p);
	if (u->mode & 2)
		(void)ystream_write(s, p, n); /* echo */
	if (u->mode & 4)
		ystream_consume(s, n);
	if (ystream_is_eof(s))
		ystream_fin(s);
	if ((u->mode & 8) && n > 3)
		ystream_free(s);
}

static int
on_open(void *arg, struct ystream *s)
{
	struct user *u = arg;

	ystream_set_arg(s, u);
	return (u->mode & 16) ? -1 : 0;
}

static void
on_up(void *arg, struct yamux *y)
{
	struct user *u = arg;
	struct ystream *s;
	int i;

	u->mux = y;
	for (i = 0; i < 3 && ystream_open(y, &s) == 0; i++) {
		ystream_set_arg(s, u);
		(void)ystream_write(s, "CONNECT 1024\n", 13);
	}
}

static void
on_down(void *arg)
{
	struct user *u = arg;

	u->mux = NULL;
}

static const struct sess_ops ops = { { on_open, on_event }, on_up, on_down };

static void
drain(struct sess *s, size_t max)
{
	const uint8_t *p;
	size_t n, total = 0;

	while (total < max && (n = sess_output(s, &p)) > 0) {
		n = n < max - total ? n : max - total;
		sess_drained(s, n);
		total += n;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t nonce[SESS_NONCE] = "0123456789abcde";
	/* the answer, so that the fuzzer starts behind the hello */
	static const uint8_t hello[] = "MEWSHELO\0\0\0\1"
				       "0123456789abcde";
	struct user u = { 0 };
	struct sess *s;
	size_t step, n;

	if (size < 2)
		return 0;
	u.mode = data[0];
	step = (size_t)data[1] + 1;
	data += 2;
	size -= 2;
	s = sess_new((u.mode & 1) ? nonce : NULL, 8, &ops, &u);
	if (s == NULL)
		return 0;
	drain(s, SIZE_MAX);
	if (!(u.mode & 32))
		(void)sess_input(s, hello, sizeof(hello));
	while (size > 0) {
		n = size < step ? size : step;
		if (sess_input(s, data, n) < 0)
			break;
		data += n;
		size -= n;
		if (!(u.mode & 64))
			drain(s, step * 4);
	}
	sess_free(s);
	return 0;
}
