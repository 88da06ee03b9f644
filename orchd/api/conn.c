#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/api/access.h"
#include "orchd/api/conn.h"
#include "orchd/api/peer.h"
#include "orchd/object/wait.h"
#include "orchd/orchd.h"
#include "orchd/vm/vm.h"
#include "orchd/who.h"
#include "proto/right.h"

/*
 * Connections of the Unix listener.  orchd accepts, reads from the kernel
 * who it is (unix(7) SO_PEERCRED), binds that to a connection id and hands
 * the socket to the apid of that kind of caller (I1).  Its own copy is never
 * read; it only shows the hang-up, which is where the identity ends.
 */
#define ACCEPT_BATCH 16
#define ACCEPT_PAUSE_MS 50
#define CROWD_MS 60000

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

bool
conn_is_unread(const struct conn *c)
{
	return RULE(UNREAD_FDS) &&
	    chan_queued_fds(conn_chan(c)) >=
	    WAITING_FDS_MAX(c->orchd->conf.max_conns);
}

static struct share *
share_of(const struct conn *c)
{
	struct conns *all = &c->orchd->conns;

	return c->role == ROLE_NONE ? &all->strangers : &all->share;
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
conn_has_stream(struct conn *c, uint64_t vmid, uint32_t kind, int fd)
{
	c->stream_of = vmid;
	c->stream_kind = kind;
	c->stream_fd = fd;
}

/* Whatever copies there are: what counts no more as somebody's is over. */
static void
end_stream(struct conn *c)
{
	if (c->stream_of == 0)
		return;
	if (RULE(STREAM_END))
		(void)shutdown(c->stream_fd, SHUT_RDWR);
	fd_close(&c->stream_fd);
	if (launch_is_log(c->stream_kind))
		share_give(&c->orchd->logs, c->who, 1);
	vm_stream_end(
	    vm_by_vmid(c->orchd, c->stream_of), c->who, c->stream_kind);
}

int
conn_charge(
    struct conn *c, struct tenant *t, enum tenant_amount what, struct err *e)
{
	struct charge *ch = what == TENANT_OPERATIONS ? &c->op : &c->open;
	int r;

	if (ch->tenant != 0)
		return -EBUSY;
	if ((r = tenant_take(t, what, e)) < 0)
		return r;
	ch->tenant = t->row.id;
	ch->what = what;
	return 0;
}

static void
discharge(struct conn *c, struct charge *ch)
{
	struct tenant *t = tenant_by_id(&c->orchd->tenants, ch->tenant);

	if (ch->tenant != 0 && t != NULL)
		tenant_give(t, ch->what);
	ch->tenant = 0;
}

void
conn_answered(struct conn *c)
{
	c->req = 0;
	discharge(c, &c->op);
	if (c->open.what == TENANT_STREAMS && c->stream_of == 0)
		discharge(c, &c->open);
}

/* What it waits for goes on without it; where operations have a limit it is one
 * till then, so that who hangs up has no more of them. */
static void
leave(struct conn *c)
{
	struct object *obj = c->waits;

	if (obj == NULL)
		return;
	if (c->op.tenant == obj->tenant->row.id &&
	    tenant_limit(obj->tenant, TENANT_OPERATIONS) != 0) {
		wait_leave(obj, c->id, &obj->tenant->used.n[TENANT_OPERATIONS]);
		c->op.tenant = 0;
	} else
		wait_drop(obj, c->id);
}

void
conn_end(struct conn *c, bool told)
{
	struct orchd *o = c->orchd;
	const struct api_conn msg = { .conn = c->id };

	if (!told && conn_chan(c) != NULL)
		(void)chan_send(
		    conn_chan(c), API_GONE, 0, &msg, sizeof(msg), -1);
	leave(c);
	if (c->queued_at != 0)
		vm_queue_drop(vm_by_vmid(o, c->queued_at), c->id);
	conn_unpark(c);
	if (o->audit.asking == &c->ask)
		o->audit.asking = NULL;
	discharge(c, &c->op);
	discharge(c, &c->open);
	(void)RB_REMOVE(conn_tree, &o->conns.by_id, c);
	if (c->is_counted)
		share_give(share_of(c), c->who, 1);
	end_stream(c);
	/* before close: apid's copy keeps the description, and its events,
	 * alive */
	(void)epoll_ctl(o->conns.hup_epoll, EPOLL_CTL_DEL, c->sock, NULL);
	/* apid's copy too: nobody serves a caller without an identity */
	(void)shutdown(c->sock, SHUT_RDWR);
	fd_close(&c->sock);
	peer_clear(&c->creds);
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

/* What it has open needs more than its caller may. */
static bool
is_over(const struct conn *c, const struct tenant *t)
{
	const struct right *right = right_find(API_STREAM, c->stream_kind);
	const struct vm *vm;

	/* an answer about itself: he may have taken himself out */
	if (((c->is_parked && c->tenant == t) ||
		(c->waits != NULL && c->waits != &t->obj &&
		    c->waits->tenant == t)) &&
	    access_role(c, t) < TENANT_VIEWER)
		return true;
	if (c->stream_of == 0 && c->queued_at == 0)
		return false;
	vm = vm_by_vmid(
	    c->orchd, c->stream_of != 0 ? c->stream_of : c->queued_at);
	return vm != NULL && vm->obj.tenant == t &&
	    (right == NULL || access_role(c, t) < right->role);
}

void
conn_tenant_changed(struct orchd *o, const struct tenant *t)
{
	struct conn *c, *next;

	for (c = RB_MIN(conn_tree, &o->conns.by_id); c != NULL; c = next) {
		next = RB_NEXT(conn_tree, &o->conns.by_id, c);
		if (RULE(TENANT_LEFT) && is_over(c, t))
			conn_end(c, false);
	}
}

void
conn_tenant_gone(struct orchd *o, const struct tenant *t)
{
	struct conn *c, *next;

	for (c = RB_MIN(conn_tree, &o->conns.by_id); c != NULL; c = next) {
		next = RB_NEXT(conn_tree, &o->conns.by_id, c);
		if (c->tenant == t)
			conn_end(c, false);
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

/* What it is as a connection: who serves it, and of what it has a share.  What
 * it may do is looked up with each request. */
static void
identify(struct conn *c)
{
	int64_t tenant;

	c->role = access_kind(c, &tenant);
	c->who = who_shares(&c->orchd->conf, c->creds.uid, tenant);
	c->room = c->role == ROLE_ADMIN ? ROOM_API_ADMIN : ROOM_API;
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

/* A connection is one of those that its caller may have, or why not. */
static int
admit(struct conn *c, char why[BUSY_TEXT_MAX])
{
	struct share *s = share_of(c);
	const int r = share_take(s, c->who, 1);
	const unsigned long long has = share_has(s, c->who), all = s->total;
	char tenant[SHARE_TENANT_MAX];

	c->is_counted = r == 0;
	if (r == 0 || !RULE(CONN_SHARE))
		return 0;
	share_tenant_words(s, c->who, tenant);
	if (c->role == ROLE_NONE)
		(void)snprintf(why, BUSY_TEXT_MAX,
		    "too many connections of users that are not listed in "
		    "mews.conf (users, admins): yours has %llu, all of them "
		    "have at most %llu: close some or try again shortly",
		    has, all);
	else
		(void)snprintf(why, BUSY_TEXT_MAX,
		    "too many connections: your user has %llu%s, all together "
		    "have at most %llu (max_connections), and some are kept "
		    "for others: close some or try again shortly",
		    has, tenant, all);
	return -EBUSY;
}

/* The apid of that kind of callers gets it.  Takes sock only on success. */
static int
conn_start(struct orchd *o, int sock, struct conn *c, char why[BUSY_TEXT_MAX])
{
	const int dup = fcntl(sock, F_DUPFD_CLOEXEC, 3);
	const struct api_caller msg = {
		.conn = c->id,
		.uid = c->creds.uid,
		.role = c->role,
		.share = c->who.kind,
		.divided = o->tenants.is_divided,
		.tenant = c->who.tenant,
	};
	int r;

	if (dup < 0)
		return -errno;
	if ((r = admit(c, why)) < 0 || (r = watch_hup(c)) < 0) {
		if (c->is_counted)
			share_give(share_of(c), c->who, 1);
		(void)close(dup);
		return r;
	}
	(void)RB_INSERT(conn_tree, &o->conns.by_id, c);
	if (chan_send(conn_chan(c), API_CONN, 0, &msg, sizeof(msg), dup) < 0)
		conn_end(c, true); /* closes sock */
	return 0;
}

/* Of how many groups one is is his own doing: it is said once in a while. */
static void
say_crowd(struct orchd *o, const struct creds *c)
{
	const int64_t now = clock_ms();

	if (!c->is_crowd ||
	    (o->conns.crowd_ms != 0 && now - o->conns.crowd_ms < CROWD_MS))
		return;
	o->conns.crowd_ms = now;
	log_warn("uid %u is in more than %d groups: none of them counts here",
	    c->uid, PEER_GROUPS_MAX);
}

/* Takes sock. */
static void
conn_take(struct orchd *o, int sock)
{
	char why[BUSY_TEXT_MAX] = "the suite has no room for this connection "
				  "now: try again shortly";
	struct conn *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL || peer_creds(sock, &c->creds) < 0) {
		busy_say(sock, why);
		fd_close(&sock);
		free(c);
		return;
	}
	c->orchd = o;
	c->sock = sock;
	c->stream_fd = -1;
	c->id = ++o->conns.last;
	say_crowd(o, &c->creds);
	identify(c);
	r = conn_chan(c) == NULL || conn_is_unread(c)
	    ? -EBUSY
	    : conn_start(o, sock, c, why);
	if (r == 0)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the tree has c */
		return;
	busy_say(sock, why);
	/* but not on the last descriptors */
	if (r == -EBUSY)
		busy_linger(
		    &o->conns.busy, sock, c->creds.uid, c->role == ROLE_NONE);
	else
		fd_close(&sock);
	peer_clear(&c->creds);
	free(c);
}

static void
on_accept(int fd, short what, void *arg)
{
	struct orchd *o = arg;
	int i, sock;

	(void)what;
	for (i = 0; i < ACCEPT_BATCH; i++) {
		sock = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (sock < 0 && (errno == EMFILE || errno == ENFILE)) {
			/* the reserve lets us take it and say why not */
			fd_close(&o->conns.reserve_fd);
			sock = accept4(
			    fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			if (sock >= 0)
				busy_say(sock,
				    "too many connections: no descriptor is "
				    "left (ulimit -Hn): try again shortly");
			fd_close(&sock);
			o->conns.reserve_fd =
			    fcntl(o->conns.listener, F_DUPFD_CLOEXEC, 3);
			accept_pause(o);
			return;
		}
		if (sock < 0)
			return;
		conn_take(o, sock);
	}
}

/* Who shares what of max_connections. */
static void
share_out(struct conns *all, uint32_t max, const uint32_t *listed)
{
	/* so many that nothing is kept for any of them */
	static const uint32_t anybody[SHARE_LISTED] = { UINT32_MAX, 0 };
	uint32_t n = max / 8;

	n = n < 1 ? 1 : n > STRANGERS_MAX ? STRANGERS_MAX : n;
	share_init(&all->strangers, n, anybody);
	share_init(&all->share, max - n, listed);
}

void
conn_listen(struct orchd *o, int sock)
{
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
	share_out(&o->conns, o->conf.max_conns, o->listed);
	share_divide(&o->conns.share, &o->tenants.is_divided);
	o->conns.hup = event_new(
	    o->base, o->conns.hup_epoll, EV_READ | EV_PERSIST, on_hup, o);
	if (o->conns.accept == NULL || o->conns.accept_pause == NULL ||
	    o->conns.hup_epoll < 0 || busy_init(&o->conns.busy, o->base) < 0 ||
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
