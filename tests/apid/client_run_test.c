#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/util.h"
#include "tests/apid/conn.h"
#include "tests/suite/t.h"

/* A connection of apid: its deadlines, what it reads and writes. */

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
	play.ends_in = CP_DEAD;
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
	play.takes = 1;
	client_run(c);
	t_true(c->in == NULL);
	t_eq(c->in_off, 0);
	/* the rest of an early answer's request is nobody's */
	play.takes = 0;
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
	play.takes = 2;
	turn();
	t_eq(c->in_off, 2);
	play.takes = 0;
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
	play.rests = false;
	client_run(c);
	t_true(!c->reads);
	t_true(is_pending(c->rd, EV_READ)); /* until it says more */
	t_eq(write(peer, "x", 1), 1);
	steps = 0;
	turn();
	t_true(!is_pending(c->rd, EV_READ));
	t_eq(steps, 0);
	play.rests = true;
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
		play.recv_errno = soft[i];
		event_active(c->rd, EV_READ, 0);
		turn();
		t_str(said, "");
		t_eq(steps, 0);
		end();
	}
	begin(ROLE_USER);
	play.recv_errno = ECONNRESET;
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
	play.puts = 3;
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
	play.ends_in = CP_DEAD;
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
