#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/fds.h"
#include "common/util.h"
#include "proto/chan.h"
#include "proto/kill.h"

/* Messages handled per wake-up, so that one peer cannot hold the loop. */
#define CHAN_BATCH 64
#define RETRY_MS 10

struct out {
	STAILQ_ENTRY(out) entry;
	uint32_t type;
	uint64_t id;
	size_t len;
	int fd;
	uint8_t data[];
};

struct chan {
	int sock;
	const char *peer;
	const struct chan_ops *ops;
	void *arg;
	uint32_t phase;
	struct event *rd;
	struct event *wr;
	struct event *retry; /* instead of wr: poll(2) would not wait */
	STAILQ_HEAD(out_queue, out) queue;
	size_t nqueue;
	size_t nfds; /* in it */
	unsigned int depth; /* handlers of ours on the stack */
	bool held; /* not to be read for now */
	bool dead; /* gone() was called */
	bool freed; /* chan_free() came while depth > 0 */
	_Alignas(8) uint8_t buf[MSG_MAX];
};

static void
out_free(struct out *o)
{
	if (o == NULL)
		return;
	fd_close(&o->fd);
	explicit_bzero(o->data, o->len); /* may have been a secret */
	free(o);
}

static void
chan_destroy(struct chan *c)
{
	struct out *o;

	while ((o = STAILQ_FIRST(&c->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->queue, entry);
		out_free(o);
	}
	if (c->rd != NULL)
		event_free(c->rd);
	if (c->wr != NULL)
		event_free(c->wr);
	if (c->retry != NULL)
		event_free(c->retry);
	fd_close(&c->sock);
	explicit_bzero(c->buf, sizeof(c->buf));
	free(c);
}

void
chan_free(struct chan *c)
{
	if (c == NULL)
		return;
	if (c->depth > 0) {
		c->freed = true;
		c->dead = true;
		return;
	}
	chan_destroy(c);
}

/* Ends the channel once: no more events, then the owner hears of it. */
static void
chan_fail(struct chan *c, enum chan_end end, const char *why)
{
	if (c->dead)
		return;
	c->dead = true;
	(void)event_del(c->rd);
	(void)event_del(c->wr);
	(void)event_del(c->retry);
	c->depth++;
	c->ops->gone(c->arg, c, end, why);
	c->depth--;
}

static const struct msg_handler *
handler_find(const struct chan_ops *ops, uint32_t type)
{
	size_t i;

	for (i = 0; i < ops->ntab; i++) {
		if (ops->tab[i].type == type)
			return &ops->tab[i];
	}
	return NULL;
}

/* NULL: go ahead.  Otherwise why the message is refused. */
static const char *
handler_refuses(
    const struct chan *c, const struct msg_handler *h, const struct msg *m)
{
	if (h == NULL)
		return "not yours to send";
	if (RULE(CHAN_SIZE) &&
	    (m->len < h->len || m->len - h->len > h->tail_max))
		return "wrong size";
	if (RULE(CHAN_FDS) &&
	    ((h->nfds == 0 && m->fd != -1) || (h->nfds == 1 && m->fd == -1)))
		return "wrong descriptors";
	if ((h->phases & c->phase) == 0)
		return "wrong time";
	if (RULE(CHAN_CHECK) && h->check != NULL && h->check(m->data) < 0)
		return "bad field";
	return NULL;
}

static void
chan_handle(struct chan *c, struct msg *m)
{
	const struct msg_handler *h = handler_find(c->ops, m->type);
	const char *why;
	char text[96];
	int r = 0;

	kill_point(m->type, KILL_BEFORE);
	why = handler_refuses(c, h, m);
	if (why == NULL) {
		c->depth++;
		r = h->fn(c->arg, c, m);
		c->depth--;
	}
	fd_close(&m->fd);
	kill_point(m->type, KILL_AFTER);
	/* an answer that found nobody: what it answered was no fault */
	if (r == -EPIPE)
		chan_fail(c, CHAN_CLOSED, "closed");
	else if (r < 0)
		why = "refused by its handler";
	if (why != NULL) {
		(void)snprintf(
		    text, sizeof(text), "message 0x%04x: %s", m->type, why);
		chan_fail(c, CHAN_REFUSED, text);
	}
}

static void
on_readable(int sock, short what, void *arg)
{
	struct chan *c = arg;
	int i, r;

	(void)what;
	c->depth++; /* c outlives its handlers */
	for (i = 0; i < CHAN_BATCH && !c->dead && !c->held; i++) {
		struct msg m = { .fd = -1 };

		r = msg_recv(sock, c->buf, &m);
		if (r == -EAGAIN)
			break;
		if (r == -ECONNRESET)
			chan_fail(c, CHAN_CLOSED, "closed");
		else if (r < 0)
			chan_fail(c, CHAN_REFUSED, "malformed packet");
		else
			chan_handle(c, &m);
	}
	c->depth--;
	if (c->freed && c->depth == 0)
		chan_destroy(c);
}

void
chan_hold(struct chan *c, bool hold)
{
	c->held = hold;
	if (c->dead)
		return;
	if (hold)
		(void)event_del(c->rd);
	else
		(void)event_add(c->rd, NULL);
}

void
chan_drain(struct chan *c)
{
	on_readable(c->sock, 0, c);
}

/* Sends what the peer takes.  0, -EAGAIN, or an error that ends it. */
static int
queue_run(struct chan *c)
{
	struct out *o;
	int r;

	while ((o = STAILQ_FIRST(&c->queue)) != NULL) {
		r = msg_send(c->sock, o->type, o->id, o->data, o->len, o->fd);
		if (r < 0)
			return r;
		STAILQ_REMOVE_HEAD(&c->queue, entry);
		c->nqueue--;
		c->nfds -= o->fd >= 0;
		kill_point(o->type, KILL_AFTER);
		out_free(o);
	}
	return 0;
}

/*
 * The peer takes no more.  When that is for want of room, the socket says
 * when to go on; when too many descriptors are in flight it polls writable
 * all the same, and asking it would be a busy loop.
 */
static void
queue_wait(struct chan *c)
{
	static const struct timeval pause = { .tv_usec = RETRY_MS * 1000L };
	struct pollfd pfd = { .fd = c->sock, .events = POLLOUT };

	if (poll(&pfd, 1, 0) == 0) {
		(void)event_add(c->wr, NULL);
		return;
	}
	(void)event_del(c->wr);
	(void)event_add(c->retry, &pause);
}

/* Also retry's turn. */
static void
on_writable(int fd, short what, void *arg)
{
	struct chan *c = arg;
	int r = queue_run(c);

	(void)fd;
	(void)what;
	if (r == 0)
		(void)event_del(c->wr);
	else if (r == -EAGAIN)
		queue_wait(c);
	else {
		c->depth++;
		chan_fail(c, CHAN_CLOSED, "closed");
		c->depth--;
		if (c->freed && c->depth == 0)
			chan_destroy(c);
	}
}

struct chan *
chan_new(struct event_base *base, int sock, const char *peer,
    const struct chan_ops *ops, void *arg)
{
	struct chan *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		fd_close(&sock);
		return NULL;
	}
	STAILQ_INIT(&c->queue);
	c->sock = sock;
	c->peer = peer;
	c->ops = ops;
	c->arg = arg;
	c->phase = PH_ANY;
	c->rd = event_new(base, sock, EV_READ | EV_PERSIST, on_readable, c);
	c->wr = event_new(base, sock, EV_WRITE | EV_PERSIST, on_writable, c);
	c->retry = evtimer_new(base, on_writable, c);
	if (c->rd == NULL || c->wr == NULL || c->retry == NULL ||
	    event_add(c->rd, NULL) < 0) {
		chan_destroy(c);
		return NULL;
	}
	return c;
}

const char *
chan_peer(const struct chan *c)
{
	return c->peer;
}

int
chan_sock(const struct chan *c)
{
	return c->sock;
}

void
chan_set_phase(struct chan *c, uint32_t phase)
{
	c->phase = phase;
}

size_t
chan_queued(const struct chan *c)
{
	return c->nqueue;
}

size_t
chan_queued_fds(const struct chan *c)
{
	return c->nfds;
}

static int
queue_add(struct chan *c, uint32_t type, uint64_t id, const void *data,
    size_t len, int fd)
{
	struct out *o;

	if (c->nqueue >= CHAN_QUEUE_MAX)
		return -ENOBUFS;
	if ((o = malloc(sizeof(*o) + len)) == NULL)
		return -ENOBUFS;
	o->type = type;
	o->id = id;
	o->len = len;
	o->fd = fd;
	if (len > 0)
		memcpy(o->data, data, len);
	if (event_add(c->wr, NULL) < 0) {
		o->fd = -1; /* still the caller's */
		out_free(o);
		return -ENOBUFS;
	}
	STAILQ_INSERT_TAIL(&c->queue, o, entry);
	c->nqueue++;
	c->nfds += fd >= 0;
	return 0;
}

int
chan_send(struct chan *c, uint32_t type, uint64_t id, const void *data,
    size_t len, int fd)
{
	int r = -EPIPE;

	if (c->dead)
		goto out;
	if (len > MSG_PAYLOAD_MAX) {
		r = -EMSGSIZE;
		goto out;
	}
	kill_point(type, KILL_BEFORE);
	r = -EAGAIN;
	if (STAILQ_EMPTY(&c->queue))
		r = msg_send(c->sock, type, id, data, len, fd);
	if (r == -EAGAIN) {
		r = queue_add(c, type, id, data, len, fd);
		if (r == 0)
			return 0; /* the queue owns fd now */
	} else if (r == 0)
		kill_point(type, KILL_AFTER);
out:
	fd_close(&fd);
	return r;
}

int
chan_send2(struct chan *c, uint32_t type, uint64_t id, const void *head,
    size_t headlen, const void *tail, size_t taillen, int fd)
{
	_Alignas(8) uint8_t buf[MSG_PAYLOAD_MAX];
	int r;

	if (headlen > sizeof(buf) || taillen > sizeof(buf) - headlen) {
		fd_close(&fd);
		return -EMSGSIZE;
	}
	memcpy(buf, head, headlen);
	if (taillen > 0)
		memcpy(buf + headlen, tail, taillen);
	r = chan_send(c, type, id, buf, headlen + taillen, fd);
	explicit_bzero(buf, headlen + taillen);
	return r;
}

void
chan_flush(struct chan *c)
{
	if (!c->dead)
		(void)queue_run(c);
}
