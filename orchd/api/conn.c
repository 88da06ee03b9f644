#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/api/conn.h"
#include "orchd/object/wait.h"
#include "orchd/orchd.h"

/*
 * Connections of the Unix listener.  orchd accepts, reads from the kernel
 * who it is (unix(7) SO_PEERCRED), binds that to a connection id and hands
 * the socket to the apid of that kind of caller (I1).  Its own copy is never
 * read; it only shows the hang-up, which is where the identity ends.
 */
#define ACCEPT_BATCH 16
#define ACCEPT_PAUSE_MS 50
#define REFUSED_MS 1000

static int
cmp_conn(const struct conn *a, const struct conn *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): conn_end takes it out first */
RB_GENERATE_STATIC(conn_tree, conn, by_id, cmp_conn)

struct conn *
conn_find(struct orchd *o, uint64_t id)
{
	struct conn key = { .id = id };

	return RB_FIND(conn_tree, &o->conns.by_id, &key);
}

struct chan *
conn_chan(const struct conn *c)
{
	return c->orchd->api[c->room == ROOM_API ? 0 : 1];
}

void
conn_park(struct conn *c)
{
	c->is_parked = true;
	TAILQ_INSERT_TAIL(&c->orchd->conns.parked, c, parked);
}

void
conn_unpark(struct conn *c)
{
	if (!c->is_parked)
		return;
	c->is_parked = false;
	TAILQ_REMOVE(&c->orchd->conns.parked, c, parked);
}

void
conn_end(struct conn *c, bool told)
{
	struct orchd *o = c->orchd;
	const struct api_conn msg = { .conn = c->id };

	if (!told && conn_chan(c) != NULL)
		(void)chan_send(
		    conn_chan(c), API_GONE, 0, &msg, sizeof(msg), -1);
	if (c->waits != NULL)
		wait_drop(c->waits, c->id);
	conn_unpark(c);
	(void)RB_REMOVE(conn_tree, &o->conns.by_id, c);
	o->conns.n--;
	/* before close: apid's copy keeps the description, and its events,
	 * alive */
	(void)epoll_ctl(o->conns.hup_epoll, EPOLL_CTL_DEL, c->sock, NULL);
	/* apid's copy too: nobody serves a caller without an identity */
	(void)shutdown(c->sock, SHUT_RDWR);
	fd_close(&c->sock);
	free(c);
}

void
conn_end_room(struct orchd *o, uint32_t room)
{
	struct conn *c, *next;

	for (c = RB_MIN(conn_tree, &o->conns.by_id); c != NULL; c = next) {
		next = RB_NEXT(conn_tree, &o->conns.by_id, c);
		if (c->room == room)
			conn_end(c, true);
	}
}

/*
 * One epoll of its own for all of them, because libevent cannot watch for a
 * hang-up without reading.  EPOLLHUP and EPOLLERR always come; SHUT_WR alone
 * (EPOLLRDHUP) is not asked for: that caller still wants its answer.
 */
static void
on_hup(int fd, short what, void *arg)
{
	struct epoll_event ev[ACCEPT_BATCH];
	struct orchd *o = arg;
	struct conn *c;
	int i, n;

	(void)what;
	n = epoll_wait(fd, ev, nitems(ev), 0);
	for (i = 0; i < n; i++) {
		if ((c = conn_find(o, ev[i].data.u64)) != NULL)
			conn_end(c, false);
	}
}

static int
watch_hup(const struct conn *c)
{
	struct epoll_event ev = { .data.u64 = c->id };

	return epoll_ctl(
		   c->orchd->conns.hup_epoll, EPOLL_CTL_ADD, c->sock, &ev) < 0
	    ? -errno
	    : 0;
}

static bool
is_listed(uid_t uid, const uint32_t *list, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (list[i] == uid)
			return true;
	}
	return false;
}

static void
identify(struct conn *c, uid_t uid)
{
	const struct orchd_conf *conf = &c->orchd->conf;

	c->uid = uid;
	c->room = ROOM_API;
	if (uid == 0 || is_listed(uid, conf->admins, conf->nadmins)) {
		c->role = ROLE_ADMIN;
		c->room = ROOM_API_ADMIN;
		c->tenant = c->orchd->tenant.id;
	} else if (is_listed(uid, conf->users, conf->nusers)) {
		c->role = ROLE_USER;
		c->tenant = c->orchd->tenant.id;
	}
}

/* The listener stays silent for a moment, so as not to spin. */
static void
accept_pause(struct orchd *o)
{
	const struct timeval tv = { .tv_usec = ACCEPT_PAUSE_MS * 1000L };

	(void)event_del(o->conns.accept);
	(void)event_add(o->conns.accept_pause, &tv);
}

static void
on_accept_again(int fd, short what, void *arg)
{
	struct orchd *o = arg;

	(void)fd;
	(void)what;
	conn_accept(o);
}

static void
on_refused_end(int fd, short what, void *arg)
{
	struct orchd *o = arg;
	size_t i;

	(void)fd;
	(void)what;
	for (i = 0; i < nitems(o->conns.refused); i++)
		fd_close(&o->conns.refused[i]);
}

/*
 * A refused caller may not have written its request yet.  Closed at once,
 * that write would fail, and many a client then never reads the answer (RFC
 * 9112, 9.6): so the last few stay, unread, till nobody was refused for
 * REFUSED_MS.  Takes sock.
 */
static void
linger(struct orchd *o, int sock)
{
	const struct timeval tv = { .tv_sec = REFUSED_MS / 1000 };
	int *slot =
	    &o->conns.refused[o->conns.nrefused++ % nitems(o->conns.refused)];

	fd_close(slot);
	if (event_add(o->conns.refused_end, &tv) < 0)
		fd_close(&sock);
	*slot = sock;
}

/* One fixed answer for whoever is one too many. */
static void
say_busy(int sock)
{
	static const char answer[] =
	    "HTTP/1.1 503 Service Unavailable\r\n"
	    "Content-Type: application/json; charset=utf-8\r\n"
	    "Content-Length: 65\r\nConnection: close\r\nRetry-After: 1\r\n\r\n"
	    "{\"error\":\"too many connections; close some or try again shortly\"}";

	(void)send(
	    sock, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)shutdown(sock, SHUT_WR);
}

/* A caller that is not a host admin has no more than half of all
 * connections, so that there are some for the others (I9). */
static bool
has_share(const struct conn *c)
{
	const struct orchd *o = c->orchd;
	struct conn *other;
	unsigned int n = 0;

	if (c->role == ROLE_ADMIN || !RULE(CONN_SHARE))
		return true;
	RB_FOREACH (other, conn_tree, &c->orchd->conns.by_id)
		n += other->uid == c->uid;
	return n < (o->conf.max_conns + 1) / 2;
}

static int
conn_start(struct orchd *o, int sock)
{
	const int dup = fcntl(sock, F_DUPFD_CLOEXEC, 3);
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct conn *c = NULL;
	struct api_conn msg;
	int r = -ENOMEM;

	if (dup < 0)
		return -errno;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ||
	    len != sizeof(cred) || (c = calloc(1, sizeof(*c))) == NULL)
		goto out;
	c->orchd = o;
	c->sock = sock;
	c->id = ++o->conns.last;
	identify(c, cred.uid);
	r = -EBUSY;
	if (conn_chan(c) == NULL || !has_share(c) || (r = watch_hup(c)) < 0)
		goto out;
	msg.conn = c->id;
	(void)RB_INSERT(conn_tree, &o->conns.by_id, c);
	o->conns.n++;
	if (chan_send(conn_chan(c), API_CONN, 0, &msg, sizeof(msg), dup) < 0)
		conn_end(c, true); /* closes sock */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the tree holds c */
	return 0;
out:
	(void)close(dup);
	free(c);
	return r;
}

static void
on_accept(int fd, short what, void *arg)
{
	struct orchd *o = arg;
	int i, r, sock;

	(void)what;
	for (i = 0; i < ACCEPT_BATCH; i++) {
		sock = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (sock < 0 && (errno == EMFILE || errno == ENFILE)) {
			/* the reserve lets us take it and say why not */
			fd_close(&o->conns.reserve_fd);
			sock = accept4(
			    fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			if (sock >= 0)
				say_busy(sock);
			fd_close(&sock);
			o->conns.reserve_fd =
			    fcntl(o->conns.listener, F_DUPFD_CLOEXEC, 3);
			accept_pause(o);
			return;
		}
		if (sock < 0)
			return;
		r = o->conns.n >= o->conf.max_conns ? -EBUSY
						    : conn_start(o, sock);
		if (r < 0)
			say_busy(sock);
		/* but not on the last descriptors */
		if (r == -EBUSY)
			linger(o, sock);
		else if (r < 0)
			fd_close(&sock);
	}
}

void
conn_listen(struct orchd *o, int sock)
{
	size_t i;

	if (o->conns.accept != NULL) {
		fd_close(&sock); /* there is one listener */
		return;
	}
	/* ids begin anywhere, so that no id of an earlier life comes back */
	if (getrandom(&o->conns.last, sizeof(o->conns.last), 0) !=
	    sizeof(o->conns.last))
		fatal("getrandom: %m");
	o->conns.last >>= 2;
	if (fd_nonblock(sock) < 0) /* accept must not wait */
		fatal("listener: %m");
	o->conns.listener = sock;
	o->conns.reserve_fd = fcntl(sock, F_DUPFD_CLOEXEC, 3);
	o->conns.accept =
	    event_new(o->base, sock, EV_READ | EV_PERSIST, on_accept, o);
	o->conns.accept_pause = evtimer_new(o->base, on_accept_again, o);
	for (i = 0; i < nitems(o->conns.refused); i++)
		o->conns.refused[i] = -1;
	o->conns.refused_end = evtimer_new(o->base, on_refused_end, o);
	o->conns.hup = event_new(
	    o->base, o->conns.hup_epoll, EV_READ | EV_PERSIST, on_hup, o);
	if (o->conns.accept == NULL || o->conns.accept_pause == NULL ||
	    o->conns.hup_epoll < 0 || o->conns.refused_end == NULL ||
	    o->conns.hup == NULL || event_add(o->conns.hup, NULL) < 0)
		fatal("listener");
	conn_accept(o);
}

/* Only while both apids are there: till then callers wait in the backlog. */
void
conn_accept(struct orchd *o)
{
	if (o->conns.accept == NULL)
		return;
	if (o->api[0] != NULL && o->api[1] != NULL)
		(void)event_add(o->conns.accept, NULL);
	else
		(void)event_del(o->conns.accept);
}
