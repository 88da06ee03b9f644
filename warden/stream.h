#ifndef MEWS_WARDEN_STREAM_H
#define MEWS_WARDEN_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/frame.h"
#include "warden/call.h"
#include "warden/streams.h"

/* A stream and what serves its kind.  streams.c alone, above, knows all. */

struct event;
struct vwait;

/* Our own frames: an answer, a mark in a console, a last status. */
#define NOTE_MAX 384
#define LOG_CHUNK 4096

enum stream_phase { /* the order matters: before RUN nothing was opened */
	SP_OPEN, /* waits for the client's FRAME_OPEN */
	SP_CALL, /* waits for the agent's answer */
	SP_RUN,
	SP_END, /* what is queued goes out, then it closes */
	SP_DEAD, /* closed; freed from the loop */
};

/* What a source says when it is asked for the next bytes. */
enum pull { PULL_SOME, PULL_WAIT, PULL_END };

/* What a kind of streams is made of; the rest is the same for all. */
struct stream_ops {
	/* The client's FRAME_OPEN came, with this body, which stays until that
	 * is answered by stream_opened(), now or, after stream_call(), later.
	 */
	void (*open)(struct stream *st, const uint8_t *body, size_t len);
	/* The next whole frame for the client, in out. */
	enum pull (*pull)(struct stream *st);
	/* The client's bytes; returns how many were taken. */
	size_t (*push)(struct stream *st, const uint8_t *p, size_t len);
	/* Lets go of what is behind it; may come twice.  NULL: nothing is. */
	void (*close)(struct stream *st);
	bool takes_frames; /* as they come, else their payload */
};
extern const struct stream_ops stream_exec_ops;
extern const struct stream_ops stream_signal_ops;
extern const struct stream_ops stream_console_ops;

struct stream {
	TAILQ_ENTRY(stream) entry;
	struct streams *ss;
	const struct stream_ops *ops;
	uint32_t kind, flags;
	enum stream_phase phase;
	int fd;
	struct event *rd, *wr;
	struct event *timer; /* the phase's deadline; frees a dead one */

	/* to the client: one whole frame at a time */
	const uint8_t *out;
	size_t out_len;
	uint8_t note[FRAME_HEAD_LEN + NOTE_MAX];
	uint8_t last[FRAME_HEAD_LEN + NOTE_MAX]; /* goes out before the end */
	size_t last_len;

	/* from the client: one whole frame at a time */
	struct frame_dec *up;
	uint8_t *open; /* the FRAME_OPEN that is too long for that; NULL */
	size_t up_off, up_len; /* of up->buf, on its way to the guest */

	/* exec, signal */
	const char *path; /* where it is asked for */
	struct vwait *dialling; /* what carries it is being dialled */
	bool by_vsock; /* and was */
	const uint8_t *req; /* in up or open, until it is answered */
	size_t req_len;
	struct call *call;
	struct duct duct;
	struct ysink sink;
	struct frame_dec *down;
	bool has_status; /* the guest's last frame was passed on */

	/* console */
	bool watches; /* console_watch() */
	uint64_t off; /* in all that it said */
	uint8_t *chunk;
};

/* Sends what there is until the client or the source has to be awaited. */
void stream_pump(struct stream *st);
/* As much of the held frame as the guest takes; then reads on. */
void stream_push(struct stream *st);
/* The first frame to the client; only 101 goes on. */
void stream_opened(struct stream *st, int status, const char *text);
/* Nothing follows what is queued. */
void stream_end(struct stream *st);
/* Ends an exec that was opened, with a failure as its status. */
void stream_fail(struct stream *st, const char *why);
/* A frame of our own into buf; returns its length. */
size_t stream_note(uint8_t buf[FRAME_HEAD_LEN + NOTE_MAX], uint8_t channel,
    const void *data, size_t len);

/* The answer comes later. */
void stream_call(struct stream *st);

/* fd is the stream's; NULL: out of memory, and it is the caller's.  The
 * caller puts it on ss's list. */
struct stream *stream_new(struct streams *ss, const struct stream_ops *ops,
    uint32_t kind, uint32_t flags, int fd);
/* Its client went, and that was not read yet: it ends now.  Not while a
 * callback of it runs.  True: it has ended; its memory goes from the loop. */
bool stream_is_over(struct stream *st);
/* It ends at once, whatever waits to go out; its memory goes from the loop. */
void stream_kill(struct stream *st);
/* Not while a callback of it runs.  NULL is fine. */
void stream_free(struct stream *st);
/* There is no stream to answer with: one frame, at once or not at all, and
 * fd is closed. */
void stream_refuse(int fd, const char *text);

#endif
