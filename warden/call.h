#ifndef MEWS_WARDEN_CALL_H
#define MEWS_WARDEN_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/duct.h"
#include "common/http.h"

struct yamux;

/* What a duct's argument points to: who is told of its events. */
struct ysink {
	void (*event)(void *arg, unsigned int ev); /* YS_* */
	void *arg;
};

/*
 * One HTTP request to the agent, over a duct of its own: the CONNECT
 * line, the request, a bounded answer.  What the guest says is parsed here
 * and nowhere else (I6); what comes out is a status and some bytes.
 */
#define CALL_ANSWER_MAX 4096
#define CALL_HEAD_MAX 512
#define CALL_PORT 1024 /* the agent's HTTP */
#define CALL_UPGRADE "mews-exec" /* the protocol an exec changes to */

struct call;
struct call_answer {
	int status; /* the agent's; 0: no usable answer */
	bool connected; /* it took the connection: it may have acted */
	const char *why; /* status 0: a literal saying what was wrong */
	const uint8_t *body; /* status other than 101 */
	size_t len;
	struct duct upgraded; /* status 101: now the callee's, else none */
};

/*
 * done is called exactly once, from the duct's events, unless call_free
 * comes first; it may call call_free.  body is kept by pointer until done.
 * *d is taken in every case.  0, or a negative errno and no call.
 */
int call_new(struct duct *d, enum http_method method, const char *target,
    const void *body, size_t len, bool upgrade,
    void (*done)(void *arg, const struct call_answer *a), void *arg,
    struct call **ret);
/* The same over a new stream of the session, without upgrade. */
int call_mux(struct yamux *y, enum http_method method, const char *target,
    const void *body, size_t len,
    void (*done)(void *arg, const struct call_answer *a), void *arg,
    struct call **ret);
/* Gives it up.  NULL is fine. */
void call_free(struct call *c);

#endif
