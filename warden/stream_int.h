#ifndef MEWS_WARDEN_STREAM_INT_H
#define MEWS_WARDEN_STREAM_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/frame.h"
#include "warden/call.h"
#include "warden/stream.h"

/* What warden/stream*.c share.  Nobody else includes this. */

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

struct stream {
	TAILQ_ENTRY(stream) entry;
	struct streams *ss;
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
	size_t up_off, up_len; /* of up->buf, on its way to the guest */

	/* exec */
	struct vwait *dialling; /* what carries it is being dialled */
	bool by_vsock; /* and was */
	const uint8_t *req; /* in up, until it is answered */
	size_t req_len;
	struct call *call;
	struct duct duct;
	struct ysink sink;
	struct frame_dec *down;
	bool has_status; /* the guest's last frame was passed on */

	/* console */
	off_t off, stop; /* in the log; stop: -1 goes on with what comes */
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

/* stream_exec.c */
void exec_open(struct stream *st, const uint8_t *json, size_t len);
enum pull exec_pull(struct stream *st);
size_t exec_push(struct stream *st, const uint8_t *p, size_t len);
void exec_close(struct stream *st);

/* stream_console.c */
void console_open(struct stream *st);
enum pull console_pull(struct stream *st);
size_t console_push(struct stream *st, const uint8_t *p, size_t len);

#endif
