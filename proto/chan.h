#ifndef MEWS_CHAN_H
#define MEWS_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Messages between rooms, in the manner of OpenBSD's imsg, over
 * SOCK_SEQPACKET (unix(7)): one packet is one message of at most MSG_MAX
 * bytes and one descriptor.  A larger document is a sealed memfd; several
 * descriptors are several messages.
 */
#define MSG_MAX 16384
struct msg_hdr {
	uint32_t type; /* enum of the room's header in proto/ */
	uint32_t len; /* payload bytes after this header */
	uint64_t id; /* request id: an answer repeats it; 0: no answer */
};
_Static_assert(sizeof(struct msg_hdr) == 16, "wire layout");
#define MSG_PAYLOAD_MAX (MSG_MAX - sizeof(struct msg_hdr))

struct msg {
	uint32_t type;
	uint32_t len;
	uint64_t id;
	const void *data; /* len bytes, valid during the handler, 8-aligned */
	int fd; /* -1, or ours: a handler that keeps it sets -1 here */
};

/*
 * One packet, at once.  msg_send keeps fd open and the caller's (-1: none).
 * 0 or a negative errno: -EAGAIN when the peer does not read (ETOOMANYREFS
 * is reported as that too), -EPIPE when it is gone.
 * msg_recv fills buf (MSG_MAX bytes, 8-aligned) and m.  0, -EAGAIN,
 * -ECONNRESET at the end of the channel, -EBADMSG for what no honest peer
 * sends: empty, truncated, a length that lies, more than one descriptor.
 */
int msg_send(
    int sock, uint32_t type, uint64_t id, const void *data, size_t len, int fd);
int msg_recv(int sock, void *buf, struct msg *m);

/*
 * Start-up, tests and the keeper only: the next message, waiting at most
 * timeout_ms (-1: for ever).  As msg_recv, or -ETIMEDOUT.
 */
int msg_wait(int sock, void *buf, struct msg *m, int timeout_ms);

struct chan;
struct event_base;

/*
 * One row per message a room can be told.  What is not in the table, or has
 * another shape, or comes in another phase, is refused: the channel closes.
 */
struct msg_handler {
	uint32_t type;
	uint32_t len; /* exact size of the payload's struct */
	uint32_t tail_max; /* bytes that may follow it: 0 for most */
	uint8_t nfds; /* exactly this many descriptors: 0 or 1, or FD_OPT */
	uint32_t phases; /* bits of the room's phase in which it may come */
	/* Wire checks shared by both sides; NULL: any bytes do.  0 or -errno */
	int (*check)(const void *payload);
	/* 0; negative: refused, the channel closes; -EPIPE: it has.  m is valid
	 * until it returns */
	int (*fn)(void *arg, struct chan *c, struct msg *m);
};
#define FD_OPT 2
#define PH_ANY UINT32_MAX

/* How a channel ended. */
enum chan_end {
	CHAN_CLOSED, /* the peer went, or closed its end */
	CHAN_REFUSED, /* the peer said what it may not */
	CHAN_STALLED, /* the peer does not read: its owner ends it */
	CHAN_REPLACED, /* a newer one came in its place: likewise */
};

struct chan_ops {
	const struct msg_handler *tab;
	size_t ntab;
	/* The peer is gone or was refused; c is still to be freed by the owner,
	 * here or later.  why is one line for the log, and for nothing else. */
	void (*gone)(
	    void *arg, struct chan *c, enum chan_end end, const char *why);
};

/* Messages that may wait in an out-queue; then chan_send says -ENOBUFS. */
#define CHAN_QUEUE_MAX 1024

/*
 * Takes sock over (also on failure) and serves it from base.  peer is a name
 * for log lines, kept by pointer.  NULL when out of memory.
 */
struct chan *chan_new(struct event_base *base, int sock, const char *peer,
    const struct chan_ops *ops, void *arg);
/* NULL is fine; safe inside handlers and gone(). Drops what is queued. */
void chan_free(struct chan *c);
const char *chan_peer(const struct chan *c);
int chan_sock(const struct chan *c);
/* The phase that handlers' rows are held against; PH_ANY at first. */
void chan_set_phase(struct chan *c, uint32_t phase);

/*
 * Sends or queues.  fd is closed in every case once it is sent or dropped
 * (-1: none).  0, -ENOBUFS (queue full), -EMSGSIZE, -EPIPE.
 */
int chan_send(struct chan *c, uint32_t type, uint64_t id, const void *data,
    size_t len, int fd);
/* The same with a tail behind the struct. */
int chan_send2(struct chan *c, uint32_t type, uint64_t id, const void *head,
    size_t headlen, const void *tail, size_t taillen, int fd);
/* Reads nothing until told to go on: what comes waits in the socket, at last
 * in its sender.  The end of the channel is seen no sooner. */
void chan_hold(struct chan *c, bool hold);
/* Sends what is queued without waiting for the loop; for a farewell. */
void chan_flush(struct chan *c);
/* Handles what has already come, up to a batch: the last words of a peer
 * whose end was seen elsewhere.  c may be freed by a handler. */
void chan_drain(struct chan *c);
/* Messages in the out-queue: a source that outruns its sink stops reading. */
size_t chan_queued(const struct chan *c);
/* Descriptors that wait there: ours until they are sent. */
size_t chan_queued_fds(const struct chan *c);

#endif
