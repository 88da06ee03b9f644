#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cur.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/ward.h"
#include "warden/agent.h"
#include "warden/stream.h"

#define OPEN_MS 10000
#define CALL_MS 30000
#define END_MS 10000
#define HELD_MS 2000 /* while a client is not read: is it still there? */
#define PUMP_FRAMES 16 /* a turn; then others have theirs */
#define READ_CHUNK 16384
#define DRAIN_READS 16

static void
set_timer(struct stream *st, long ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	(void)evtimer_add(st->timer, &tv);
}

/*
 * A close with unread bytes would turn the client's end of file into an
 * error (unix(7)).
 */
static void
drain(int fd)
{
	uint8_t buf[READ_CHUNK];
	int i;

	for (i = 0; i < DRAIN_READS; i++) {
		if (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) <= 0)
			return;
	}
}

static void
let_go(struct stream *st)
{
	if (st->ops->close != NULL)
		st->ops->close(st);
}

/* The memory goes when no caller uses it. */
void
stream_kill(struct stream *st)
{
	if (st->phase == SP_DEAD)
		return;
	st->phase = SP_DEAD;
	(void)event_del(st->rd);
	(void)event_del(st->wr);
	let_go(st);
	drain(st->fd);
	fd_close(&st->fd);
	event_active(st->timer, EV_TIMEOUT, 0);
}

void
stream_free(struct stream *st)
{
	if (st == NULL)
		return;
	let_go(st);
	if (st->rd != NULL)
		event_free(st->rd);
	if (st->wr != NULL)
		event_free(st->wr);
	if (st->timer != NULL)
		event_free(st->timer);
	fd_close(&st->fd);
	free(st->up);
	free(st->open);
	free(st->down);
	free(st->chunk);
	free(st);
}

size_t
stream_note(uint8_t buf[FRAME_HEAD_LEN + NOTE_MAX], uint8_t channel,
    const void *data, size_t len)
{
	if (len > NOTE_MAX)
		len = NOTE_MAX;
	buf[0] = channel;
	buf[1] = buf[2] = 0;
	buf[3] = (uint8_t)(len >> 8);
	buf[4] = (uint8_t)len;
	memcpy(buf + FRAME_HEAD_LEN, data, len);
	return FRAME_HEAD_LEN + len;
}

void
stream_end(struct stream *st)
{
	if (st->phase >= SP_END)
		return;
	st->phase = SP_END;
	let_go(st);
	(void)event_add(st->rd, NULL); /* to see the client go */
	set_timer(st, END_MS);
	stream_pump(st);
}

/* FRAME_OPENED: the status, then text for a person. */
static size_t
opened_frame(
    uint8_t buf[FRAME_HEAD_LEN + NOTE_MAX], int status, const char *text)
{
	uint8_t data[NOTE_MAX];
	size_t len = strnlen(text, NOTE_MAX - 2);
	struct wcur w;

	wcur_init(&w, data, sizeof(data));
	(void)wcur_u8(&w, (uint8_t)(status >> 8));
	(void)wcur_u8(&w, (uint8_t)status);
	(void)wcur_bytes(&w, text, len);
	return stream_note(buf, FRAME_OPENED, data, w.used);
}

void
stream_opened(struct stream *st, int status, const char *text)
{
	st->out_len = opened_frame(st->note, status, text);
	st->out = st->note;
	(void)evtimer_del(st->timer);
	if (status != 101) {
		stream_end(st);
		return;
	}
	free(st->open);
	st->open = NULL;
	st->phase = SP_RUN;
	(void)event_add(st->rd, NULL);
	stream_pump(st);
}

void
stream_call(struct stream *st)
{
	st->phase = SP_CALL;
	(void)event_del(st->rd);
	set_timer(st, CALL_MS);
}

static enum pull
pull(struct stream *st)
{
	if (st->phase == SP_RUN) {
		enum pull p = st->ops->pull(st);

		if (p != PULL_END)
			return p;
		stream_end(st); /* pumps what is left, and may kill st */
		return PULL_WAIT;
	}
	if (st->last_len > 0) {
		st->out = st->last;
		st->out_len = st->last_len;
		st->last_len = 0;
		return PULL_SOME;
	}
	return st->phase == SP_END ? PULL_END : PULL_WAIT;
}

void
stream_pump(struct stream *st)
{
	int frames = 0;

	while (st->phase != SP_DEAD) {
		ssize_t n;

		if (st->out_len == 0) {
			enum pull p =
			    frames++ < PUMP_FRAMES ? pull(st) : PULL_SOME;

			if (p == PULL_END)
				stream_kill(st);
			if (p != PULL_SOME)
				return;
		}
		if (st->out_len == 0)
			break; /* had its turn */
		n = send(
		    st->fd, st->out, st->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			stream_kill(st);
			return;
		}
		st->out += n;
		st->out_len -= (size_t)n;
	}
	if (st->phase != SP_DEAD)
		(void)event_add(st->wr, NULL);
}

void
stream_push(struct stream *st)
{
	size_t n;

	if (st->phase != SP_RUN)
		return;
	if (st->up_off < st->up_len) {
		const uint8_t *p = st->up->buf + st->up_off;

		n = st->up_len - st->up_off;
		st->up_off += st->ops->push(st, p, n);
	}
	if (st->up_off < st->up_len) {
		(void)event_del(st->rd);
		set_timer(st, HELD_MS);
		return;
	}
	st->up_off = st->up_len = 0;
	(void)evtimer_del(st->timer);
	(void)event_add(st->rd, NULL);
}

void
stream_fail(struct stream *st, const char *why)
{
	char json[NOTE_MAX];
	int n;

	n = snprintf(json, sizeof(json),
	    "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"%s\","
	    "\"reason\":\"InternalError\"}",
	    why);
	if (!st->has_status && n > 0)
		st->last_len =
		    stream_note(st->last, FRAME_STATUS, json, (size_t)n);
	stream_end(st);
}

/* Bytes that complete the head, then the frame: nothing is read too much. */
static size_t
wanted(const struct frame_dec *d)
{
	if (d->used < FRAME_HEAD_LEN)
		return FRAME_HEAD_LEN - d->used;
	return (size_t)FRAME_HEAD_LEN + frame_len(d->buf) - d->used;
}

/* Its head is whole: is there a place for the rest?  False: answered. */
static bool
open_head(struct stream *st)
{
	const struct frame_dec *d = st->up;
	const size_t len = wanted(d);

	if (d->buf[0] != FRAME_OPEN || len > WARD_OPEN_MAX) {
		stream_opened(st, 400, "not an open frame");
		return false;
	}
	if (len > FRAME_PAYLOAD_MAX &&
	    (st->open = malloc(FRAME_HEAD_LEN + len)) == NULL) {
		stream_opened(st, 503, "out of memory");
		return false;
	}
	return true;
}

/* FRAME_OPEN is no frame of common/frame.h, but of the same form. */
static void
open_bytes(struct stream *st, const uint8_t *p, size_t len)
{
	struct frame_dec *d = st->up;
	uint8_t *to = st->open != NULL ? st->open : d->buf;

	memcpy(to + d->used, p, len);
	d->used += (uint32_t)len;
	if (d->used < FRAME_HEAD_LEN ||
	    (d->used == FRAME_HEAD_LEN && !open_head(st)) || wanted(d) > 0)
		return;
	st->ops->open(st, to + FRAME_HEAD_LEN, d->used - FRAME_HEAD_LEN);
}

static void
run_bytes(struct stream *st, const uint8_t *p, size_t len)
{
	struct frame f;
	size_t used;
	int r = frame_feed(st->up, p, len, &used, &f);

	if (r < 0) {
		/* it broke the rules: no status can be believed to arrive */
		stream_kill(st);
	} else if (r > 0) {
		st->up_off = st->ops->takes_frames ? 0 : FRAME_HEAD_LEN;
		st->up_len = FRAME_HEAD_LEN + f.len;
		if (!st->ops->takes_frames && f.channel == FRAME_CLOSE)
			st->up_off = st->up_len = 0;
		stream_push(st);
	}
}

static void
on_readable(int fd, short what, void *arg)
{
	struct stream *st = arg;
	uint8_t buf[READ_CHUNK];
	size_t want = st->phase == SP_END ? sizeof(buf) : wanted(st->up);
	ssize_t n;

	(void)what;
	n = recv(
	    fd, buf, want < sizeof(buf) ? want : sizeof(buf), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		stream_kill(st); /* the client is gone: so is its command */
		return;
	}
	if (st->phase == SP_OPEN)
		open_bytes(st, buf, (size_t)n);
	else if (st->phase == SP_RUN)
		run_bytes(st, buf, (size_t)n);
	agent_kick(st->ss->agent);
}

static void
on_writable(int fd, short what, void *arg)
{
	struct stream *st = arg;

	(void)fd;
	(void)what;
	stream_pump(st);
	agent_kick(st->ss->agent); /* windows that were given back */
}

bool
stream_is_over(struct stream *st)
{
	if (st->phase != SP_DEAD && fd_is_hung_up(st->fd))
		stream_kill(st);
	return st->phase == SP_DEAD;
}

static void
on_timer(int fd, short what, void *arg)
{
	struct stream *st = arg;
	struct agent *agent = st->ss->agent;

	(void)fd;
	(void)what;
	switch (st->phase) {
	case SP_OPEN:
		stream_opened(st, 408, "nothing was asked for");
		break;
	case SP_CALL:
		agent_doubt(agent);
		stream_opened(st, 504, "the agent did not answer");
		break;
	case SP_RUN:
		if (fd_is_hung_up(st->fd))
			stream_kill(st);
		else
			set_timer(st, HELD_MS);
		break;
	case SP_END:
		stream_kill(st);
		break;
	case SP_DEAD:
		TAILQ_REMOVE(&st->ss->list, st, entry);
		stream_free(st);
		break;
	}
	agent_kick(agent); /* the reset of a stream that was given up */
}

struct stream *
stream_new(struct streams *ss, const struct stream_ops *ops, uint32_t kind,
    uint32_t flags, int fd)
{
	struct stream *st = calloc(1, sizeof(*st));

	if (st == NULL)
		return NULL;
	st->ss = ss;
	st->ops = ops;
	st->kind = kind;
	st->flags = flags;
	st->fd = -1;
	st->up = malloc(sizeof(*st->up));
	st->rd = event_new(ss->base, fd, EV_READ | EV_PERSIST, on_readable, st);
	st->wr = event_new(ss->base, fd, EV_WRITE, on_writable, st);
	st->timer = evtimer_new(ss->base, on_timer, st);
	if (st->up == NULL || st->rd == NULL || st->wr == NULL ||
	    st->timer == NULL || event_add(st->rd, NULL) < 0) {
		stream_free(st);
		return NULL;
	}
	frame_init(st->up, FRAME_FROM_USER);
	st->fd = fd;
	set_timer(st, OPEN_MS);
	return st;
}

void
stream_refuse(int fd, const char *text)
{
	uint8_t buf[FRAME_HEAD_LEN + NOTE_MAX];
	size_t len = opened_frame(buf, 503, text);

	(void)send(fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	drain(fd);
	fd_close(&fd);
}
