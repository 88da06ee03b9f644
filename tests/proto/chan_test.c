#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/util.h"
#include "proto/chan.h"
#include "tests/suite/t.h"

enum { T_PLAIN = 1, T_FD, T_TAIL, T_LATER, T_CHECKED, T_FREE, T_BAD, T_GONE };

struct body {
	uint64_t v;
};

struct side {
	struct event_base *base;
	struct chan *c;
	unsigned int handled;
	unsigned int gone;
	char why[128];
};

static int
on_any(void *arg, struct chan *c, struct msg *m)
{
	struct side *s = arg;

	(void)c;
	s->handled++;
	if (m->type == T_GONE)
		return -EPIPE; /* as chan_send() said to the answer */
	return m->type == T_BAD ? -EINVAL : 0;
}

static int
on_free(void *arg, struct chan *c, struct msg *m)
{
	struct side *s = arg;

	(void)m;
	s->handled++;
	chan_free(c); /* allowed inside a handler */
	s->c = NULL;
	return 0;
}

static int
check_even(const void *p)
{
	struct body b;

	memcpy(&b, p, sizeof(b));
	return b.v % 2 == 0 ? 0 : -EINVAL;
}

static void
on_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct side *s = arg;

	(void)end;
	(void)c;
	s->gone++;
	(void)strncat(s->why, why, sizeof(s->why) - 1);
	(void)event_base_loopbreak(s->base);
}

#define PH_ONE 1U
#define PH_TWO 2U
static const struct msg_handler handlers[] = {
	{ T_PLAIN, sizeof(struct body), 0, 0, PH_ANY, NULL, on_any },
	{ T_FD, sizeof(struct body), 0, 1, PH_ANY, NULL, on_any },
	{ T_TAIL, sizeof(struct body), 16, 0, PH_ANY, NULL, on_any },
	{ T_LATER, 0, 0, 0, PH_TWO, NULL, on_any },
	{ T_CHECKED, sizeof(struct body), 0, 0, PH_ANY, check_even, on_any },
	{ T_FREE, 0, 0, 0, PH_ANY, NULL, on_free },
	{ T_BAD, 0, 0, 0, PH_ANY, NULL, on_any },
	{ T_GONE, 0, 0, 0, PH_ANY, NULL, on_any },
};
static const struct chan_ops ops = { handlers, nitems(handlers), on_gone };

/* What a peer may put on the wire, and what must come of it. */
static const struct {
	const char *name;
	uint32_t type;
	size_t len; /* payload sent */
	uint32_t say; /* payload length the header claims */
	uint64_t v;
	int nfds;
	unsigned int handled;
	const char *why; /* NULL: accepted */
} rows[] = {
	{ "plain", T_PLAIN, 8, 8, 0, 0, 1, NULL },
	{ "one descriptor", T_FD, 8, 8, 0, 1, 1, NULL },
	{ "tail", T_TAIL, 24, 24, 0, 0, 1, NULL },
	{ "check passes", T_CHECKED, 8, 8, 4, 0, 1, NULL },
	{ "unknown type", 99, 8, 8, 0, 0, 0,
	    "message 0x0063: not yours to send" },
	{ "short", T_PLAIN, 7, 7, 0, 0, 0, "message 0x0001: wrong size" },
	{ "long", T_PLAIN, 9, 9, 0, 0, 0, "message 0x0001: wrong size" },
	{ "tail too long", T_TAIL, 25, 25, 0, 0, 0,
	    "message 0x0003: wrong size" },
	{ "length lies", T_PLAIN, 8, 7, 0, 0, 0, "malformed packet" },
	{ "length lies far", T_PLAIN, 8, 0xffffffff, 0, 0, 0,
	    "malformed packet" },
	{ "no descriptor", T_FD, 8, 8, 0, 0, 0,
	    "message 0x0002: wrong descriptors" },
	{ "unwanted descriptor", T_PLAIN, 8, 8, 0, 1, 0,
	    "message 0x0001: wrong descriptors" },
	{ "two descriptors", T_FD, 8, 8, 0, 2, 0, "malformed packet" },
	{ "wrong phase", T_LATER, 0, 0, 0, 0, 0, "message 0x0004: wrong time" },
	{ "check fails", T_CHECKED, 8, 8, 5, 0, 0,
	    "message 0x0005: bad field" },
	{ "handler refuses", T_BAD, 0, 0, 0, 0, 1,
	    "message 0x0007: refused by its handler" },
	{ "gone before the answer", T_GONE, 0, 0, 0, 0, 1, "closed" },
};

static int
count_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			n++;
	}
	return n;
}

static void
send_raw(
    int sock, uint32_t type, size_t len, uint32_t say, uint64_t v, int nfds)
{
	struct {
		struct msg_hdr hdr;
		uint8_t body[64];
	} pkt = { { type, say, 1 }, { 0 } };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} ctl;
	int fds[2] = { STDIN_FILENO, STDIN_FILENO };
	struct iovec iov = { &pkt, sizeof(pkt.hdr) + len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t flen = (size_t)nfds * sizeof(int);

	memcpy(pkt.body, &v, sizeof(v));
	memset(&ctl, 0, sizeof(ctl));
	if (nfds > 0) {
		mh.msg_control = ctl.buf;
		mh.msg_controllen = CMSG_LEN(flen);
		ctl.align.cmsg_level = SOL_SOCKET;
		ctl.align.cmsg_type = SCM_RIGHTS;
		ctl.align.cmsg_len = CMSG_LEN(flen);
		memcpy(CMSG_DATA(&ctl.align), fds, flen);
	}
	t_true(sendmsg(sock, &mh, MSG_NOSIGNAL) > 0);
}

static void
open_side(struct side *s, int *peer)
{
	int sv[2];

	memset(s, 0, sizeof(*s));
	t_eq(socketpair(
		 AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv),
	    0);
	s->base = event_base_new();
	s->c = chan_new(s->base, sv[0], "peer", &ops, s);
	t_true(s->c != NULL);
	chan_set_phase(s->c, PH_ONE);
	*peer = sv[1];
}

static void
close_side(struct side *s, int *peer)
{
	chan_free(s->c);
	event_base_free(s->base);
	fd_close(peer);
}

static void
test_dispatch(void)
{
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct side s;
		int peer, before;

		t_row(rows[i].name);
		before = count_fds();
		open_side(&s, &peer);
		send_raw(peer, rows[i].type, rows[i].len, rows[i].say,
		    rows[i].v, rows[i].nfds);
		(void)event_base_loop(s.base, EVLOOP_NONBLOCK);
		t_eq(s.handled, rows[i].handled);
		t_eq(s.gone, rows[i].why == NULL ? 0 : 1);
		t_str(s.why, rows[i].why == NULL ? "" : rows[i].why);
		close_side(&s, &peer);
		t_eq(count_fds(), before); /* no descriptor is left behind */
	}
}

static void
test_end_and_empty(void)
{
	struct side s;
	int peer;

	open_side(&s, &peer);
	t_eq(send(peer, "", 0, 0), 0); /* reads like the end, so is the end */
	(void)event_base_loop(s.base, EVLOOP_NONBLOCK);
	t_eq(s.gone, 1);
	close_side(&s, &peer);

	open_side(&s, &peer);
	fd_close(&peer);
	(void)event_base_loop(s.base, EVLOOP_NONBLOCK);
	t_eq(s.gone, 1);
	t_str(s.why, "closed");
	t_eq(chan_send(s.c, T_PLAIN, 1, NULL, 0, -1), -EPIPE);
	close_side(&s, &peer);
}

static void
test_free_in_handler(void)
{
	struct side s;
	int peer;

	open_side(&s, &peer);
	send_raw(peer, T_FREE, 0, 0, 0, 0);
	send_raw(peer, T_PLAIN, 8, 8, 0, 0); /* must not be handled any more */
	(void)event_base_loop(s.base, EVLOOP_NONBLOCK);
	t_eq(s.handled, 1);
	t_eq(s.gone, 0);
	close_side(&s, &peer);
}

/* A peer that does not read: a bounded queue, then -ENOBUFS, no loss. */
static void
test_queue(void)
{
	_Alignas(8) uint8_t buf[MSG_MAX];
	struct side s;
	struct msg m;
	struct body b = { 0 };
	uint64_t sent = 0, got = 0;
	int peer, r, before = count_fds();

	open_side(&s, &peer);
	for (;;) {
		b.v = sent;
		r = chan_send(s.c, T_FD, 1, &b, sizeof(b),
		    fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
		if (r < 0)
			break;
		sent++;
	}
	t_eq(r, -ENOBUFS);
	t_eq(chan_queued(s.c), CHAN_QUEUE_MAX);
	t_eq(chan_queued_fds(s.c), CHAN_QUEUE_MAX);
	while (got < sent) {
		r = msg_recv(peer, buf, &m);
		if (r == -EAGAIN) {
			(void)event_base_loop(s.base, EVLOOP_NONBLOCK);
			continue;
		}
		t_eq(r, 0);
		if (r < 0)
			break;
		memcpy(&b, m.data, sizeof(b));
		t_eq(b.v, got);
		t_true(m.fd >= 0);
		fd_close(&m.fd);
		got++;
	}
	t_eq(chan_queued(s.c), 0);
	t_eq(chan_queued_fds(s.c), 0);
	while (chan_send(s.c, T_PLAIN, 1, &b, sizeof(b), -1) == 0)
		continue;
	t_eq(chan_queued(s.c), CHAN_QUEUE_MAX);
	t_eq(chan_queued_fds(s.c), 0);
	close_side(&s, &peer);
	t_eq(count_fds(), before);
}

static void
test_too_big(void)
{
	static const uint8_t big[MSG_MAX];
	struct side s;
	int peer;

	open_side(&s, &peer);
	t_eq(chan_send(s.c, T_PLAIN, 1, big, MSG_PAYLOAD_MAX, -1), 0);
	t_eq(chan_send(s.c, T_PLAIN, 1, big, MSG_PAYLOAD_MAX + 1, -1),
	    -EMSGSIZE);
	t_eq(chan_send2(s.c, T_PLAIN, 1, big, 8, big, MSG_PAYLOAD_MAX - 7, -1),
	    -EMSGSIZE);
	close_side(&s, &peer);
}

static void
test_wait(void)
{
	_Alignas(8) uint8_t buf[MSG_MAX];
	struct msg m;
	int sv[2];

	t_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
	t_eq(msg_wait(sv[0], buf, &m, 10), -ETIMEDOUT);
	t_eq(msg_send(sv[1], T_PLAIN, 7, "x", 1, -1), 0);
	t_eq(msg_wait(sv[0], buf, &m, 1000), 0);
	t_eq(m.id, 7);
	fd_close(&sv[1]);
	t_eq(msg_wait(sv[0], buf, &m, 1000), -ECONNRESET);
	fd_close(&sv[0]);
}

#define HELD 24 /* descriptors in flight, over FEW */
#define FEW 8
#define NOBODY 61234

struct refusal {
	int queued, writable; /* after a send that the kernel refused */
	int turns; /* of the loop in 100 ms of that */
	int arrived; /* after the cause went */
};

static long long
ms_now(void)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (long long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* One packet whose descriptors are in flight until it is dropped. */
static int
hold_fds(int sock)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(HELD * sizeof(int))];
	} ctl = { 0 };
	int fds[HELD] = { STDIN_FILENO };
	struct iovec iov = { fds, 1 };
	struct msghdr mh = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctl.buf,
		.msg_controllen = CMSG_LEN(sizeof(fds)) };

	ctl.align.cmsg_level = SOL_SOCKET;
	ctl.align.cmsg_type = SCM_RIGHTS;
	ctl.align.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&ctl.align), fds, sizeof(fds));
	return sendmsg(sock, &mh, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Root may have any number in flight, so somebody else sends. */
static struct refusal
refuse_as_nobody(void)
{
	static const struct rlimit few = { FEW, FEW };
	uint8_t buf[64];
	struct refusal r = { 0 };
	struct pollfd pfd = { .events = POLLOUT };
	struct body b = { 1 };
	struct side s;
	long long end;
	int peer, sv[2], fd;

	open_side(&s, &peer);
	fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv) < 0 ||
	    (getuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0) ||
	    setrlimit(RLIMIT_NOFILE, &few) < 0 || hold_fds(sv[0]) < 0)
		_exit(1);
	(void)chan_send(s.c, T_FD, 1, &b, sizeof(b), fd);
	r.queued = (int)chan_queued(s.c);
	pfd.fd = chan_sock(s.c);
	r.writable = poll(&pfd, 1, 0) == 1;
	for (end = ms_now() + 100; r.queued > 0 && ms_now() < end; r.turns++)
		(void)event_base_loop(s.base, EVLOOP_ONCE);
	fd_close(&sv[0]);
	fd_close(&sv[1]);
	for (end = ms_now() + 5000; chan_queued(s.c) > 0 && ms_now() < end;)
		(void)event_base_loop(s.base, EVLOOP_ONCE);
	/* without its descriptor: FEW leaves no number for it */
	r.arrived = recv(peer, buf, sizeof(buf), MSG_DONTWAIT) > 0;
	return r;
}

/* A socket that takes no more though it polls writable: no busy loop. */
static void
test_in_flight(void)
{
	struct refusal r = { 0 };
	int p[2], status;
	pid_t pid;

	t_eq(pipe(p), 0);
	if ((pid = fork()) == 0) {
		r = refuse_as_nobody();
		_exit(write(p[1], &r, sizeof(r)) == sizeof(r) ? 0 : 1);
	}
	fd_close(&p[1]);
	t_eq(read(p[0], &r, sizeof(r)), sizeof(r));
	t_eq(waitpid(pid, &status, 0), pid);
	t_eq(status, 0);
	t_eq(r.queued, 1);
	t_eq(r.writable, 1);
	t_true(r.turns > 0 && r.turns < 30);
	t_eq(r.arrived, 1);
	fd_close(&p[0]);
}

const struct t_case t_cases[] = { { "dispatch", test_dispatch },
	{ "end and empty packet", test_end_and_empty },
	{ "free in a handler", test_free_in_handler },
	{ "bounded queue", test_queue }, { "too big", test_too_big },
	{ "wait", test_wait }, { "too many in flight", test_in_flight },
	{ NULL, NULL } };
