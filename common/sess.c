#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/sess.h"

static const char magic[8] = { 'M', 'E', 'W', 'S', 'H', 'E', 'L', 'O' };
static const uint8_t zero_block[4096];

enum sess_state {
	S_ANSWER, /* client: waits for the server's hello */
	S_ZEROS, /* server: skips zeros until a hello begins */
	S_HELLO, /* server: inside a hello */
	S_UP, /* both: yamux */
	S_LOST, /* server: framing is lost, waits for many zeros */
};

struct sess {
	const struct sess_ops *ops;
	void *arg;
	struct yamux *mux;
	size_t accept_max;
	enum sess_state state;
	bool is_client;
	uint8_t in[SESS_HELLO]; /* client: the last bytes; server: the hello */
	size_t inlen;
	size_t nzeros; /* server, lost: zeros in a row */
	/* output before yamux's: zeros, then hello */
	size_t zeros_left;
	uint8_t hello[SESS_HELLO];
	size_t hello_off, hello_len;
};

static void
make_hello(struct sess *s, const uint8_t *nonce)
{
	const uint8_t version[4] = { 0, 0, 0, SESS_VERSION };

	memcpy(s->hello, magic, sizeof(magic));
	memcpy(s->hello + 8, version, sizeof(version));
	memcpy(s->hello + 12, nonce, SESS_NONCE);
	s->hello_off = 0;
	s->hello_len = SESS_HELLO;
}

static bool
is_our_version(const uint8_t *hello)
{
	static const uint8_t version[4] = { 0, 0, 0, SESS_VERSION };

	return memcmp(hello + 8, version, sizeof(version)) == 0;
}

struct sess *
sess_new(const uint8_t *nonce, size_t accept_max, const struct sess_ops *ops,
    void *arg)
{
	struct sess *s;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	s->ops = ops;
	s->arg = arg;
	s->accept_max = accept_max;
	s->is_client = nonce != NULL;
	/* a server just born has seen no byte: a hello may come at once */
	s->state = s->is_client ? S_ANSWER : S_ZEROS;
	if (s->is_client) {
		s->zeros_left = SESS_ZEROS;
		make_hello(s, nonce);
	}
	return s;
}

void
sess_free(struct sess *s)
{
	if (s == NULL)
		return;
	yamux_free(s->mux);
	free(s);
}

struct yamux *
sess_yamux(const struct sess *s)
{
	return s->state == S_UP ? s->mux : NULL;
}

static int
sess_up(struct sess *s)
{
	assert(s->mux == NULL);
	s->mux = yamux_new(s->is_client ? YAMUX_CLIENT : YAMUX_SERVER,
	    s->accept_max, &s->ops->mux, s->arg);
	if (s->mux == NULL)
		return -ENOMEM;
	yamux_bound(s->mux, SESS_AHEAD);
	s->state = S_UP;
	s->ops->up(s->arg, s->mux);
	return 0;
}

/* Client: everything before the exact answer is a former session's. */
static int
in_answer(struct sess *s, const uint8_t *p, size_t len, size_t *used)
{
	for (*used = 0; *used < len;) {
		memmove(s->in, s->in + 1, SESS_HELLO - 1);
		s->in[SESS_HELLO - 1] = p[(*used)++];
		if (memcmp(s->in, magic, sizeof(magic)) != 0 ||
		    memcmp(s->in + 12, s->hello + 12, SESS_NONCE) != 0)
			continue;
		if (!is_our_version(s->in))
			return -EPROTONOSUPPORT;
		return sess_up(s);
	}
	return 0;
}

static void
go_lost(struct sess *s)
{
	s->state = S_LOST;
	s->nzeros = 0;
}

/* Server: the end of everything a former client left here. */
static void
go_reset(struct sess *s)
{
	bool was_up = s->mux != NULL;

	s->state = S_ZEROS;
	s->inlen = 0;
	s->hello_off = s->hello_len = 0;
	yamux_free(s->mux);
	s->mux = NULL;
	if (was_up)
		s->ops->down(s->arg);
}

static int
in_zeros(struct sess *s, const uint8_t *p, size_t len, size_t *used)
{
	for (*used = 0; *used < len; (*used)++) {
		if (p[*used] != 0) {
			s->inlen = 0;
			s->state = S_HELLO;
			return 0;
		}
	}
	return 0;
}

static int
in_hello(struct sess *s, const uint8_t *p, size_t len, size_t *used)
{
	for (*used = 0; *used < len && s->inlen < SESS_HELLO; (*used)++) {
		uint8_t c = p[*used];

		if (s->inlen < sizeof(magic) && c != (uint8_t)magic[s->inlen]) {
			go_lost(s); /* and look at this byte again there */
			return 0;
		}
		s->in[s->inlen++] = c;
	}
	if (s->inlen < SESS_HELLO)
		return 0;
	make_hello(s, s->in + 12);
	if (is_our_version(s->in))
		return sess_up(s);
	go_lost(s);
	return 0;
}

static int
in_lost(struct sess *s, const uint8_t *p, size_t len, size_t *used)
{
	for (*used = 0; *used < len; (*used)++) {
		s->nzeros = p[*used] == 0 ? s->nzeros + 1 : 0;
		if (s->nzeros >= SESS_LOST_ZEROS) {
			go_reset(s);
			return 0;
		}
	}
	return 0;
}

static int
in_up(struct sess *s, const uint8_t *p, size_t len, size_t *used)
{
	int r = yamux_input(s->mux, p, len, used);

	if (r == 0 || s->is_client)
		return r;
	if (r == -ESTALE)
		go_reset(s);
	else
		go_lost(s); /* its GOAWAY may still be drained */
	return 0;
}

int
sess_input(struct sess *s, const void *buf, size_t len)
{
	static int (*const by_state[])(
	    struct sess *, const uint8_t *, size_t, size_t *) = {
		[S_ANSWER] = in_answer,
		[S_ZEROS] = in_zeros,
		[S_HELLO] = in_hello,
		[S_UP] = in_up,
		[S_LOST] = in_lost,
	};
	const uint8_t *p = buf;

	while (len > 0) {
		size_t used = 0;
		int r;

		r = by_state[s->state](s, p, len, &used);
		if (r < 0)
			return r;
		p += used;
		len -= used;
	}
	return 0;
}

size_t
sess_output(const struct sess *s, const uint8_t **p)
{
	if (s->zeros_left > 0) {
		*p = zero_block;
		return s->zeros_left < sizeof(zero_block) ? s->zeros_left
							  : sizeof(zero_block);
	}
	if (s->hello_off < s->hello_len) {
		*p = s->hello + s->hello_off;
		return s->hello_len - s->hello_off;
	}
	if (s->mux != NULL)
		return yamux_output(s->mux, p);
	*p = NULL;
	return 0;
}

void
sess_drained(struct sess *s, size_t n)
{
	if (s->zeros_left > 0) {
		assert(n <= s->zeros_left);
		s->zeros_left -= n;
	} else if (s->hello_off < s->hello_len) {
		assert(n <= s->hello_len - s->hello_off);
		s->hello_off += n;
	} else if (s->mux != NULL) {
		yamux_drained(s->mux, n);
	}
}
