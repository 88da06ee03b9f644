#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/duct.h"
#include "common/sockq.h"
#include "common/yamux.h"
#include "tests/suite/t.h"

static unsigned int arms, releases;

static void
on_event(void *arg, unsigned int ev)
{
	(void)arg;
	(void)ev;
}

static void
on_arm(struct sockq *q)
{
	(void)q;
	arms++;
}

static void
on_release(struct sockq *q)
{
	releases++;
	sockq_clear(q);
}

static const struct sockq_ops ops = { on_event, on_arm, on_release };

/* One end as a duct's, the other plain; small buffers in the kernel. */
static struct duct
open_pair(struct sockq *q, int *peer)
{
	const int small = 4096;
	struct duct d = { NULL, q };
	int sv[2] = { -1, -1 };

	t_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	(void)setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	t_eq(sockq_init(q, sv[0], &ops), 0);
	*peer = sv[1];
	return d;
}

static void
test_there_and_back(void)
{
	struct sockq q = { 0 };
	const uint8_t *p;
	char buf[16];
	int peer;
	struct duct d = open_pair(&q, &peer);

	t_true(duct_is_open(&d));
	t_eq(sockq_wants(&q), SOCKQ_RD);
	t_eq(duct_write(&d, "there", 5), 5);
	t_eq(read(peer, buf, sizeof(buf)), 5);
	t_eq(duct_peek(&d, &p), 0);
	t_eq(write(peer, "back", 4), 4);
	t_eq(sockq_io(&q, SOCKQ_RD), YS_READ);
	t_eq(duct_peek(&d, &p), 4);
	t_eq(memcmp(p, "back", 4), 0);
	duct_consume(&d, 1);
	t_eq(duct_peek(&d, &p), 3);
	t_eq(memcmp(p, "ack", 3), 0);
	/* what is left stands before what comes */
	t_eq(write(peer, "!", 1), 1);
	t_eq(sockq_io(&q, SOCKQ_RD), YS_READ);
	t_eq(duct_peek(&d, &p), 4);
	t_eq(memcmp(p, "ack!", 4), 0);
	t_true(!duct_is_eof(&d));
	t_eq(shutdown(peer, SHUT_WR), 0);
	t_eq(sockq_io(&q, SOCKQ_RD), YS_READ);
	t_true(!duct_is_eof(&d)); /* four bytes are not read yet */
	duct_consume(&d, 4);
	t_true(duct_is_eof(&d));
	t_eq(sockq_wants(&q), 0);
	releases = 0;
	duct_close(&d);
	t_eq(releases, 1);
	t_true(!duct_is_open(&d));
	duct_close(&d);
	t_eq(releases, 1);
	t_eq(read(peer, buf, sizeof(buf)), 0);
	(void)close(peer);
}

/* A peer that does not read holds the writer, byte for byte. */
static void
test_held(void)
{
	static uint8_t out[SOCKQ_OUT * 4], in[sizeof(out)];
	struct sockq q = { 0 };
	size_t sent = 0, got = 0, n, i;
	int peer;
	struct duct d = open_pair(&q, &peer);

	for (i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + i / 256);
	do {
		n = duct_write(&d, out + sent, sizeof(out) - sent);
		sent += n;
	} while (n > 0 && sent < sizeof(out));
	t_true(sent < sizeof(out));
	t_eq(duct_room(&d), 0);
	t_eq(sockq_wants(&q), SOCKQ_RD | SOCKQ_WR);
	t_eq(sockq_io(&q, SOCKQ_WR), 0); /* no room yet: nothing to tell */
	while (got < sizeof(out)) {
		ssize_t r = read(peer, in + got, sizeof(in) - got);

		if (r > 0)
			got += (size_t)r;
		else if (sent == sizeof(out) && sockq_wants(&q) == SOCKQ_RD)
			break; /* nothing is on its way, nothing waits */
		else if (sockq_io(&q, SOCKQ_WR) == YS_WRITE)
			sent += duct_write(&d, out + sent, sizeof(out) - sent);
	}
	t_eq(got, sizeof(out));
	t_eq(memcmp(in, out, sizeof(out)), 0);
	t_eq(sockq_wants(&q) & SOCKQ_WR, 0);
	duct_close(&d);
	(void)close(peer);
}

/* A reader that does not consume holds the peer. */
static void
test_unread(void)
{
	static uint8_t big[SOCKQ_IN * 2];
	struct sockq q = { 0 };
	const uint8_t *p;
	int peer;
	struct duct d = open_pair(&q, &peer);

	while (write(peer, big, sizeof(big)) > 0)
		;
	while ((sockq_wants(&q) & SOCKQ_RD) != 0)
		t_eq(sockq_io(&q, SOCKQ_RD), YS_READ);
	t_eq(duct_peek(&d, &p), SOCKQ_IN);
	t_eq(sockq_io(&q, SOCKQ_RD), 0);
	arms = 0;
	duct_consume(&d, 1);
	t_eq(arms, 1);
	t_eq(sockq_wants(&q), SOCKQ_RD);
	duct_close(&d);
	(void)close(peer);
}

/* fin goes after what waits; nothing is taken behind it. */
static void
test_fin(void)
{
	static uint8_t big[SOCKQ_OUT];
	struct sockq q = { 0 };
	size_t got = 0, sent;
	ssize_t r;
	int peer;
	struct duct d = open_pair(&q, &peer);

	sent = duct_write(&d, big, sizeof(big));
	sent += duct_write(&d, big, sizeof(big));
	duct_fin(&d);
	t_eq(duct_write(&d, "x", 1), 0);
	t_eq(duct_room(&d), 0);
	for (;;) {
		r = read(peer, big, sizeof(big));
		if (r == 0)
			break;
		if (r > 0)
			got += (size_t)r;
		else
			t_eq(sockq_io(&q, SOCKQ_WR), 0);
	}
	t_eq(got, sent);
	duct_close(&d);
	(void)close(peer);
}

static void
test_gone(void)
{
	struct sockq q = { 0 };
	const uint8_t *p;
	char buf[8];
	int peer;
	struct duct d = open_pair(&q, &peer);

	/* its last words are heard even by who still writes to it */
	t_eq(write(peer, "bye", 3), 3);
	(void)close(peer);
	t_eq(duct_write(&d, "x", 1), 1);
	t_eq(duct_write(&d, "x", 1), 1);
	t_eq(sockq_wants(&q), SOCKQ_RD);
	t_eq(sockq_io(&q, SOCKQ_RD), YS_READ);
	t_eq(duct_peek(&d, &p), 3);
	duct_consume(&d, 3);
	t_eq(sockq_io(&q, SOCKQ_RD), YS_READ);
	t_true(duct_is_eof(&d));
	duct_close(&d);

	/* where nobody ends one half only, an end is the end */
	d = open_pair(&q, &peer);
	q.eof_is_gone = true;
	t_eq(shutdown(peer, SHUT_WR), 0);
	t_eq(sockq_io(&q, SOCKQ_RD), YS_GONE);
	duct_close(&d);
	(void)close(peer);

	d = open_pair(&q, &peer);
	t_eq(write(peer, "unread", 6), 6);
	t_eq(sockq_hup(&q), YS_GONE);
	t_eq(sockq_io(&q, SOCKQ_RD), YS_GONE);
	duct_close(&d);
	t_eq(read(peer, buf, sizeof(buf)) <= 0, 1);
	(void)close(peer);
}

/* Each of its allocations fails once: the descriptor stays the caller's. */
static void
test_alloc(void)
{
	struct sockq q = { 0 };
	unsigned int nth;
	int sv[2] = { -1, -1 };

	for (nth = 1; nth <= 2; nth++) {
		t_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
		t_fail_alloc(nth);
		t_eq(sockq_init(&q, sv[0], &ops), -ENOMEM);
		t_true(t_alloc_failed());
		t_fail_alloc(0);
		t_eq(close(sv[0]), 0);
		t_eq(close(sv[1]), 0);
	}
}

const struct t_case t_cases[] = { { "socket: there and back",
				      test_there_and_back },
	{ "socket: a peer that does not read", test_held },
	{ "socket: a reader that does not consume", test_unread },
	{ "socket: fin", test_fin }, { "socket: gone", test_gone },
	{ "socket: allocations", test_alloc }, { NULL, NULL } };
