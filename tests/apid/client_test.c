#include <bsd/unistd.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apid/apid.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/room.h"
#include "tests/suite/ev.h"
#include "tests/suite/t.h"

/*
 * One connection of apid: a real socket pair; what the floors above make of
 * it, and the channel to orchd, are played.
 */
static char title[64]; /* what ps shows */
static char said[256]; /* which of the table was called, and what was sent */
static struct apid a;
static struct client *c; /* of begin() */
static int peer, copy; /* the client's end; orchd's copy of ours */
static int recv_errno; /* what the next recv() says */
static size_t recv_len; /* what the last one was asked for */
static enum client_phase ends_in; /* a phase that step() leads to, or 0 */
static unsigned int puts_left; /* so often step() puts and asks for more */
static unsigned int steps;
static size_t takes; /* of what came in step() takes so much */
static bool rests; /* there is use for more input */
static long blocks;

static void
note(const char *what)
{
	size_t n = strlen(said);

	(void)snprintf(
	    said + n, sizeof(said) - n, "%s%s", n > 0 ? " " : "", what);
}

void
setproctitle(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(title, sizeof(title), fmt, ap);
	va_end(ap);
}

int
chan_send(struct chan *ch, uint32_t type, uint64_t id, const void *p,
    size_t len, int fd)
{
	const struct api_conn *m = p;
	char text[64];

	t_true(ch == a.orchd);
	t_eq(type, API_CLOSED);
	t_eq(id, 0);
	t_eq(len, sizeof(*m));
	t_eq(fd, -1);
	(void)snprintf(text, sizeof(text), "closed:%u", (unsigned int)m->conn);
	note(text);
	return 0;
}

ssize_t
recv(int fd, void *p, size_t n, int flags)
{
	recv_len = n;
	if (recv_errno != 0) {
		errno = recv_errno;
		return -1;
	}
	return recvfrom(fd, p, n, flags, NULL, NULL);
}

static bool
step(struct client *cl)
{
	if (++steps > 1000) {
		t_eq(steps, 0); /* it does not come to an end */
		exit(1);
	}
	cl->in_off += takes;
	if (ends_in == CP_DEAD) {
		client_drop(cl, false);
		return true;
	}
	if (puts_left == 0)
		return false;
	puts_left--;
	(void)client_put(cl, "0123456789", 10);
	return true;
}

static bool
rest(struct client *cl)
{
	(void)cl;
	return rests;
}

static void
eof(struct client *cl)
{
	t_true(cl->in == NULL);
	note("eof");
}

static void
late(struct client *cl)
{
	note("late");
	if (ends_in == CP_DEAD)
		client_drop(cl, false);
}

static void
lost(struct client *cl)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "lost:%u", (unsigned int)cl->id);
	note(text);
}

static void
dropped(struct client *cl)
{
	t_true(cl->phase != CP_DEAD);
	note("dropped");
}

static void
freed(struct client *cl)
{
	(void)cl;
	note("freed");
}

static const struct client_ops ops = { step, rest, eof, late, lost, dropped,
	freed };

static void
on_reaper(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	client_reap(arg);
}

/* Ours, and the client's end in *end. */
static int
pair(int *end)
{
	const int small = 4096;
	int fd[2];

	t_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	(void)setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	*end = fd[1];
	return fd[0];
}

static void
start(uint32_t room)
{
	log_init("client_test", LOG_ERROR);
	ev = (struct ev){ .fail_new = 0 };
	memset(&a, 0, sizeof(a));
	a.boot.room = room;
	a.conf = (struct apid_conf){ .max_conns = 3,
		.nadmins = 2,
		.nusers = 4,
		.held_max = 800,
		.write_ms = 30000,
		.idle_ms = 1000999 };
	a.client_ops = &ops;
	a.orchd = (struct chan *)(void *)&a;
	STAILQ_INIT(&a.dead);
	blocks = t_live();
	a.base = event_base_new();
	a.reaper = event_new(a.base, -1, 0, on_reaper, &a);
	client_share(&a);
	said[0] = title[0] = '\0';
	recv_errno = 0;
	ends_in = CP_IDLE;
	puts_left = steps = 0;
	takes = 0;
	rests = true;
}

static struct client *
add(uint64_t id, uint32_t role, int *end)
{
	const struct api_caller who = { .conn = id, .uid = 7, .role = role };

	t_eq(client_new(&a, &who, pair(end)), 0);
	return client_find(&a, id);
}

static void
begin(uint32_t role)
{
	start(ROOM_API);
	c = add(5, role, &peer);
	copy = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
}

static void
turn(void)
{
	(void)event_base_loop(a.base, EVLOOP_NONBLOCK);
}

static void
finish(void)
{
	client_drop_all(&a);
	client_reap(&a);
	client_unshare(&a);
	event_free(a.reaper);
	event_base_free(a.base);
	t_eq(a.nclients, 0);
	t_eq(t_live(), blocks);
}

static void
end(void)
{
	(void)close(peer);
	(void)close(copy);
	finish();
}

static bool
is_pending(const struct event *e, short what)
{
	return event_pending(e, what, NULL) != 0;
}

/* The client sees the end; though orchd has a copy. */
static bool
sees_end(int fd)
{
	char buf[64];
	ssize_t n;

	do
		n = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL);
	while (n > 0);
	return n == 0;
}

/* Until its socket takes no more. */
static void
fill(void)
{
	static const char many[65536];

	t_eq(client_put(c, many, sizeof(many)), 0);
	client_run(c);
	t_true(outbuf_left(&c->out) > 0);
}

static void
drain(void)
{
	char buf[4096];

	while (recvfrom(peer, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL) > 0)
		;
}

/* --- birth and death --- */

static void
test_new(void)
{
	begin(ROLE_USER);
	t_true(c != NULL);
	t_eq(c->id, 5);
	t_eq(c->role, ROLE_USER);
	t_eq(c->who.uid, 7);
	t_eq(c->who.kind, SHARE_USER);
	t_true(c->apid == &a);
	t_eq(c->phase, CP_IDLE);
	t_eq(a.nclients, 1);
	t_str(title, "-mews: apid [1 connections]");
	t_true(is_pending(c->rd, EV_READ));
	t_true(!is_pending(c->wr, EV_WRITE));
	t_true(is_pending(c->timer, EV_TIMEOUT));
	t_true(!is_pending(c->stall, EV_TIMEOUT));
	t_eq(ev.added.tv_sec, 1000);
	t_eq(ev.added.tv_usec, 999000);
	t_true(c->reads);
	end();
	begin(ROLE_ADMIN);
	t_eq(c->who.kind, SHARE_ADMIN);
	end();
}

/* As many as there may be, sockets alone. */
static void
test_refused(void)
{
	const struct api_caller who = { .conn = 9, .role = ROLE_USER };
	int ends[4], fd, i;

	start(ROOM_API);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	t_eq(client_new(&a, &who, fd), -ENOBUFS);
	t_eq(fcntl(fd, F_GETFD), -1);
	for (i = 0; i < 3; i++)
		t_true(add(1 + (uint64_t)i, ROLE_USER, &ends[i]) != NULL);
	fd = pair(&ends[3]);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	t_eq(client_new(&a, &who, fd), -ENOBUFS);
	t_eq(fcntl(fd, F_GETFD), -1);
	t_true(sees_end(ends[3]));
	t_eq(a.nclients, 3);
	t_true(client_find(&a, 9) == NULL);
	(void)close(copy);
	finish();
	for (i = 0; i < 4; i++)
		(void)close(ends[i]);
}

static void
test_new_fails(void)
{
	const struct api_caller who = { .conn = 9, .role = ROLE_USER };
	unsigned int n;
	int fd;

	for (n = 0; n < 6; n++) {
		start(ROOM_API);
		fd = pair(&peer);
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (n == 0)
			t_fail_alloc(1);
		ev.fail_new = n <= 4 ? n : 0;
		ev.no_add = n == 5;
		t_eq(client_new(&a, &who, fd), n == 0 ? -ENOBUFS : -ENOMEM);
		t_fail_alloc(0);
		ev.no_add = false;
		t_eq(fcntl(fd, F_GETFD), -1);
		t_true(sees_end(peer));
		t_eq(a.nclients, 0);
		t_true(client_find(&a, 9) == NULL);
		end();
	}
}

static void
test_find(void)
{
	static const uint64_t ids[] = { 7, 3, UINT64_MAX };
	int ends[3];
	size_t i;

	start(ROOM_API);
	for (i = 0; i < nitems(ids); i++)
		(void)add(ids[i], ROLE_USER, &ends[i]);
	for (i = 0; i < nitems(ids); i++)
		t_eq(client_find(&a, ids[i])->id, ids[i]);
	t_true(client_find(&a, 4) == NULL);
	client_drop_all(&a);
	t_str(said, "lost:3 dropped lost:7 dropped lost:4294967295 dropped");
	t_eq(a.nclients, 0);
	finish();
	for (i = 0; i < nitems(ids); i++) {
		t_true(sees_end(ends[i]));
		(void)close(ends[i]);
	}
}

static void
test_drop(void)
{
	unsigned int how;

	for (how = 0; how < 3; how++) {
		begin(ROLE_USER);
		fill();
		t_true(client_hold(c, 10));
		t_true(client_ask(c));
		if (how == 2)
			a.orchd = NULL;
		client_drop(c, how != 1);
		t_str(said, how == 0 ? "dropped closed:5" : "dropped");
		t_eq(c->phase, CP_DEAD);
		t_eq(c->fd, -1);
		t_true(sees_end(peer));
		t_true(!is_pending(c->rd, EV_READ));
		t_true(!is_pending(c->wr, EV_WRITE));
		t_true(!is_pending(c->timer, EV_TIMEOUT));
		t_true(!is_pending(c->stall, EV_TIMEOUT));
		t_eq(share_has(&a.held, c->who), 0);
		t_eq(share_has(&a.asks, c->who), 0);
		t_true(client_find(&a, 5) == NULL);
		t_eq(a.nclients, 0);
		t_str(title, "-mews: apid [0 connections]");
		client_drop(c, true); /* once */
		t_str(said, how == 0 ? "dropped closed:5" : "dropped");
		turn();
		t_str(said,
		    how == 0 ? "dropped closed:5 freed" : "dropped freed");
		t_true(STAILQ_EMPTY(&a.dead));
		end();
	}
}

/* All that hangs on it goes with it. */
static void
test_freed(void)
{
	begin(ROLE_USER);
	t_eq(client_put(c, "a", 1), 0);
	c->in = malloc(READ_MAX);
	c->http = malloc(sizeof(*c->http));
	end();
}

/* --- what callers share --- */

static void
test_shares(void)
{
	start(ROOM_API);
	t_eq(a.held.total, 800);
	t_eq(a.held.kept[SHARE_USER], 800 / 4 / 4);
	t_eq(a.held.kept[SHARE_ADMIN], 0);
	t_eq(a.asks.total, ASKS_MAX);
	t_eq(a.asks.common, ASKS_MAX - ASKS_MAX / 4 / 4 * 4);
	t_eq(a.strangers.total, STRANGERS_HELD);
	t_eq(a.strangers.common, STRANGERS_HELD);
	t_eq(a.strangers.kept[SHARE_ADMIN], 0);
	t_true(a.strangers.is_scarce);
	finish();
	start(ROOM_API_ADMIN);
	t_eq(a.held.kept[SHARE_USER], 0);
	t_eq(a.held.kept[SHARE_ADMIN], 800 / 8 / 2);
	t_eq(a.held.common, 800 - 800 / 8 / 2 * 2);
	finish();
	start(ROOM_API); /* what is still taken goes */
	t_eq(share_take(&a.held, (struct share_who){ 1, SHARE_USER }, 1), 0);
	t_eq(share_take(&a.asks, (struct share_who){ 1, SHARE_USER }, 1), 0);
	t_eq(share_take(&a.strangers, (struct share_who){ 1, SHARE_USER }, 1),
	    0);
	finish();
}

static void
test_hold(void)
{
	struct share *s;
	unsigned int how;

	for (how = 0; how < 2; how++) {
		begin(how == 0 ? ROLE_USER : ROLE_NONE);
		s = how == 0 ? &a.held : &a.strangers;
		t_true(client_hold(c, 100));
		t_true(client_hold(c, 50));
		t_eq(share_has(s, c->who), 150);
		t_eq(c->held, 150);
		t_true(!client_hold(c, s->total));
		t_eq(c->held, 150);
		client_release(c);
		t_eq(share_has(s, c->who), 0);
		t_eq(c->held, 0);
		client_release(c);
		end();
	}
}

static void
test_ask(void)
{
	struct client *other;
	int fd;

	begin(ROLE_USER);
	other = add(6, ROLE_USER, &fd);
	t_true(client_ask(c));
	t_true(client_ask(c)); /* it has one */
	t_true(client_ask(other));
	t_eq(share_has(&a.asks, c->who), 2);
	client_answered(c);
	t_eq(share_has(&a.asks, c->who), 1);
	client_answered(c);
	t_eq(share_has(&a.asks, c->who), 1);
	t_true(!c->is_asking);
	while (share_take(&a.asks, c->who, 1) == 0)
		;
	t_true(!client_ask(c));
	t_true(!c->is_asking);
	(void)close(fd);
	end();
}

/* --- memory --- */

static void
test_wiped(void)
{
	static const uint8_t last[] = { 0xa7 };

	begin(ROLE_USER);
	client_in_free(c);
	client_http_free(c);
	c->in = malloc(READ_MAX);
	memset(c->in, 0, READ_MAX);
	c->in[READ_MAX - 1] = last[0];
	c->in_off = 3;
	c->in_len = 4;
	t_secret(last, sizeof(last));
	client_in_free(c);
	t_true(!t_spilled());
	t_true(c->in == NULL);
	t_eq(c->in_off, 0);
	t_eq(c->in_len, 0);
	t_secret(NULL, 0);
	c->http = malloc(sizeof(*c->http));
	memset(c->http, last[0], sizeof(*c->http));
	t_secret(last, sizeof(last));
	client_http_free(c);
	t_true(!t_spilled());
	t_true(c->http == NULL);
	t_secret(NULL, 0);
	end();
}

static void
test_put(void)
{
	begin(ROLE_USER);
	t_eq(client_put(c, "ab", 2), 0);
	t_eq(outbuf_left(&c->out), 2);
	t_eq(client_put(c, "", OUTBUF_MAX + 1), -ENOMEM);
	t_eq(c->phase, CP_DEAD);
	t_str(said, "dropped closed:5");
	t_eq(client_put(c, "ab", 2), -EPIPE);
	t_eq(outbuf_left(&c->out), 2);
	end();
}

static void
test_room(void)
{
	static const uint8_t some[OUT_MAX];

	begin(ROLE_USER);
	t_true(client_has_room(c));
	t_eq(client_put(c, some, OUT_MAX - 1), 0);
	t_true(client_has_room(c));
	t_eq(client_put(c, some, 1), 0);
	t_true(!client_has_room(c));
	end();
}

/* --- deadlines --- */

static void
test_deadline(void)
{
	static const struct {
		uint32_t role, ms;
		long sec, usec;
	} rows[] = {
		{ ROLE_USER, 5000, 5, 0 },
		{ ROLE_USER, 1, 0, 1000 },
		{ ROLE_ADMIN, 1000999, 1000, 999000 },
		{ ROLE_NONE, 5000, 3, 0 },
		{ ROLE_NONE, 3001, 3, 0 },
		{ ROLE_NONE, 2999, 2, 999000 },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		begin(rows[i].role);
		client_deadline(c, 0);
		t_true(!is_pending(c->timer, EV_TIMEOUT));
		client_deadline(c, rows[i].ms);
		t_true(is_pending(c->timer, EV_TIMEOUT));
		t_eq(ev.added.tv_sec, rows[i].sec);
		t_eq(ev.added.tv_usec, rows[i].usec);
		client_drop(c, false);
		client_deadline(c, rows[i].ms);
		t_true(!is_pending(c->timer, EV_TIMEOUT));
		end();
	}
}

static void
test_late(void)
{
	begin(ROLE_USER);
	ev_expire(a.base, c->timer);
	t_str(said, "late");
	t_eq(steps, 1);
	ends_in = CP_DEAD;
	ev_expire(a.base, c->timer);
	t_eq(steps, 1);
	t_true(client_find(&a, 5) == NULL);
	end();
}

/* It takes nothing: so long, from when something waits for it or it took
 * some. */
static void
test_stall(void)
{
	unsigned int n;

	begin(ROLE_USER);
	client_run(c);
	t_true(!is_pending(c->stall, EV_TIMEOUT)); /* nothing waits */
	fill();
	t_true(is_pending(c->stall, EV_TIMEOUT));
	t_eq(ev.added.tv_sec, 30);
	n = ev.nadded;
	client_run(c);
	client_run(c);
	t_eq(ev.nadded, n); /* it took nothing: it still runs */
	drain();
	client_run(c);
	t_true(outbuf_left(&c->out) > 0);
	t_eq(ev.nadded, n + 1);
	drain(); /* it reads, though its socket never said so: it stays */
	ev_expire(a.base, c->stall);
	t_true(c->phase != CP_DEAD);
	t_true(is_pending(c->stall, EV_TIMEOUT));
	while (outbuf_left(&c->out) > 0) {
		drain();
		client_run(c);
	}
	t_true(!is_pending(c->stall, EV_TIMEOUT));
	fill(); /* once more, and now to the end */
	t_true(is_pending(c->stall, EV_TIMEOUT));
	t_str(said, "");
	ev_expire(a.base, c->stall);
	t_true(client_find(&a, 5) == NULL);
	t_str(said, "dropped closed:5 freed");
	end();
}

/* All is gone when its time comes: what waits for room goes on at once, though
 * its socket does not say that it takes more. */
static void
test_stall_last(void)
{
	static const char many[16384];

	begin(ROLE_USER);
	t_eq(client_put(c, many, sizeof(many)), 0);
	client_run(c);
	t_true(outbuf_left(&c->out) > 0);
	while (outbuf_left(&c->out) > 4096) {
		drain();
		(void)outbuf_send(&c->out, c->fd);
	}
	drain();
	(void)event_del(c->wr);
	steps = 0;
	ev_expire(a.base, c->stall);
	t_eq(outbuf_left(&c->out), 0);
	t_true(steps > 0);
	t_true(!is_pending(c->stall, EV_TIMEOUT));
	end();
}

/* --- reading --- */

static void
test_read(void)
{
	begin(ROLE_USER);
	t_eq(write(peer, "x", 1), 1);
	turn();
	t_eq(recv_len, READ_MAX);
	t_eq(t_asked(), READ_MAX);
	t_eq(c->in_len, 1);
	t_eq(c->in_off, 0);
	t_eq(c->in[0], 'x');
	t_eq(steps, 1);
	t_true(c->phase != CP_DEAD);
	/* all is taken: it holds no memory */
	takes = 1;
	client_run(c);
	t_true(c->in == NULL);
	t_eq(c->in_off, 0);
	/* the rest of an early answer's request is nobody's */
	takes = 0;
	c->phase = CP_LINGER;
	t_eq(write(peer, "xy", 2), 2);
	turn();
	t_eq(c->in_len, 0);
	t_true(c->in == NULL);
	end();
}

/* The second is read into what is there, from its begin. */
static void
test_read_on(void)
{
	begin(ROLE_USER);
	t_eq(write(peer, "xyz", 3), 3);
	takes = 2;
	turn();
	t_eq(c->in_off, 2);
	takes = 0;
	t_eq(write(peer, "a", 1), 1);
	turn();
	t_eq(c->in_off, 0);
	t_eq(c->in_len, 1);
	t_eq(c->in[0], 'a');
	end();
}

static void
test_no_use(void)
{
	begin(ROLE_USER);
	rests = false;
	client_run(c);
	t_true(!c->reads);
	t_true(is_pending(c->rd, EV_READ)); /* until it says more */
	t_eq(write(peer, "x", 1), 1);
	steps = 0;
	turn();
	t_true(!is_pending(c->rd, EV_READ));
	t_eq(steps, 0);
	rests = true;
	client_run(c);
	t_true(is_pending(c->rd, EV_READ));
	turn();
	t_eq(c->in_len, 1);
	end();
}

static void
test_read_fails(void)
{
	static const int soft[] = { EAGAIN, EINTR };
	size_t i;

	for (i = 0; i < nitems(soft); i++) {
		begin(ROLE_USER);
		recv_errno = soft[i];
		event_active(c->rd, EV_READ, 0);
		turn();
		t_str(said, "");
		t_eq(steps, 0);
		end();
	}
	begin(ROLE_USER);
	recv_errno = ECONNRESET;
	event_active(c->rd, EV_READ, 0);
	turn();
	t_str(said, "dropped closed:5 freed");
	end();
	begin(ROLE_USER);
	(void)shutdown(peer, SHUT_WR);
	errno = EAGAIN; /* of something before */
	(void)event_base_loop(a.base, EVLOOP_ONCE);
	t_str(said, "eof");
	t_true(c->phase != CP_DEAD);
	t_true(c->in == NULL);
	t_eq(steps, 0);
	end();
	begin(ROLE_USER);
	t_eq(write(peer, "x", 1), 1);
	t_fail_alloc(1);
	turn();
	t_fail_alloc(0);
	t_str(said, "dropped closed:5 freed");
	end();
}

/* --- what happens next --- */

static void
test_run(void)
{
	char buf[64];

	begin(ROLE_USER);
	puts_left = 3;
	client_run(c);
	t_eq(recvfrom(peer, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL), 30);
	t_true(!is_pending(c->wr, EV_WRITE));
	t_eq(steps, 4);
	/* all that was there is on its way: what waits for that goes on */
	t_eq(client_put(c, "z", 1), 0);
	steps = 0;
	client_run(c);
	t_eq(steps, 2);
	t_eq(recvfrom(peer, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL), 1);
	end();
}

/* The socket takes no more: the rest when it does. */
static void
test_run_on(void)
{
	begin(ROLE_USER);
	fill();
	t_true(is_pending(c->wr, EV_WRITE));
	t_true(is_pending(c->rd, EV_READ));
	steps = 0;
	turn();
	t_eq(steps, 0);
	while (outbuf_left(&c->out) > 0) {
		drain();
		turn();
	}
	t_true(!is_pending(c->wr, EV_WRITE));
	t_true(steps > 0);
	end();
}

/* One byte is waited for like many. */
static void
test_one_byte(void)
{
	char byte = 'x';

	begin(ROLE_USER);
	while (send(c->fd, &byte, 1, MSG_DONTWAIT) == 1)
		;
	t_eq(client_put(c, &byte, 1), 0);
	client_run(c);
	t_eq(outbuf_left(&c->out), 1);
	t_true(is_pending(c->wr, EV_WRITE));
	t_true(is_pending(c->stall, EV_TIMEOUT));
	drain();
	client_run(c);
	t_eq(outbuf_left(&c->out), 0);
	t_true(!is_pending(c->wr, EV_WRITE));
	end();
}

static void
test_run_ends(void)
{
	begin(ROLE_USER);
	ends_in = CP_DEAD;
	t_eq(client_put(c, "z", 1), 0);
	client_run(c);
	t_eq(steps, 1);
	t_true(!is_pending(c->rd, EV_READ));
	t_true(!is_pending(c->wr, EV_WRITE));
	end();
	begin(ROLE_USER);
	(void)close(peer);
	peer = -1;
	t_eq(client_put(c, "z", 1), 0);
	client_run(c);
	t_str(said, "dropped closed:5");
	t_true(!is_pending(c->wr, EV_WRITE));
	end();
}

const struct t_case t_cases[] = {
	{ "a new one", test_new },
	{ "too many, and what is no socket", test_refused },
	{ "without memory", test_new_fails },
	{ "found, and all dropped", test_find },
	{ "dropped", test_drop },
	{ "what hangs on it", test_freed },
	{ "shares", test_shares },
	{ "bytes held", test_hold },
	{ "questions", test_ask },
	{ "wiped", test_wiped },
	{ "put", test_put },
	{ "room", test_room },
	{ "deadlines", test_deadline },
	{ "late", test_late },
	{ "it takes nothing", test_stall },
	{ "it took the last", test_stall_last },
	{ "reading", test_read },
	{ "reading on", test_read_on },
	{ "no use for more", test_no_use },
	{ "reading fails", test_read_fails },
	{ "as far as it goes", test_run },
	{ "when there is room", test_run_on },
	{ "one byte", test_one_byte },
	{ "it ends", test_run_ends },
	{ NULL, NULL },
};
