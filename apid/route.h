#ifndef MEWS_APID_ROUTE_H
#define MEWS_APID_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http.h"

struct url_path;

/* What becomes of a request. */
enum route_kind {
	ROUTE_HEALTH, /* answered here */
	ROUTE_OPENAPI, /* answered here */
	ROUTE_ASK, /* one question to orchd, one answer */
	ROUTE_EVENTS, /* server-sent events */
	ROUTE_EXEC, /* WebSocket, channels */
	ROUTE_CONSOLE, /* WebSocket, bytes */
	ROUTE_LOG, /* chunked bytes */
};

#define BODY_NONE_MAX 4096 /* where a body is ignored, as Volant does */
#define BODY_CREATE_MAX (256UL * 1024)
#define BODY_MAX BODY_CREATE_MAX /* the largest of them */

struct route {
	enum http_method method;
	const char *path; /* ":name" is the one kind of variable */
	enum route_kind kind;
	uint32_t verb; /* enum api_msg */
	uint32_t arg; /* STREAM: enum launch_stream_kind */
	uint32_t doc; /* enum api_doc of a good answer */
	uint32_t body_max;
	/* for the description */
	int ok;
	const char *op;
	const char *doc_in; /* schema of the body, or NULL */
	const char *doc_out; /* schema of the answer, or NULL */
	const char *about;
};

extern const struct route routes[];
extern const size_t nroutes;

/*
 * 0 with *ret and *name (NULL where the path has none); -ENOENT: no such
 * path; -EOPNOTSUPP: not with this method, allow then lists those that are.
 */
#define ROUTE_ALLOW_MAX 48
int route_find(const struct url_path *u, enum http_method m,
    const struct route **ret, const char **name, char allow[ROUTE_ALLOW_MAX]);

#endif
