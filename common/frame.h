#ifndef MEWS_FRAME_H
#define MEWS_FRAME_H

#include <stddef.h>
#include <stdint.h>

/*
 * How apid, warden and agent carry an exec's or a console's streams over
 * one connection: u8 channel, u32 length (big endian), payload.
 */
enum frame_channel { /* values are on the wire */
	FRAME_STDIN = 0,
	FRAME_STDOUT = 1,
	FRAME_STDERR = 2,
	FRAME_STATUS = 3, /* how the command ended */
	FRAME_RESIZE = 4, /* the terminal's size */
	/* One byte: the number of a signal for the program, 1 to 31.  Only to
	 * who said that it takes them (docs/protocol.md). */
	FRAME_SIGNAL = 5,
	/* One byte: the channel that will carry no more (half-close). */
	FRAME_CLOSE = 255,
};

#define FRAME_HEAD_LEN 5
#define FRAME_PAYLOAD_MAX 65536

/* Which channels a peer may speak on: a decoder refuses the others. */
#define FRAME_BIT(ch) (1U << (ch))
#define FRAME_FROM_USER (FRAME_BIT(FRAME_STDIN) | FRAME_BIT(FRAME_RESIZE))
#define FRAME_FROM_USER_SIGNALS (FRAME_FROM_USER | FRAME_BIT(FRAME_SIGNAL))
#define FRAME_FROM_GUEST                                     \
	(FRAME_BIT(FRAME_STDOUT) | FRAME_BIT(FRAME_STDERR) | \
	    FRAME_BIT(FRAME_STATUS))

struct frame {
	enum frame_channel channel;
	uint32_t len;
	const uint8_t *data; /* until the next frame_feed() */
};

struct frame_dec {
	uint32_t allowed; /* FRAME_FROM_* */
	uint32_t used;
	int bad;
	uint8_t buf[FRAME_HEAD_LEN + FRAME_PAYLOAD_MAX];
};

void frame_init(struct frame_dec *d, uint32_t allowed);
/*
 * Takes bytes until a frame is whole.  1 and *ret, 0 (all bytes taken, more
 * needed), or -EBADMSG, which stays.  *used is what was taken.
 * FRAME_CLOSE needs no bit of its own, but names one of the allowed.
 */
int frame_feed(struct frame_dec *d, const void *data, size_t len, size_t *used,
    struct frame *ret);
/* True between two frames: where a connection may end. */
int frame_at_boundary(const struct frame_dec *d);

/* What a head says of its payload's length. */
uint32_t frame_len(const uint8_t head[FRAME_HEAD_LEN]);
/* Writes a head.  0, or -EINVAL for no such channel, -EMSGSIZE. */
int frame_head(uint8_t head[FRAME_HEAD_LEN], enum frame_channel ch, size_t len);

#endif
