#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "apid/outbuf.h"
#include "common/util.h"
#include "tests/suite/t.h"

/* Bytes on their way out, to a socket that is played. */
static struct {
	int err[4]; /* of the nth call; 0: it takes what it takes */
	unsigned int calls;
	size_t takes; /* at most, of one */
	uint8_t got[4096];
	size_t n;
} play;

ssize_t
send(int fd, const void *p, size_t n, int flags)
{
	t_eq(fd, 7);
	t_eq(flags, MSG_NOSIGNAL | MSG_DONTWAIT);
	t_true(play.calls < nitems(play.err));
	errno = play.err[play.calls++];
	if (errno != 0)
		return -1;
	if (n > play.takes)
		n = play.takes;
	memcpy(play.got + play.n, p, n);
	play.n += n;
	return (ssize_t)n;
}

static struct outbuf o;
static long blocks;

static void
begin(void)
{
	blocks = t_live();
	memset(&play, 0, sizeof(play));
	memset(&o, 0, sizeof(o));
	play.takes = sizeof(play.got);
}

static void
end(void)
{
	outbuf_clear(&o);
	t_true(o.p == NULL);
	t_eq(o.cap, 0);
	t_eq(outbuf_left(&o), 0);
	t_eq(t_live(), blocks);
}

/* It has a kilobyte, then twice as much, then 64 more, as what waits is. */
static void
test_room(void)
{
	static const struct {
		size_t n, cap;
	} rows[] = {
		{ 1, 1024 },
		{ 1024, 1024 },
		{ 1025, 2048 },
		{ 65536, 65536 },
		{ 65537, 131072 },
		{ 131073, 196608 },
		{ OUTBUF_MAX, OUTBUF_MAX },
	};
	static uint8_t bytes[OUTBUF_MAX];
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		begin();
		t_eq(outbuf_add(&o, bytes, rows[i].n), 0);
		t_eq(o.cap, rows[i].cap);
		t_eq(outbuf_left(&o), rows[i].n);
		end();
	}
	begin();
	t_eq(outbuf_add(&o, NULL, 0), 0);
	t_true(o.p == NULL);
	t_eq(outbuf_add(&o, bytes, OUTBUF_MAX + 1), -ENOMEM);
	t_eq(outbuf_add(&o, bytes, SIZE_MAX), -ENOMEM);
	t_true(o.p == NULL);
	t_eq(outbuf_add(&o, bytes, OUTBUF_MAX), 0);
	t_eq(outbuf_add(&o, bytes, 1), -ENOMEM);
	t_eq(outbuf_add(&o, bytes, SIZE_MAX), -ENOMEM);
	t_eq(outbuf_left(&o), OUTBUF_MAX);
	end();
}

/* What fits is added where it is; what does not, takes along what waits. */
static void
test_add(void)
{
	static uint8_t bytes[1024];
	const uint8_t *was;

	begin();
	t_eq(outbuf_add(&o, "a", 1), 0);
	was = o.p;
	memset(bytes, 'b', sizeof(bytes));
	t_eq(outbuf_add(&o, bytes, 1023), 0);
	t_true(o.p == was);
	t_eq(o.cap, 1024);
	t_eq(o.p[0], 'a');
	t_eq(o.p[1023], 'b');
	end();
	begin();
	t_eq(outbuf_add(&o, "a", 1), 0);
	t_eq(outbuf_add(&o, bytes, 1024), 0); /* one moves */
	t_eq(o.p[0], 'a');
	t_eq(o.p[1], 'b');
	t_eq(outbuf_left(&o), 1025);
	t_fail_alloc(1);
	t_eq(outbuf_add(&o, bytes, 1024), -ENOMEM);
	t_eq(outbuf_left(&o), 1025);
	t_eq(o.p[0], 'a');
	end();
}

/* Only what waits is moved, and nothing is left behind. */
static void
test_secret(void)
{
	static const char secret[] = "SECRET=of-a-vm";
	static uint8_t bytes[1024];
	char word[sizeof(secret)];

	memcpy(word, secret, sizeof(secret));
	begin();
	t_secret(secret, sizeof(secret));
	t_eq(outbuf_add(&o, word, sizeof(word)), 0);
	t_eq(outbuf_add(&o, bytes, sizeof(bytes)), 0);
	t_true(!t_spilled());
	t_mem(o.p, sizeof(word), secret, sizeof(secret));
	outbuf_clear(&o);
	t_true(!t_spilled());
	t_eq(outbuf_add(&o, word, sizeof(word)), 0);
	t_eq(outbuf_send(&o, 7), 0);
	t_true(!t_spilled());
	end();
}

/* As much as the socket takes, from where it stopped. */
static void
test_send(void)
{
	static uint8_t bytes[1024];

	begin();
	t_eq(outbuf_send(&o, 7), 0); /* nothing waits */
	t_eq(play.calls, 0);
	t_eq(outbuf_add(&o, "abcdef", 6), 0);
	play.takes = 2;
	play.err[1] = EINTR;
	play.err[3] = EAGAIN;
	t_eq(outbuf_send(&o, 7), -EAGAIN);
	t_mem(play.got, play.n, "abcd", 4);
	t_eq(outbuf_left(&o), 2);
	memset(bytes, 'x', sizeof(bytes));
	t_eq(outbuf_add(&o, bytes, 1024), 0);
	t_eq(outbuf_left(&o), 1026);
	t_eq(o.cap, 2048); /* what was sent takes no room */
	play.calls = 0;
	play.n = 0;
	memset(play.err, 0, sizeof(play.err));
	play.takes = sizeof(play.got);
	t_eq(outbuf_send(&o, 7), 0);
	t_eq(play.n, 1026);
	t_mem(play.got, 3, "efx", 3);
	t_true(o.p == NULL); /* an idle connection holds no memory */
	t_eq(outbuf_add(&o, "a", 1), 0);
	play.calls = 0;
	play.err[0] = EPIPE;
	t_eq(outbuf_send(&o, 7), -EPIPE);
	end();
}

const struct t_case t_cases[] = { { "room", test_room },
	{ "what is added", test_add }, { "secrets", test_secret },
	{ "what is sent", test_send }, { NULL, NULL } };
