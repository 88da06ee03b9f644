#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apid/apid.h"
#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/chan.h"
#include "proto/jbuf.h"

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

bool
client_hold(struct client *c, size_t n)
{
	if (n > HELD_MAX - c->apid->held)
		return false;
	c->apid->held += n;
	c->held += n;
	return true;
}

static void
release(struct client *c)
{
	c->apid->held -= c->held;
	c->held = 0;
}

static void
in_free(struct client *c)
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
	close_fd(&c->fd);
	ws_free(c->ws);
	stream_free(c->stream);
	request_clear(&c->q);
	outbuf_clear(&c->out);
	client_http_free(c);
	in_free(c);
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
	if (c->phase == CP_ASK || c->phase == CP_OPEN)
		answer_log(c, 499);
	c->phase = CP_DEAD;
	(void)event_del(c->rd);
	(void)event_del(c->wr);
	(void)event_del(c->timer);
	stream_close(c->stream); /* the VM's side sees the end now */
	/* orchd holds a copy: without this the client would see no end */
	(void)shutdown(c->fd, SHUT_RDWR);
	close_fd(&c->fd);
	release(c);
	(void)RB_REMOVE(client_tree, &a->clients, c);
	a->nclients--;
	STAILQ_INSERT_TAIL(&a->dead, c, dead);
	event_active(a->reaper, EV_TIMEOUT, 0);
	if (tell && a->orchd != NULL)
		(void)chan_send(a->orchd, API_CLOSED, 0, &msg, sizeof(msg), -1);
	apid_title(a);
}

void
client_drop_all(struct apid *a)
{
	struct client *c, *next;

	for (c = RB_MIN(client_tree, &a->clients); c != NULL; c = next) {
		next = RB_NEXT(client_tree, &a->clients, c);
		if (c->phase == CP_ASK || c->phase == CP_OPEN) {
			c->keep = false;
			answer_error(c, 503,
			    "the suite restarts: ask again, with the same "
			    "Idempotency-Key");
			/* what the socket takes now; nobody vouches for the
			 * caller any more */
			(void)outbuf_send(&c->out, c->fd);
		}
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

void
client_deadline(struct client *c, uint32_t ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (long)(ms % 1000) * 1000 };

	if (ms == 0)
		(void)event_del(c->timer);
	else if (c->phase != CP_DEAD)
		(void)event_add(c->timer, &tv);
}

/* Between requests: only the connection itself costs anything. */
static void
client_idle(struct client *c)
{
	request_clear(&c->q);
	client_http_free(c);
	release(c);
	c->phase = CP_IDLE;
	c->no_body = c->linger = false;
	c->began_ms = 0;
	client_deadline(c, c->apid->conf.idle_ms);
}

static void
answered(struct client *c)
{
	if (c->keep) {
		client_idle(c);
		return;
	}
	if (!c->linger) {
		client_drop(c, true);
		return;
	}
	/*
	 * Closed at once, the client would get an error while it still
	 * writes and might never look at the answer.
	 */
	(void)shutdown(c->fd, SHUT_WR);
	in_free(c);
	c->phase = CP_LINGER;
	client_deadline(c, LINGER_MS);
}

/* --- reading --- */

static int
request_begin(struct client *c)
{
	const struct http_sink sink = { request_write, &c->q };

	if ((c->http = malloc(sizeof(*c->http))) == NULL) {
		client_drop(c, true);
		return -ENOMEM;
	}
	http_request_init(c->http, BODY_MAX, &sink);
	request_init(&c->q);
	c->began_ms = (uint64_t)clock_ms();
	c->phase = CP_HEAD;
	c->keep = false;
	client_deadline(c, HEAD_MS);
	return 0;
}

static void
on_fault(struct client *c)
{
	struct refusal no = { .status = c->http->fault_status };

	c->keep = false;
	(void)refuse(&no, c->http->fault_status, "%s", c->http->fault_text);
	log_debug("conn %016" PRIx64 ": %s", c->id, c->http->fault_rule);
	answer_refusal(c, &no);
}

/* The head stands: is the rest worth reading? */
static void
on_head(struct client *c)
{
	struct refusal no;

	c->keep = c->http->keep_alive && c->http->upgrade == NULL;
	c->no_body = c->http->method == HTTP_HEAD;
	c->q.req.conn = c->id;
	if (request_head(&c->q, &api_routes, c->http, &no) < 0) {
		answer_refusal(c, &no);
		return;
	}
	if (c->http->framing == HTTP_BODY_NONE)
		return;
	if (c->q.route->in != NULL &&
	    !client_hold(c, route_body_max(c->q.route))) {
		(void)refuse(&no, 503, "too many requests are being read now");
		answer_refusal(c, &no);
		return;
	}
	c->phase = CP_BODY;
	client_deadline(c, BODY_MS);
	if (c->http->expect_continue && c->in_len == c->in_off)
		(void)client_put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

static void
on_done(struct client *c)
{
	struct refusal no = { .status = 0 };

	if (request_done(&c->q, &no) < 0) {
		c->q.route = NULL;
		answer_error(c, no.status, "%s", no.text);
		return;
	}
	if (c->q.route->kind == ROUTE_HEALTH ||
	    c->q.route->kind == ROUTE_OPENAPI)
		answer_local(c);
	else
		ask_request(c);
}

static bool
is_reading(const struct client *c)
{
	return c->phase == CP_IDLE || c->phase == CP_HEAD ||
	    c->phase == CP_BODY;
}

static void
request_input(struct client *c)
{
	enum http_ev ev;
	size_t used;

	if (c->phase == CP_IDLE && request_begin(c) < 0)
		return;
	do {
		ev = http_feed(
		    c->http, c->in + c->in_off, c->in_len - c->in_off, &used);
		c->in_off += used;
		if (ev == HTTP_EV_HEAD)
			on_head(c);
	} while (ev == HTTP_EV_HEAD && is_reading(c));
	if (ev == HTTP_EV_FAULT)
		on_fault(c);
	else if (ev == HTTP_EV_DONE)
		on_done(c);
}

static void
input_eof(struct client *c)
{
	/* half a request, and its sender may still read */
	if ((c->phase == CP_HEAD || c->phase == CP_BODY) &&
	    http_eof(c->http) == HTTP_EV_FAULT) {
		on_fault(c);
		c->linger = false;
		client_run(c);
		return;
	}
	client_drop(c, true);
}

static bool
wants_read(const struct client *c)
{
	if (c->phase == CP_LINGER)
		return true;
	if (c->in_off < c->in_len)
		return false;
	if (c->phase == CP_WS)
		return ws_reads(c->ws) && client_has_room(c) &&
		    (c->stream == NULL ||
			outbuf_left(&c->stream->up) < OUT_MAX);
	return is_reading(c);
}

static void
on_readable(int fd, short what, void *arg)
{
	struct client *c = arg;
	ssize_t n;

	(void)what;
	if (!wants_read(c)) {
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
		in_free(c);
		if (n == 0)
			input_eof(c);
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
	struct client *c = arg;

	(void)fd;
	(void)what;
	if (c->phase == CP_ANSWER)
		client_deadline(c, WRITE_MS); /* it moves */
	client_run(c);
}

/* --- what happens next --- */

/* True when something was done that may make more possible. */
static bool
step(struct client *c)
{
	const bool has_input = c->in_off < c->in_len;

	switch (c->phase) {
	case CP_IDLE:
	case CP_HEAD:
	case CP_BODY:
		if (has_input)
			request_input(c);
		return has_input;
	case CP_WS:
		if (has_input && ws_reads(c->ws)) {
			ws_input(c);
			return true;
		}
		if (ws_flush(c))
			client_drop(c, true);
		return false;
	case CP_ANSWER:
		if (outbuf_left(&c->out) > 0)
			return false;
		answered(c);
		return true;
	case CP_EVENTS:
		/* the next ones when these are on their way, not before */
		if (c->ask == 0 && outbuf_left(&c->out) == 0)
			ask_events(c);
		return false;
	case CP_ASK:
	case CP_OPEN:
	case CP_LOG:
	case CP_LINGER:
	case CP_DEAD:
		break;
	}
	return false;
}

static void
update(struct client *c)
{
	/* first: what the VM's side takes makes room for more */
	if (c->stream != NULL)
		stream_update(c->stream);
	if (wants_read(c))
		(void)event_add(c->rd, NULL);
	if (outbuf_left(&c->out) > 0)
		(void)event_add(c->wr, NULL);
	else
		(void)event_del(c->wr);
}

void
client_run(struct client *c)
{
	bool more;

	do {
		more = step(c);
		if (c->phase == CP_DEAD)
			return;
		if (outbuf_left(&c->out) > 0) {
			const int r = outbuf_send(&c->out, c->fd);

			if (r < 0 && r != -EAGAIN) {
				client_drop(c, true);
				return;
			}
			/* what waited for room or for the end goes on */
			more = more || r == 0;
		}
	} while (more);
	if (c->in_off == c->in_len)
		in_free(c);
	update(c);
}

/* --- deadlines --- */

static void
on_timer(int fd, short what, void *arg)
{
	static const char beat[] = ": still here\n\n";
	struct client *c = arg;

	(void)fd;
	(void)what;
	switch (c->phase) {
	case CP_HEAD:
	case CP_BODY:
		c->keep = false;
		c->linger = true;
		answer_error(c, 408, "the request did not come to its end");
		break;
	case CP_ASK:
		c->keep = false;
		answer_error(c, 504, "the suite did not answer in time");
		break;
	case CP_OPEN:
		c->keep = false;
		answer_error(c, 504, "the vm did not answer in time");
		break;
	case CP_EVENTS:
		/* two beats and nothing moved: nobody is there */
		if (outbuf_left(&c->out) > 0) {
			client_drop(c, true);
			return;
		}
		(void)answer_chunk(c, beat, sizeof(beat) - 1);
		client_deadline(c, BEAT_MS);
		break;
	case CP_WS:
		ws_late(c);
		break;
	case CP_IDLE:
	case CP_ANSWER:
	case CP_LOG:
	case CP_LINGER:
		client_drop(c, true);
		return;
	case CP_DEAD:
		return;
	}
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
client_new(struct apid *a, uint64_t id, int fd)
{
	struct client *c = NULL;

	if (a->nclients >= a->conf.max_conns || !is_socket(fd) ||
	    (c = calloc(1, sizeof(*c))) == NULL) {
		(void)shutdown(fd, SHUT_RDWR);
		close_fd(&fd);
		return -ENOBUFS;
	}
	c->apid = a;
	c->id = id;
	c->fd = fd;
	request_init(&c->q);
	c->rd = event_new(a->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->wr = event_new(a->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->timer = evtimer_new(a->base, on_timer, c);
	if (c->rd == NULL || c->wr == NULL || c->timer == NULL ||
	    event_add(c->rd, NULL) < 0) {
		(void)shutdown(fd, SHUT_RDWR);
		client_free(c);
		return -ENOMEM;
	}
	(void)RB_INSERT(client_tree, &a->clients, c);
	a->nclients++;
	client_idle(c);
	apid_title(a);
	return 0;
}
