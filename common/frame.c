#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/frame.h"
#include "common/util.h"

void
frame_init(struct frame_dec *d, uint32_t allowed)
{
	d->allowed = allowed;
	d->used = 0;
	d->bad = 0;
}

static bool
is_stream(unsigned int ch)
{
	return ch <= FRAME_SIGNAL;
}

uint32_t
frame_len(const uint8_t head[FRAME_HEAD_LEN])
{
	return (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 |
	    (uint32_t)head[3] << 8 | head[4];
}

/* Refused as soon as the head stands: no payload is waited for. */
static bool
head_is_good(const struct frame_dec *d)
{
	unsigned int ch = d->buf[0];
	uint32_t len = frame_len(d->buf);

	if (len > FRAME_PAYLOAD_MAX)
		return false;
	if (ch == FRAME_CLOSE)
		return len == 1 || !RULE(FRAME_CLOSE_LEN);
	if (RULE(FRAME_CHANNEL) && !is_stream(ch))
		return false;
	if (ch == FRAME_SIGNAL && len != 1)
		return false;
	return !RULE(FRAME_ALLOWED) || !is_stream(ch) ||
	    (d->allowed & FRAME_BIT(ch)) != 0;
}

static bool
close_is_good(const struct frame_dec *d)
{
	unsigned int ch = d->buf[FRAME_HEAD_LEN];

	return !RULE(FRAME_CLOSE_CHANNEL) ||
	    (is_stream(ch) && ch != FRAME_SIGNAL &&
		(d->allowed & FRAME_BIT(ch)) != 0);
}

static bool
signal_is_good(const struct frame_dec *d)
{
	const unsigned int sig = d->buf[FRAME_HEAD_LEN];

	return sig >= 1 && sig <= 31;
}

static int
bad(struct frame_dec *d)
{
	d->bad = 1;
	return -EBADMSG;
}

/* Copies towards a total of want bytes; true once they are there. */
static bool
take(struct frame_dec *d, uint32_t want, const uint8_t *p, size_t len,
    size_t *used)
{
	size_t n = want - d->used;

	if (n > len - *used)
		n = len - *used;
	if (n > 0)
		memcpy(d->buf + d->used, p + *used, n);
	d->used += (uint32_t)n;
	*used += n;
	return d->used == want;
}

int
frame_feed(struct frame_dec *d, const void *data, size_t len, size_t *used,
    struct frame *ret)
{
	const uint8_t *p = data;
	uint32_t body;

	*used = 0;
	if (d->bad)
		return -EBADMSG;
	if (d->used < FRAME_HEAD_LEN) {
		if (!take(d, FRAME_HEAD_LEN, p, len, used))
			return 0;
		if (!head_is_good(d))
			return bad(d);
	}
	body = frame_len(d->buf);
	if (!take(d, FRAME_HEAD_LEN + body, p, len, used))
		return 0;
	if (d->buf[0] == FRAME_CLOSE && !close_is_good(d))
		return bad(d);
	if (d->buf[0] == FRAME_SIGNAL && !signal_is_good(d))
		return bad(d);
	ret->channel = (enum frame_channel)d->buf[0];
	ret->len = body;
	ret->data = d->buf + FRAME_HEAD_LEN;
	d->used = 0;
	return 1;
}

int
frame_at_boundary(const struct frame_dec *d)
{
	return !d->bad && d->used == 0;
}

int
frame_head(uint8_t head[FRAME_HEAD_LEN], enum frame_channel ch, size_t len)
{
	if (!is_stream(ch) && ch != FRAME_CLOSE)
		return -EINVAL;
	if (len > FRAME_PAYLOAD_MAX)
		return -EMSGSIZE;
	head[0] = (uint8_t)ch;
	head[1] = (uint8_t)(len >> 24);
	head[2] = (uint8_t)(len >> 16);
	head[3] = (uint8_t)(len >> 8);
	head[4] = (uint8_t)len;
	return 0;
}
