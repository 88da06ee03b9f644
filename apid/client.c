#include <bsd/unistd.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apid/apid.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/api.h"
#include "proto/chan.h"
#include "proto/room.h"

void
client_title(const struct apid *a)
{
	setproctitle(
	    "-mews: %s [%u connections]", room_name(a->boot.room), a->nclients);
}

static int
cmp_client(const struct client *a, const struct client *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

RB_GENERATE_STATIC(client_tree, client, by_id, cmp_client)

struct client *
client_find(struct apid *a, uint64_t id)
{
	struct client key = { .id = id };

	return RB_FIND(client_tree, &a->clients, &key);
}

/* --- memory --- */

void
client_share(struct apid *a)
{
	/* each apid serves callers of one kind */
	const bool admins = a->boot.room == ROOM_API_ADMIN;
	const uint32_t listed[SHARE_LISTED] = { [SHARE_USER] =
						    admins ? 0 : a->conf.nusers,
		[SHARE_ADMIN] = admins ? a->conf.nadmins : 0 };
	/* so many that nothing is kept for any of them */
	const uint32_t anybody[SHARE_LISTED] = { UINT32_MAX, 0 };

	share_init(&a->held, a->conf.held_max, listed);
	share_init(&a->strangers, STRANGERS_HELD, anybody);
	share_init(&a->asks, ASKS_MAX, listed);
}

void
client_unshare(struct apid *a)
{
	share_clear(&a->held);
	share_clear(&a->strangers);
	share_clear(&a->asks);
}

static struct share *
held_of(const struct client *c)
{
	return c->role == ROLE_NONE ? &c->apid->strangers : &c->apid->held;
}

bool
client_hold(struct client *c, size_t n)
{
	if (!RULE(API_HELD))
		return true;
	if (share_take(held_of(c), c->who, n) < 0)
		return false;
	c->held += n;
	return true;
}

void
client_let_go(struct client *c, size_t n)
{
	if (n > c->held)
		n = c->held;
	share_give(held_of(c), c->who, n);
	c->held -= n;
}

void
client_release(struct client *c)
{
	share_give(held_of(c), c->who, c->held);
	c->held = 0;
}

bool
client_ask(struct client *c)
{
	if (c->is_asking || !RULE(API_ASKS))
		return true;
	c->is_asking = share_take(&c->apid->asks, c->who, 1) == 0;
	return c->is_asking;
}

void
client_answered(struct client *c)
{
	if (c->is_asking)
		share_give(&c->apid->asks, c->who, 1);
	c->is_asking = false;
}

void
client_in_free(struct client *c)
{
	if (c->in != NULL)
		explicit_bzero(c->in, READ_MAX); /* a body may hold secrets */
	free(c->in);
	c->in = NULL;
	c->in_off = c->in_len = 0;
}

void
client_http_free(struct client *c)
{
	if (c->http != NULL)
		explicit_bzero(c->http, sizeof(*c->http));
	free(c->http);
	c->http = NULL;
}

static void
client_free(struct client *c)
{
	if (c->rd != NULL)
		event_free(c->rd);
	if (c->wr != NULL)
		event_free(c->wr);
	if (c->timer != NULL)
		event_free(c->timer);
	if (c->stall != NULL)
		event_free(c->stall);
	fd_close(&c->fd);
	c->apid->client_ops->freed(c);
	client_http_free(c);
	outbuf_clear(&c->out);
	client_in_free(c);
	free(c);
}

void
client_reap(struct apid *a)
{
	struct client *c;

	while ((c = STAILQ_FIRST(&a->dead)) != NULL) {
		STAILQ_REMOVE_HEAD(&a->dead, dead);
		client_free(c);
	}
}

void
client_drop(struct client *c, bool tell)
{
	const struct api_conn msg = { .conn = c->id };
	struct apid *a = c->apid;

	if (c->phase == CP_DEAD)
		return;
	a->client_ops->dropped(c);
	c->phase = CP_DEAD;
	(void)event_del(c->rd);
	(void)event_del(c->wr);
	(void)event_del(c->timer);
	(void)event_del(c->stall);
	/* orchd holds a copy: without this the client would see no end */
	(void)shutdown(c->fd, SHUT_RDWR);
	fd_close(&c->fd);
	client_release(c);
	client_answered(c);
	(void)RB_REMOVE(client_tree, &a->clients, c);
	a->nclients--;
	STAILQ_INSERT_TAIL(&a->dead, c, dead);
	event_active(a->reaper, EV_TIMEOUT, 0);
	if (tell && a->orchd != NULL)
		(void)chan_send(a->orchd, API_CLOSED, 0, &msg, sizeof(msg), -1);
	client_title(a);
}

void
client_drop_all(struct apid *a)
{
	struct client *c, *next;

	for (c = RB_MIN(client_tree, &a->clients); c != NULL; c = next) {
		next = RB_NEXT(client_tree, &a->clients, c);
		a->client_ops->lost(c);
		client_drop(c, false);
	}
}

/* --- writing --- */

int
client_put(struct client *c, const void *p, size_t n)
{
	if (c->phase == CP_DEAD)
		return -EPIPE;
	if (outbuf_add(&c->out, p, n) == 0)
		return 0;
	log_warn("conn %016" PRIx64 ": no memory for its output", c->id);
	client_drop(c, true);
	return -ENOMEM;
}

bool
client_has_room(const struct client *c)
{
	return !RULE(API_OUT_MAX) || outbuf_left(&c->out) < OUT_MAX;
}

/* Nobody waits long for a caller without a role. */
static void
set_timer(struct client *c, struct event *timer, uint32_t ms)
{
	struct timeval tv;

	if (c->role == ROLE_NONE && ms > STRANGER_MS && RULE(API_STRANGER_MS))
		ms = STRANGER_MS;
	tv.tv_sec = ms / 1000;
	tv.tv_usec = (long)(ms % 1000) * 1000;
	(void)event_add(timer, &tv);
}

void
client_deadline(struct client *c, uint32_t ms)
{
	if (ms == 0)
		(void)event_del(c->timer);
	else if (c->phase != CP_DEAD)
		set_timer(c, c->timer, ms);
}

/* moved: it took some just now. */
static void
watch_stall(struct client *c, bool moved)
{
	const bool waits = outbuf_left(&c->out) > 0;

	if (waits && (moved || !c->stalls) && RULE(API_STALL))
		set_timer(c, c->stall, c->apid->conf.write_ms);
	else if (!waits && c->stalls)
		(void)event_del(c->stall);
	c->stalls = waits;
}

/* --- reading --- */

static void
on_readable(int fd, short what, void *arg)
{
	struct client *c = arg;
	ssize_t n;

	(void)what;
	if (!c->reads) {
		/* only now: few say more before they have their answer, and
		 * to take it out each time is two system calls a request */
		(void)event_del(c->rd);
		return;
	}
	if (c->in == NULL && (c->in = malloc(READ_MAX)) == NULL) {
		client_drop(c, true);
		return;
	}
	n = recv(fd, c->in, READ_MAX, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_in_free(c);
		if (n == 0)
			c->apid->client_ops->eof(c);
		else
			client_drop(c, true);
		return;
	}
	c->in_off = 0;
	c->in_len = c->phase == CP_LINGER ? 0 : (size_t)n;
	client_run(c);
}

static void
on_writable(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	client_run(arg);
}

/* --- what happens next --- */

void
client_run(struct client *c)
{
	const struct client_ops *ops = c->apid->client_ops;
	bool more, moved = false;

	do {
		more = ops->step(c);
		if (c->phase == CP_DEAD)
			return;
		if (outbuf_left(&c->out) > 0) {
			const size_t was = outbuf_left(&c->out);
			const int r = outbuf_send(&c->out, c->fd);

			moved = moved || outbuf_left(&c->out) < was;
			if (r < 0 && r != -EAGAIN) {
				client_drop(c, true);
				return;
			}
			/* what waited for room or for the end goes on */
			more = more || r == 0;
		}
	} while (more);
	watch_stall(c, moved);
	if (c->in_off == c->in_len)
		client_in_free(c);
	if ((c->reads = ops->rest(c)))
		(void)event_add(c->rd, NULL);
	if (outbuf_left(&c->out) > 0)
		(void)event_add(c->wr, NULL);
	else
		(void)event_del(c->wr);
}

/*
 * Whatever is on its way to it: a client that takes none of it is left.  A
 * socket counts as writable only when most of what waits in it is read
 * (unix(7)): what it takes shows whether some was.
 */
static void
on_stall(int fd, short what, void *arg)
{
	struct client *c = arg;
	const size_t was = outbuf_left(&c->out);

	(void)fd;
	(void)what;
	(void)outbuf_send(&c->out, c->fd);
	if (outbuf_left(&c->out) < was) {
		watch_stall(c, true);
		client_run(c);
		return;
	}
	log_info("conn %016" PRIx64 ": closed, it took nothing for %u ms",
	    c->id, c->apid->conf.write_ms);
	client_drop(c, true);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct client *c = arg;

	(void)fd;
	(void)what;
	c->apid->client_ops->late(c);
	if (c->phase != CP_DEAD)
		client_run(c);
}

/* --- birth --- */

static bool
is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

int
client_new(struct apid *a, const struct api_caller *who, int fd)
{
	struct client *c = NULL;

	if (a->nclients >= a->conf.max_conns || !is_socket(fd) ||
	    (c = calloc(1, sizeof(*c))) == NULL) {
		(void)shutdown(fd, SHUT_RDWR);
		fd_close(&fd);
		return -ENOBUFS;
	}
	c->apid = a;
	c->id = who->conn;
	c->role = (enum api_role)who->role;
	c->who = (struct share_who){ who->uid, (enum share_kind)who->share };
	c->fd = fd;
	c->rd = event_new(a->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->wr = event_new(a->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->timer = evtimer_new(a->base, on_timer, c);
	c->stall = evtimer_new(a->base, on_stall, c);
	if (c->rd == NULL || c->wr == NULL || c->timer == NULL ||
	    c->stall == NULL || event_add(c->rd, NULL) < 0) {
		(void)shutdown(fd, SHUT_RDWR);
		client_free(c);
		return -ENOMEM;
	}
	(void)RB_INSERT(client_tree, &a->clients, c);
	a->nclients++;
	c->reads = true;
	client_deadline(c, a->conf.idle_ms);
	client_title(a);
	return 0;
}
