#ifndef MEWS_AGENT_CONN_H
#define MEWS_AGENT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/duct.h"
#include "common/http.h"
#include "common/yamux.h"

struct agent;

#define CONN_LINE_MAX 24 /* "CONNECT 65535\n" */
#define CONN_BODY_MAX (1U << 20) /* a boot spec, an exec request */
#define CONN_SHORT 1024 /* a body that takes nothing of what may be held */
#define CONN_OUT_MAX 8192 /* an answer, with its head */

/* Whose a stream is after an upgrade.  arg is what conn_upgrade was given.  All
 * but gone may be NULL: what comes is dropped, what happens is nothing to it.
 */
struct conn_taker {
	/* Bytes from the host; *used may be less than len: it is full.
	 * Negative: what it says is nonsense, the stream is to be reset. */
	int (*input)(void *arg, const uint8_t *p, size_t len, size_t *used);
	/* The host will send nothing more. */
	void (*eof)(void *arg);
	/* There may be room for output again.  May free the conn. */
	void (*pump)(void *arg);
	/* The conn is gone. */
	void (*gone)(void *arg);
};

/*
 * One stream from the host: a line that names the port, then HTTP/1.1, one
 * request after the other, until one takes the stream over.
 */
struct conn {
	struct agent *a;
	struct duct d;
	enum { CONN_LINE, CONN_HTTP, CONN_LAST, CONN_TAKEN } state;
	char line[CONN_LINE_MAX + 1];
	size_t line_len;
	struct http *http; /* freed when the stream is taken: it is large */
	char *body; /* NULL, short_body, or body_cap bytes that are held
		       (agent/hold.h) */
	size_t body_len, body_cap;
	char short_body[CONN_SHORT];
	bool is_dropped; /* it did not fit: 503 once it has passed */
	char out[CONN_OUT_MAX]; /* an answer that waits to be taken */
	size_t out_off, out_len;
	const struct conn_taker *taker; /* NULL: nobody's */
	void *taken;
};

/* Serves d, which it owns unless this fails: a->request answers each whole
 * request.  0 or -ENOMEM. */
int conn_new(struct agent *a, const struct duct *d);
/* yamux' callbacks; arg is the struct agent, then the struct conn. */
int conn_open(void *arg, struct ystream *s);
void conn_event(void *arg, struct ystream *s, unsigned int ev);

/* Queues the one answer to the current request (JSON, may be NULL). */
void conn_answer(struct conn *c, int status, const char *json);
/* {"error": text} */
void conn_error(struct conn *c, int status, const char *text);
/* 101, and from then on the stream is t's. */
void conn_upgrade(struct conn *c, const struct conn_taker *t, void *arg);
/* The answer comes later, by conn_late() or conn_late_error(), which may free
 * c; until then what comes is t's. */
void conn_take(struct conn *c, const struct conn_taker *t, void *arg);
void conn_late(struct conn *c, int status, const char *json);
void conn_late_error(struct conn *c, int status, const char *text);
/* Frees c and its stream.  NULL is fine. */
void conn_free(struct conn *c);

#endif
