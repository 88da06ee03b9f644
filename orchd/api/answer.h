#ifndef MEWS_ANSWER_H
#define MEWS_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "proto/api.h"

struct conn;
struct orchd;
struct tenant;
struct vm;

/*
 * Answers to requests, once each: conn and id name the request, and where
 * nobody waits for it any more nothing is said.
 */
void answer_error(struct orchd *o, uint64_t conn, uint64_t id,
    unsigned int status, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void answer_empty(
    struct orchd *o, uint64_t conn, uint64_t id, unsigned int status);
void answer_vm(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status,
    const struct vm *vm);
/* What it shows depends on who asks. */
void answer_tenant(struct orchd *o, uint64_t conn, uint64_t id,
    unsigned int status, const struct tenant *t);
/* buf as a document of any size; res as it is to be sent. */
void answer_doc(struct orchd *o, uint64_t id, struct api_res *res,
    const void *buf, size_t len);
/* An end of a stream goes up to apid (I12).  Takes fd. */
void answer_stream(struct orchd *o, uint64_t conn, uint64_t id, int fd);
/* A tail that the caller made; the connection's request is answered by it. */
void answer_send(struct conn *c, uint64_t id, const struct api_res *res,
    const void *tail, size_t len, int fd);

#endif
