#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/util.h"
#include "common/yamux.h"

enum { T_DATA, T_WINDOW, T_PING, T_GOAWAY };
#define F_SYN 1u
#define F_ACK 2u
#define F_FIN 4u
#define F_RST 8u
#define F_STREAM (F_SYN | F_ACK | F_FIN | F_RST)
enum { GO_NORMAL, GO_PROTO, GO_INTERNAL };

/* Bytes in a row that grows up to a maximum; read at the front. */
struct ybuf {
	uint8_t *p;
	size_t off, len, cap;
};

struct hdr {
	uint8_t version, type;
	uint16_t flags;
	uint32_t id, len;
};

struct ystream {
	TAILQ_ENTRY(ystream) link;
	struct yamux *y;
	void *arg;
	struct ybuf in;
	uint32_t id;
	uint32_t send_window; /* bytes the peer still takes */
	uint32_t recv_window; /* bytes the peer may still send */
	bool is_ours; /* opened here */
	bool is_acked;
	bool has_fin_sent, has_fin_recv;
	bool is_gone;
	bool wants_write; /* a write fell short */
};

struct yamux {
	TAILQ_HEAD(ystreams, ystream) streams;
	const struct yamux_ops *ops;
	void *arg;
	size_t nours, ntheirs, accept_max;
	uint32_t ahead; /* of a window, what is used */
	uint32_t back; /* and is given back at a time */
	struct ybuf out;
	uint8_t hdr[YAMUX_HDR]; /* the header that is being collected */
	size_t hdrlen;
	uint32_t left; /* payload bytes of the current frame still to come */
	uint16_t flags; /* of the current frame */
	struct ystream *cur; /* whose payload it is; NULL: nobody's */
	uint32_t next_id; /* the next that we open; 0: used up */
	uint32_t last_theirs; /* greatest id the peer opened */
	uint64_t pongs;
	int error;
	bool is_server, has_goaway_recv, has_goaway_sent;
};

static void
ybuf_clear(struct ybuf *b)
{
	free(b->p);
	*b = (struct ybuf){ 0 };
}

static void
ybuf_consume(struct ybuf *b, size_t n)
{
	assert(n <= b->len);
	b->off += n;
	b->len -= n;
	if (b->len == 0)
		b->off = 0;
}

/* Makes place for n more behind the content: 0, -ENOBUFS or -ENOMEM. */
static int
ybuf_reserve(struct ybuf *b, size_t n, size_t max)
{
	uint8_t *p;
	size_t cap = b->cap;

	if (n > max || b->len > max - n)
		return -ENOBUFS;
	if (b->off > 0 && b->off + b->len + n > cap) {
		memmove(b->p, b->p + b->off, b->len);
		b->off = 0;
	}
	if (b->len + n <= cap)
		return 0;
	if (cap == 0)
		cap = 4096;
	while (cap < b->len + n)
		cap *= 2;
	if (cap > max)
		cap = max;
	if ((p = realloc(b->p, cap)) == NULL)
		return -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

static int
ybuf_append(struct ybuf *b, const void *src, size_t n, size_t max)
{
	int r;

	if (n == 0)
		return 0;
	if ((r = ybuf_reserve(b, n, max)) < 0)
		return r;
	memcpy(b->p + b->off + b->len, src, n);
	b->len += n;
	return 0;
}

static void
put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3];
}

static int
send_hdr(
    struct yamux *y, uint8_t type, uint16_t flags, uint32_t id, uint32_t len)
{
	uint8_t h[YAMUX_HDR] = { 0, type, (uint8_t)(flags >> 8),
		(uint8_t)flags };

	put32(h + 4, id);
	put32(h + 8, len);
	return ybuf_append(&y->out, h, sizeof(h), YAMUX_OUT_MAX);
}

/*
 * Every stream hears of it once.  A callee may free any stream, so each
 * round starts from the front again.
 */
static void
streams_gone(struct yamux *y)
{
	struct ystream *s;

	do {
		for (s = TAILQ_FIRST(&y->streams); s != NULL;
		     s = TAILQ_NEXT(s, link)) {
			if (!s->is_gone)
				break;
		}
		if (s != NULL) {
			s->is_gone = true;
			y->ops->event(s->arg, s, YS_GONE);
		}
	} while (s != NULL);
}

/* Ends the session; the first error stays. */
static int
yamux_fail(struct yamux *y, int error)
{
	if (y->error != 0)
		return y->error;
	y->error = error;
	y->cur = NULL;
	if (!y->has_goaway_sent && error != -ESTALE) {
		y->has_goaway_sent = true;
		/* no room for it: the peer does not read anyway */
		(void)send_hdr(y, T_GOAWAY, 0, 0,
		    error == -EPROTO ? GO_PROTO : GO_INTERNAL);
	}
	streams_gone(y);
	return error;
}

/* A frame that the session cannot go on without. */
static void
send_must(
    struct yamux *y, uint8_t type, uint16_t flags, uint32_t id, uint32_t len)
{
	int r;

	if (y->error != 0)
		return;
	if ((r = send_hdr(y, type, flags, id, len)) < 0)
		y->error = r; /* told to the streams by yamux_input */
}

static struct ystream *
stream_find(struct yamux *y, uint32_t id)
{
	struct ystream *s;

	for (s = TAILQ_FIRST(&y->streams); s != NULL; s = TAILQ_NEXT(s, link)) {
		if (s->id == id)
			return s;
	}
	return NULL;
}

static struct ystream *
stream_new(struct yamux *y, uint32_t id, bool is_ours)
{
	struct ystream *s;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	s->y = y;
	s->id = id;
	s->is_ours = is_ours;
	s->is_acked = !is_ours;
	s->send_window = YAMUX_WINDOW;
	s->recv_window = YAMUX_WINDOW;
	TAILQ_INSERT_TAIL(&y->streams, s, link);
	if (is_ours)
		y->nours++;
	else
		y->ntheirs++;
	return s;
}

static void
stream_drop(struct ystream *s)
{
	struct yamux *y = s->y;

	if (y->cur == s)
		y->cur = NULL; /* the rest of its payload goes nowhere */
	if (s->is_ours)
		y->nours--;
	else
		y->ntheirs--;
	TAILQ_REMOVE(&y->streams, s, link);
	ybuf_clear(&s->in);
	free(s);
}

/* An id of the side that sends SYN, greater than all it opened before. */
static bool
is_fresh_id(const struct yamux *y, uint32_t id)
{
	return (id % 2 == 0) != y->is_server && id > y->last_theirs;
}

/* An id that was open once, so frames about it may still be under way. */
static bool
is_past_id(const struct yamux *y, uint32_t id)
{
	if ((id % 2 == 0) != y->is_server)
		return id <= y->last_theirs;
	return y->next_id == 0 || id < y->next_id;
}

/* The peer opens a stream: *ret stays NULL when it is refused. */
static int
on_syn(struct yamux *y, uint32_t id, struct ystream **ret)
{
	struct ystream *s;

	if (!is_fresh_id(y, id))
		return -EPROTO;
	y->last_theirs = id;
	if (y->has_goaway_sent || y->ntheirs >= y->accept_max ||
	    (s = stream_new(y, id, false)) == NULL) {
		send_must(y, T_WINDOW, F_RST, id, 0);
		return 0;
	}
	if (y->ops->open(y->arg, s) < 0) {
		stream_drop(s);
		send_must(y, T_WINDOW, F_RST, id, 0);
		return 0;
	}
	/* the callee may have freed it at once */
	if ((s = stream_find(y, id)) != NULL)
		send_must(y, T_WINDOW, F_ACK, id, 0);
	*ret = s;
	return 0;
}

/* Which stream a frame is about; *ret NULL: it comes too late to matter. */
static int
frame_stream(struct yamux *y, const struct hdr *h, struct ystream **ret)
{
	struct ystream *s;

	*ret = NULL;
	if (h->id == 0)
		return -EPROTO;
	if (h->flags & F_SYN) {
		if (h->flags & (F_ACK | F_RST))
			return -EPROTO;
		return on_syn(y, h->id, ret);
	}
	if ((s = stream_find(y, h->id)) == NULL)
		return is_past_id(y, h->id) ? 0 : -EPROTO;
	if (s->is_gone)
		return 0;
	if (h->flags & F_ACK) {
		if (s->is_acked)
			return -EPROTO;
		s->is_acked = true;
	}
	*ret = s;
	return 0;
}

/* FIN and RST count once the frame's payload is in. */
static int
frame_end(struct yamux *y, struct ystream *s, uint16_t flags)
{
	if (s == NULL)
		return 0;
	if (flags & F_RST) {
		s->is_gone = true;
		y->ops->event(s->arg, s, YS_GONE);
		return 0;
	}
	if (flags & F_FIN) {
		if (s->has_fin_recv)
			return -EPROTO;
		s->has_fin_recv = true;
		y->ops->event(s->arg, s, YS_READ);
	}
	return 0;
}

static int
on_data(struct yamux *y, const struct hdr *h)
{
	struct ystream *s;
	int r;

	if (h->len > YAMUX_FRAME_MAX)
		return -EPROTO;
	if ((r = frame_stream(y, h, &s)) < 0)
		return r;
	if (s != NULL && h->len > 0 &&
	    (s->has_fin_recv || h->len > s->recv_window))
		return -EPROTO;
	if (s != NULL)
		s->recv_window -= h->len;
	y->cur = s;
	y->flags = h->flags;
	y->left = h->len;
	if (y->left > 0)
		return 0;
	y->cur = NULL;
	return frame_end(y, s, h->flags);
}

static int
on_window(struct yamux *y, const struct hdr *h)
{
	struct ystream *s;
	int r;

	if (h->len > YAMUX_WINDOW)
		return -EPROTO;
	if ((r = frame_stream(y, h, &s)) < 0)
		return r;
	if (s == NULL)
		return 0;
	if (h->len > YAMUX_WINDOW - s->send_window)
		return -EPROTO;
	s->send_window += h->len;
	if (h->flags & (F_FIN | F_RST))
		return frame_end(y, s, h->flags);
	if (s->wants_write && ystream_room(s) > 0) {
		s->wants_write = false;
		y->ops->event(s->arg, s, YS_WRITE);
	}
	return 0;
}

static int
on_ping(struct yamux *y, const struct hdr *h)
{
	if (h->id != 0)
		return -EPROTO;
	if (h->flags == F_SYN) {
		send_must(y, T_PING, F_ACK, 0, h->len);
		return 0;
	}
	if (h->flags != F_ACK)
		return -EPROTO;
	y->pongs++;
	return 0;
}

static int
on_goaway(struct yamux *y, const struct hdr *h)
{
	if (h->id != 0 || h->flags != 0 || h->len > GO_INTERNAL)
		return -EPROTO;
	y->has_goaway_recv = true;
	if (h->len == GO_NORMAL)
		return 0;
	y->has_goaway_sent = true; /* a dying peer needs none from us */
	return -ECONNRESET;
}

static int
on_header(struct yamux *y)
{
	static const uint8_t zeros[YAMUX_HDR];
	static int (*const by_type[])(struct yamux *,
	    const struct hdr *) = { on_data, on_window, on_ping, on_goaway };
	const struct hdr h = { .version = y->hdr[0],
		.type = y->hdr[1],
		.flags = (uint16_t)(y->hdr[2] << 8 | y->hdr[3]),
		.id = get32(y->hdr + 4),
		.len = get32(y->hdr + 8) };

	y->hdrlen = 0;
	if (memcmp(y->hdr, zeros, YAMUX_HDR) == 0)
		return -ESTALE;
	if (h.version != 0 || h.type >= nitems(by_type) ||
	    (h.flags & ~F_STREAM))
		return -EPROTO;
	return by_type[h.type](y, &h);
}

/* Payload of the current frame; returns how much of it was there. */
static size_t
take_payload(struct yamux *y, const uint8_t *p, size_t len, int *r)
{
	struct ystream *s = y->cur;
	size_t n = len < y->left ? len : y->left;

	y->left -= (uint32_t)n;
	*r = 0;
	if (s == NULL || s->is_gone)
		return n;
	*r = ybuf_append(&s->in, p, n, YAMUX_WINDOW);
	if (*r < 0)
		return n;
	y->ops->event(s->arg, s, YS_READ);
	if (y->left == 0) {
		s = y->cur; /* NULL if the callee freed it */
		y->cur = NULL;
		*r = frame_end(y, s, y->flags);
	}
	return n;
}

static size_t
take_header(struct yamux *y, const uint8_t *p, size_t len, int *r)
{
	size_t n = YAMUX_HDR - y->hdrlen;

	if (n > len)
		n = len;
	memcpy(y->hdr + y->hdrlen, p, n);
	y->hdrlen += n;
	*r = y->hdrlen == YAMUX_HDR ? on_header(y) : 0;
	return n;
}

int
yamux_input(struct yamux *y, const void *buf, size_t len, size_t *used)
{
	const uint8_t *p = buf;
	int r;

	*used = 0;
	while (len > 0 && y->error == 0) {
		size_t n;

		n = y->left > 0 ? take_payload(y, p, len, &r)
				: take_header(y, p, len, &r);
		p += n;
		len -= n;
		*used += n;
		if (r < 0)
			return yamux_fail(y, r);
	}
	if (y->error != 0)
		streams_gone(y);
	return y->error;
}

size_t
yamux_output(const struct yamux *y, const uint8_t **p)
{
	*p = y->out.p == NULL ? NULL : y->out.p + y->out.off;
	return y->out.len;
}

/*
 * Output has room again: streams that wait are asked in turn, and who was
 * asked goes to the end of the list, so none starves behind a busy one.
 */
void
yamux_drained(struct yamux *y, size_t n)
{
	struct ystream *s;
	size_t turns = y->nours + y->ntheirs;

	ybuf_consume(&y->out, n);
	while (turns-- > 0 && y->error == 0 && y->out.len < YAMUX_OUT_DATA) {
		for (s = TAILQ_FIRST(&y->streams); s != NULL;
		     s = TAILQ_NEXT(s, link)) {
			if (s->wants_write && ystream_room(s) > 0)
				break;
		}
		if (s == NULL)
			return;
		TAILQ_REMOVE(&y->streams, s, link);
		TAILQ_INSERT_TAIL(&y->streams, s, link);
		s->wants_write = false;
		y->ops->event(s->arg, s, YS_WRITE);
	}
}

struct yamux *
yamux_new(enum yamux_side side, size_t accept_max, const struct yamux_ops *ops,
    void *arg)
{
	struct yamux *y;

	assert(accept_max <= YAMUX_STREAMS_MAX);
	if ((y = calloc(1, sizeof(*y))) == NULL)
		return NULL;
	TAILQ_INIT(&y->streams);
	y->ops = ops;
	y->arg = arg;
	y->accept_max = accept_max;
	y->ahead = YAMUX_WINDOW;
	y->back = YAMUX_WINDOW / 2;
	y->is_server = side == YAMUX_SERVER;
	y->next_id = y->is_server ? 2 : 1;
	return y;
}

void
yamux_bound(struct yamux *y, uint32_t n)
{
	assert(n > 1 && n <= YAMUX_WINDOW);
	if (y->is_server)
		y->back = n / 2;
	else
		y->ahead = n;
}

void
yamux_free(struct yamux *y)
{
	struct ystream *s;

	if (y == NULL)
		return;
	while ((s = TAILQ_FIRST(&y->streams)) != NULL)
		stream_drop(s);
	ybuf_clear(&y->out);
	free(y);
}

int
yamux_error(const struct yamux *y)
{
	return y->error;
}

bool
yamux_is_midframe(const struct yamux *y)
{
	return y->hdrlen > 0 || y->left > 0;
}

int
yamux_ping(struct yamux *y, uint32_t opaque)
{
	if (y->error != 0)
		return y->error;
	return send_hdr(y, T_PING, F_SYN, 0, opaque);
}

uint64_t
yamux_pongs(const struct yamux *y)
{
	return y->pongs;
}

size_t
yamux_streams(const struct yamux *y)
{
	return y->nours + y->ntheirs;
}

void
yamux_goaway(struct yamux *y)
{
	if (y->has_goaway_sent)
		return;
	y->has_goaway_sent = true;
	send_must(y, T_GOAWAY, 0, 0, GO_NORMAL);
}

int
ystream_open(struct yamux *y, struct ystream **ret)
{
	struct ystream *s;
	int r;

	if (y->error != 0)
		return y->error;
	if (y->has_goaway_recv || y->next_id == 0)
		return -ESHUTDOWN;
	if (y->nours >= YAMUX_STREAMS_MAX)
		return -EMFILE;
	if ((s = stream_new(y, y->next_id, true)) == NULL)
		return -ENOMEM;
	if ((r = send_hdr(y, T_WINDOW, F_SYN, s->id, 0)) < 0) {
		stream_drop(s);
		return r;
	}
	y->next_id = y->next_id > UINT32_MAX - 2 ? 0 : y->next_id + 2;
	*ret = s;
	return 0;
}

void
ystream_set_arg(struct ystream *s, void *arg)
{
	s->arg = arg;
}

uint32_t
ystream_id(const struct ystream *s)
{
	return s->id;
}

size_t
ystream_room(const struct ystream *s)
{
	const struct yamux *y = s->y;
	const uint32_t used = YAMUX_WINDOW - s->send_window;

	if (s->is_gone || s->has_fin_sent || y->error != 0 ||
	    y->out.len >= YAMUX_OUT_DATA || used >= y->ahead)
		return 0;
	return y->ahead - used < YAMUX_CHUNK ? y->ahead - used : YAMUX_CHUNK;
}

size_t
ystream_write(struct ystream *s, const void *buf, size_t len)
{
	struct yamux *y = s->y;
	size_t n, done = 0;

	while (done < len && (n = ystream_room(s)) > 0) {
		if (n > len - done)
			n = len - done;
		if (ybuf_reserve(&y->out, YAMUX_HDR + n, YAMUX_OUT_MAX) < 0)
			break;
		(void)send_hdr(y, T_DATA, 0, s->id, (uint32_t)n);
		(void)ybuf_append(
		    &y->out, (const uint8_t *)buf + done, n, YAMUX_OUT_MAX);
		s->send_window -= (uint32_t)n;
		done += n;
	}
	s->wants_write = done < len;
	return done;
}

void
ystream_want_write(struct ystream *s)
{
	s->wants_write = true;
}

void
ystream_fin(struct ystream *s)
{
	if (s->has_fin_sent || s->is_gone)
		return;
	s->has_fin_sent = true;
	s->wants_write = false;
	send_must(s->y, T_WINDOW, F_FIN, s->id, 0);
}

size_t
ystream_peek(const struct ystream *s, const uint8_t **p)
{
	*p = s->in.p == NULL ? NULL : s->in.p + s->in.off;
	return s->in.len;
}

/* The window goes back in halves: few frames, and never a stall. */
void
ystream_consume(struct ystream *s, size_t n)
{
	uint32_t back;

	ybuf_consume(&s->in, n);
	if (s->in.len == 0 && s->in.cap > YAMUX_CHUNK)
		ybuf_clear(&s->in);
	if (s->is_gone || s->has_fin_recv)
		return;
	/* what is neither unread nor still granted; a frame that is only half
	 * here was granted and is not yet in the buffer */
	back = YAMUX_WINDOW - s->recv_window - (uint32_t)s->in.len;
	if (s->y->cur == s)
		back -= s->y->left;
	if (back < s->y->back)
		return;
	s->recv_window += back;
	send_must(s->y, T_WINDOW, 0, s->id, back);
}

bool
ystream_is_eof(const struct ystream *s)
{
	return s->has_fin_recv && s->in.len == 0;
}

void
ystream_free(struct ystream *s)
{
	if (s == NULL)
		return;
	if (!s->is_gone && !(s->has_fin_sent && s->has_fin_recv))
		send_must(s->y, T_WINDOW, F_RST, s->id, 0);
	stream_drop(s);
}
