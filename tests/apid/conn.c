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

#include "common/log.h"
#include "proto/room.h"
#include "tests/apid/conn.h"
#include "tests/suite/t.h"

char title[64];
char said[1024];
struct apid a;
struct client *c;
int peer, copy;
size_t recv_len;
unsigned int steps;
struct play play;

static long blocks;

void
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
	if (play.recv_errno != 0) {
		errno = play.recv_errno;
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
	cl->in_off += play.takes;
	if (play.ends_in == CP_DEAD) {
		client_drop(cl, false);
		return true;
	}
	if (play.puts == 0)
		return false;
	play.puts--;
	(void)client_put(cl, "0123456789", 10);
	return true;
}

static bool
rest(struct client *cl)
{
	(void)cl;
	return play.rests;
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
	if (play.ends_in == CP_DEAD)
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

int
pair(int *end)
{
	const int small = 4096;
	int fd[2];

	t_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	(void)setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	*end = fd[1];
	return fd[0];
}

void
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
	play = (struct play){ .rests = true };
	steps = 0;
}

struct client *
add(uint64_t id, uint32_t role, int *end)
{
	const struct api_caller who = { .conn = id,
		.uid = 7,
		.role = role,
		.share = role == ROLE_ADMIN ? SHARE_ADMIN : SHARE_USER };

	t_eq(client_new(&a, &who, pair(end)), 0);
	return client_find(&a, id);
}

void
begin(uint32_t role)
{
	start(ROOM_API);
	c = add(5, role, &peer);
	copy = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
}

void
turn(void)
{
	(void)event_base_loop(a.base, EVLOOP_NONBLOCK);
}

void
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

void
end(void)
{
	(void)close(peer);
	(void)close(copy);
	finish();
}

bool
is_pending(const struct event *e, short what)
{
	return event_pending(e, what, NULL) != 0;
}

bool
sees_end(int fd)
{
	char buf[64];
	ssize_t n;

	do
		n = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL);
	while (n > 0);
	return n == 0;
}

void
fill(void)
{
	static const char many[65536];

	t_eq(client_put(c, many, sizeof(many)), 0);
	client_run(c);
	t_true(outbuf_left(&c->out) > 0);
}

void
drain(void)
{
	char buf[4096];

	while (recvfrom(peer, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL) > 0)
		;
}
