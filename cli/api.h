#ifndef MEWS_CLI_API_H
#define MEWS_CLI_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/jbuf.h"

struct err;

/*
 * Requests to the API.  One that breaks, or is answered with 503 or
 * 429 and Retry-After, is sent again, with the same Idempotency-Key, for
 * API_RETRY_MS: a restart of the suite is not seen from here.  What came
 * to 503 after a longer wait, and has no key, is not.
 */
#define API_RETRY_MS 10000
/* Nobody listens and nobody did before: the suite is not up. */
#define API_REFUSED_MS 1000
#define API_TRY_MS 30000 /* until an answer to what only asks */
/* Where all streams of a VM are open a request waits for one (30 s), and then
 * its guest has to answer. */
#define API_STREAM_MS 75000
/* What changes something is answered when that has come about, or not:
 * ready_timeout in mews.conf, an hour at most, and what comes beside it. */
#define API_ACT_MS 3900000
#define API_DEAF_MS 3000
#define API_HEAD_MAX 65536
#define API_BODY_MAX ((size_t)16 << 20) /* a list of all VMs */
#define API_TARGET_MAX 1024

struct api;

struct api_request {
	const char *method, *target;
	const char *body; /* JSON; NULL: none */
	const char *last_event_id; /* NULL: none */
	bool keyed; /* changes something: goes with an Idempotency-Key */
	bool once; /* acts and has no key: never sent twice */
	/* How many signals do not end it, but for API_DEAF_MS: the answer is
	 * most often near, and then it is known what became of it. */
	unsigned int deaf;
	/* A stream: where the body of a 2xx goes; negative ends it. */
	int (*sink)(void *arg, const char *p, size_t len);
	/* NULL, or: nothing came for idle_ms; negative ends it. */
	int (*idle)(void *arg);
	int idle_ms;
	void *arg;
};

struct api_reply {
	int status;
	struct jbuf body; /* but what went to the sink */
};

/* host as in -H; tenant: whose things all requests are about, NULL: the API
 * chooses.  0 or a negative errno with e; api_close(NULL) is fine. */
int api_open(
    const char *host, const char *tenant, struct api **ret, struct err *e);
void api_close(struct api *a);
const char *api_path(const struct api *a);
/* NULL: none was chosen. */
const char *api_tenant(const struct api *a);
/* The API answered at least once: what breaks now is worth waiting for. */
bool api_was_reached(const struct api *a);

/*
 * What came of the last call, whatever its errno: the answer's HTTP status,
 * 0 while none came.  Nothing else tells "there is no such VM" (404) from
 * "there is no such socket".
 */
int api_status(const struct api *a);
void api_set_status(struct api *a, int status);
/* It was sent at least once and no answer came: it may have been done. */
bool api_maybe_done(const struct api *a);

/*
 * 0 when there is an answer, of whatever status; else -EINTR (a signal),
 * -EPIPE (a stream broke after its first byte), what the sink said, or
 * another negative errno with e.  *rp is freed by the caller in any case.
 */
int api_call(struct api *a, const struct api_request *rq, struct api_reply *rp,
    struct err *e);
void api_reply_free(struct api_reply *rp);

/* A header of the last answer; NULL: it is not there. */
const char *api_header(const struct api *a, const char *name);

/* The line of {"error": "..."}; false where there is none. */
bool api_error_text(const char *body, size_t len, char *buf, size_t cap);
/* For a person: what failed and what to do.  Returns code. */
int api_unreachable(const struct api *a, int code, struct err *e);

#endif
