#ifndef MEWS_SESS_H
#define MEWS_SESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/yamux.h"

/*
 * A yamux session over a byte stream whose client may die and be replaced
 * at any byte, while the server, and half a frame in either direction, stay
 * (a virtio-serial port: the warden is the client, the agent the server).
 *
 * A new client first sends SESS_ZEROS zero bytes: a server in mid-frame
 * takes at most eleven of them as the rest of a header and YAMUX_FRAME_MAX
 * as payload, and the next twelve are a header that no frame has.  That
 * means reset: the server drops session, streams and unsent output, and
 * skips zeros.  Then, both ways,
 *
 *	"MEWSHELO", u32 version (big endian), 16 bytes nonce
 *
 * from the client and back from the server with the same nonce; the client
 * drops whatever comes before that answer.  The nonce is fresh, so nothing
 * a former session left behind can pass for it.  Then yamux, both ways.
 *
 * A server that lost framing (a broken rule) waits for SESS_LOST_ZEROS
 * zeros in a row before it believes in a hello again: more than one frame
 * of an honest client can carry for a stranger.
 */
#define SESS_VERSION 1u
#define SESS_ZEROS (YAMUX_HDR - 1 + YAMUX_FRAME_MAX + YAMUX_HDR)
#define SESS_LOST_ZEROS ((size_t)2 * YAMUX_CHUNK)
#define SESS_NONCE 16
/* Of each stream a client sends so much ahead of what the server has taken: a
 * guest may be small, and what its commands do not read waits in it. */
#define SESS_AHEAD 32768
#define SESS_HELLO (8 + 4 + SESS_NONCE)

struct sess;

struct sess_ops {
	struct yamux_ops mux;
	/* A session stands: streams may be opened. */
	void (*up)(void *arg, struct yamux *y);
	/* It is gone with all its streams: those that the other functions
	 * were not told of (YS_GONE) are told before this. */
	void (*down)(void *arg);
};

/*
 * nonce: SESS_NONCE fresh random bytes for a client, NULL for a server.
 * accept_max as yamux_new.  ops is kept by pointer.  NULL: out of memory.
 */
struct sess *sess_new(const uint8_t *nonce, size_t accept_max,
    const struct sess_ops *ops, void *arg);
/* Frees without telling.  NULL is fine. */
void sess_free(struct sess *s);

/*
 * As yamux_input.  A client's error is final: reconnect with a new one
 * (-EPROTONOSUPPORT: the server speaks another version).  A server's is
 * -ENOMEM only: from anything else it recovers with the next client.
 * A client that never gets its answer must be given up by its owner.
 */
int sess_input(struct sess *s, const void *buf, size_t len);
size_t sess_output(const struct sess *s, const uint8_t **p);
void sess_drained(struct sess *s, size_t n);
/* The session, NULL while there is none. */
struct yamux *sess_yamux(const struct sess *s);

#endif
