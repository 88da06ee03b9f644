#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/util.h"
#include "proto/room.h"
#include "tests/apid/conn.h"
#include "tests/suite/t.h"

/* A connection of apid: its birth, what it holds, its end. */

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

/* A part of it is free again, of its own alone and no more than it has. */
static void
test_let_go(void)
{
	struct client *other;
	struct share *s;
	unsigned int how;
	int fd;

	for (how = 0; how < 2; how++) {
		begin(how == 0 ? ROLE_USER : ROLE_NONE);
		other = add(6, how == 0 ? ROLE_USER : ROLE_NONE, &fd);
		s = how == 0 ? &a.held : &a.strangers;
		t_true(client_hold(c, 150));
		t_true(client_hold(other, 40));
		client_let_go(c, 100);
		t_eq(c->held, 50);
		t_eq(share_has(s, c->who), 90);
		client_let_go(c, 0);
		t_eq(c->held, 50);
		client_let_go(c, 51);
		t_eq(c->held, 0);
		t_eq(share_has(s, c->who), 40);
		client_release(c);
		client_release(other);
		t_eq(share_has(s, c->who), 0);
		end();
		(void)close(fd);
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
const struct t_case t_cases[] = {
	{ "a new one", test_new },
	{ "too many, and what is no socket", test_refused },
	{ "without memory", test_new_fails },
	{ "found, and all dropped", test_find },
	{ "dropped", test_drop },
	{ "what hangs on it", test_freed },
	{ "shares", test_shares },
	{ "bytes held", test_hold },
	{ "bytes let go", test_let_go },
	{ "questions", test_ask },
	{ "wiped", test_wiped },
	{ "put", test_put },
	{ "room", test_room },
	{ NULL, NULL },
};
