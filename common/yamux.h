#ifndef MEWS_YAMUX_H
#define MEWS_YAMUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Streams over one byte stream, in the wire format of yamux version 0.
 * No I/O: bytes that arrived go in, bytes to send are drained.  The peer is
 * hostile (each side is for the other): whatever it sends costs at most the
 * maxima below; what breaks a rule ends the session with GOAWAY and an
 * error, never the process.
 *
 * Stricter than the format: a data frame holds at most YAMUX_FRAME_MAX, a
 * window is never more than YAMUX_WINDOW, unknown flags are errors, ids
 * only grow.  A header of twelve zero bytes is no legal frame; common/sess.h
 * gives it a meaning.
 */
#define YAMUX_HDR 12
#define YAMUX_FRAME_MAX 65536 /* largest payload taken from a peer */
#define YAMUX_CHUNK 16384 /* largest payload sent: streams take turns */
#define YAMUX_WINDOW 262144 /* unread bytes a stream may hold */
#define YAMUX_STREAMS_MAX 256
#define YAMUX_OUT_DATA 262144 /* queued output over which writes wait */
#define YAMUX_OUT_MAX                                          \
	(YAMUX_OUT_DATA + YAMUX_CHUNK + 65536) /* with control \
						*/

enum yamux_side {
	YAMUX_CLIENT, /* opens odd ids */
	YAMUX_SERVER, /* opens even ids */
};

/* What a stream's event() is told, one or several bits. */
#define YS_READ 1u /* data or the peer's end can be read */
#define YS_WRITE 2u /* a short ystream_write may be tried again */
#define YS_GONE                                                      \
	4u /* reset, or the session ended: only ystream_free is left \
	    */

struct yamux;
struct ystream;

/*
 * Called from yamux_input and yamux_drained.  Streams may be opened, read,
 * written and freed inside; the session may not be freed or fed there.
 */
struct yamux_ops {
	/* The peer opened s: 0 keeps it (now the callee's), else it is reset.
	 */
	int (*open)(void *arg, struct ystream *s);
	/* arg is the stream's, set by ystream_set_arg. */
	void (*event)(void *arg, struct ystream *s, unsigned int ev);
};

/*
 * accept_max: streams the peer may have open (0: none; beyond: reset).
 * NULL when out of memory.  ops is kept by pointer.
 */
struct yamux *yamux_new(enum yamux_side side, size_t accept_max,
    const struct yamux_ops *ops, void *arg);
/*
 * Of each stream, what the client sends ahead of what the server has taken is
 * no more than n: less than the window that it may use.  To be said on both
 * sides: the client holds itself to it, the server gives back the sooner.
 */
void yamux_bound(struct yamux *y, uint32_t n);
/* Frees all streams without telling them.  NULL is fine. */
void yamux_free(struct yamux *y);

/*
 * Takes len bytes from the peer; *used says how many were read when the
 * session ended in the middle of them.  0, or a negative errno that stays:
 * -EPROTO for a broken rule, -ESTALE for a header of zeros,
 * -ECONNRESET for a peer's GOAWAY with an error, -ENOBUFS for a peer that
 * asks and does not read, -ENOMEM.  Then every stream is gone, the last
 * output (a GOAWAY) may be drained, and yamux_free is left.
 */
int yamux_input(struct yamux *y, const void *buf, size_t len, size_t *used);
/* Output that waits: *p is valid until the next call on the session. */
size_t yamux_output(const struct yamux *y, const uint8_t **p);
/* The first n bytes of it were sent. */
void yamux_drained(struct yamux *y, size_t n);
/* The session's error: 0 while it works. */
int yamux_error(const struct yamux *y);
/* True when bytes stopped inside a frame: after EOF, a cut session. */
bool yamux_is_midframe(const struct yamux *y);
/* Asks for a sign of life; the answer shows in yamux_pongs.  0 or -errno. */
int yamux_ping(struct yamux *y, uint32_t opaque);
uint64_t yamux_pongs(const struct yamux *y);
size_t yamux_streams(const struct yamux *y);
/* No more streams from the peer; those open go on. */
void yamux_goaway(struct yamux *y);

/*
 * Opens a stream.  0, -EMFILE (YAMUX_STREAMS_MAX of ours are open), -ESHUTDOWN
 * (peer goes away, or ids used up), -ENOMEM, or the session's error.
 */
int ystream_open(struct yamux *y, struct ystream **ret);
void ystream_set_arg(struct ystream *s, void *arg);
uint32_t ystream_id(const struct ystream *s);
/* Bytes that ystream_write would take now. */
size_t ystream_room(const struct ystream *s);
/*
 * Takes at most ystream_room() bytes and returns how many; when that is less
 * than len, YS_WRITE comes once more can be taken.  0 on a finished or gone
 * stream.
 */
size_t ystream_write(struct ystream *s, const void *buf, size_t len);
/* YS_WRITE is to come when something can be written (again). */
void ystream_want_write(struct ystream *s);
/* Half close: nothing more will be written. */
void ystream_fin(struct ystream *s);
/* Unread bytes: *p is valid until the next call on the session. */
size_t ystream_peek(const struct ystream *s, const uint8_t **p);
/* The first n of them were used; the peer may send as many again. */
void ystream_consume(struct ystream *s, size_t n);
/* The peer has finished and everything was consumed. */
bool ystream_is_eof(const struct ystream *s);
/* Gives the stream up: reset, unless both sides had finished. */
void ystream_free(struct ystream *s);

#endif
