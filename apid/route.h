#ifndef MEWS_APID_ROUTE_H
#define MEWS_APID_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http.h"
#include "proto/api.h"

struct err;
struct right;
struct table;
struct url_path;

/* What becomes of a request. */
enum route_kind {
	ROUTE_ASK, /* one question to orchd, one answer */
	ROUTE_EVENTS, /* server-sent events */
	ROUTE_EXEC, /* WebSocket, channels */
	ROUTE_CONSOLE, /* WebSocket, bytes */
	ROUTE_LOG, /* chunked bytes */
	ROUTE_FILE, /* likewise, and cut unless all of it was said to be there
		     */
	ROUTE_CALL, /* one question to the VM's agent, one answer */
	ROUTE_HEALTH, /* answered here */
	ROUTE_OPENAPI, /* answered here */
};

#define BODY_NONE_MAX 4096 /* where a body is ignored, as Volant does */
#define BODY_MAX (256UL * 1024) /* where one is read */

/*
 * All that apid knows of an object is here: how it is asked for, and the
 * tables of what comes in and goes out.  Rows of one path stand together.
 */
struct route {
	enum http_method method;
	/*
	 * "{name}" is a variable, at most API_VARS_MAX of them; "{name:vm}"
	 * says what it names where that is another word.
	 */
	const char *path;
	enum route_kind kind;
	const struct right *right; /* the verb, and who may */
	/* of the query string; NULL: ignored.  One that says nothing is sent
	 * for a list alone; that of a log goes in the message's head */
	const struct table *query;
	const struct table *in; /* of the body; NULL: ignored */
	/* What the path says of it already.  0, or -EINVAL with e; NULL: no. */
	int (*imply)(void *in, struct err *e);
	const struct table *out; /* of a good answer; NULL: it is empty */
	bool list; /* the answer is a list of out */
	/* How much longer than others it may take, by its query; NULL: not. */
	uint32_t (*more_ms)(const void *query);
	/* for the description */
	int ok; /* status of a good answer */
	const char *op;
	const char *about;
};

struct route_table {
	const struct route *rows;
	size_t n;
};
extern const struct route_table api_routes;

/*
 * 0 with *ret and the path's variables in vars, NULL behind the last;
 * -ENOENT: no such path; -EOPNOTSUPP: not with this method, allow then lists
 * those that are.
 */
#define ROUTE_ALLOW_MAX 48
int route_find(const struct route_table *t, const struct url_path *u,
    enum http_method m, const struct route **ret,
    const char *vars[API_VARS_MAX], char allow[ROUTE_ALLOW_MAX]);

/* The most bytes that a body may have. */
size_t route_body_max(const struct route *r);

/* A variable of a path; the texts have no NUL. */
struct route_var {
	const char *name, *what; /* what: for a person, "vm" */
	int name_len, what_len;
	const char *end; /* behind its '}' */
};
/* The first one in path, or false. */
bool route_var(const char *path, struct route_var *ret);

#endif
