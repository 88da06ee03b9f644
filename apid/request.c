#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apid/request.h"
#include "common/clock.h"
#include "common/cur.h"
#include "common/frame.h"
#include "common/name.h"
#include "common/num.h"
#include "common/url.h"
#include "common/util.h"
#include "common/when.h"
#include "proto/launch.h"
#include "proto/objects.h"
#include "proto/right.h"
#include "proto/ward.h"

int
request_refuse(struct refusal *no, int status, const char *fmt, ...)
{
	va_list ap;

	no->status = status;
	va_start(ap, fmt);
	(void)vsnprintf(no->text, sizeof(no->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

void
request_init(struct request *q)
{
	memset(q, 0, sizeof(*q));
	jbuf_init(&q->body, BODY_MAX);
	jbuf_init(&q->call, WARD_OPEN_MAX);
	q->call.plain = true; /* no longer than it came */
}

void
request_sent(struct request *q)
{
	jbuf_free(&q->body);
	if (q->tail != NULL)
		explicit_bzero(q->tail, q->tail_len);
	free(q->tail);
	q->tail = NULL;
	q->tail_len = 0;
}

void
request_clear(struct request *q)
{
	request_sent(q);
	jbuf_free(&q->call);
}

/*
 * On a Unix socket the kernel says who calls.  A second credential beside
 * it would have to be ignored or believed: neither is right.
 */
static int
check_credentials(const struct http *h, struct refusal *no)
{
	static const char *const names[] = { "Authorization",
		"Proxy-Authorization", "X-Volant-API-Key" };
	const char *v;
	size_t i;

	for (i = 0; i < nitems(names); i++) {
		if (RULE(API_CREDENTIAL) &&
		    http_get(h, names[i], &v) != -ENOENT)
			return request_refuse(no, 400,
			    "%s: the Unix socket already says who you are",
			    names[i]);
	}
	return 0;
}

/* "/a/" where "/a" is served: sent there, as Volant does. */
static int
redirect(const struct http *h, struct refusal *no)
{
	const size_t len = strlen(h->path);

	(void)snprintf(no->location, sizeof(no->location), "%.*s%s%s",
	    (int)(len - 1), h->path, h->query != NULL ? "?" : "",
	    h->query != NULL ? h->query : "");
	return request_refuse(no, h->method == HTTP_GET ? 301 : 307,
	    "the path is written without the last /");
}

static int
find_route(struct request *q, const struct route_table *routes,
    const struct http *h, struct url_path *u, const char *vars[API_VARS_MAX],
    struct refusal *no)
{
	struct err e = { 0 };
	int r;

	if ((r = url_path_parse(u, h->path, &e)) < 0)
		return request_refuse(no, r == -E2BIG ? 414 : 400, "%s", e.msg);
	r = route_find(routes, u, h->method, &q->route, vars, no->allow);
	if (r == -EOPNOTSUPP)
		return request_refuse(no, 405,
		    "%s is not for this path, but %s is",
		    http_method_name(h->method), no->allow);
	if (r < 0)
		return request_refuse(no, 404, "there is no such path");
	return u->slash_end ? redirect(h, no) : 0;
}

/* Each is a name, or the whole uid, which is no name. */
static int
take_vars(
    struct request *q, const char *const vars[API_VARS_MAX], struct refusal *no)
{
	const char *path = q->route->path;
	struct err e = { 0 };
	struct route_var v;
	uint64_t uid;
	size_t i;

	for (i = 0; i < API_VARS_MAX && vars[i] != NULL && route_var(path, &v);
	     i++) {
		if (RULE(API_NAME) && num_parse_hex64(vars[i], &uid) < 0 &&
		    name_check(vars[i], strlen(vars[i]), &e) < 0)
			return request_refuse(no, 404, "%.*s not found: %s",
			    v.what_len, v.what, e.msg);
		(void)snprintf(
		    q->req.var[i], sizeof(q->req.var[i]), "%s", vars[i]);
		path = v.end;
	}
	return 0;
}

static int
take_key(struct request *q, const struct http *h, struct refusal *no)
{
	const char *key = NULL;
	size_t i, len;
	int r;

	if (h->method == HTTP_GET)
		return 0;
	if ((r = http_get(h, "Idempotency-Key", &key)) == -ENOENT)
		return 0;
	len = r == 0 ? strlen(key) : 0;
	if (len < 1 || len >= sizeof(q->req.key))
		return request_refuse(no, 400,
		    "Idempotency-Key: one, of 1 to %zu characters",
		    sizeof(q->req.key) - 1);
	for (i = 0; i < len; i++) {
		if (RULE(API_KEY_ASCII) && (key[i] < 0x20 || key[i] > 0x7e))
			return request_refuse(
			    no, 400, "Idempotency-Key: printable ASCII only");
	}
	memcpy(q->req.key, key, len + 1);
	return 0;
}

/* Whose things it is about. */
static int
take_tenant(struct request *q, const struct http *h, struct refusal *no)
{
	const char *name = NULL;
	struct err e = { 0 };
	const int r = http_get(h, "X-Mews-Tenant", &name);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return request_refuse(no, 400, "X-Mews-Tenant: one only");
	if (name_check(name, strlen(name), &e) < 0)
		return request_refuse(no, 400, "X-Mews-Tenant: %s", e.msg);
	(void)snprintf(q->req.tenant, sizeof(q->req.tenant), "%s", name);
	return 0;
}

static int
pack(struct request *q, const struct table *t, const void *obj,
    struct refusal *no)
{
	const size_t cap = table_wire_max(t);
	struct wcur w;

	if ((q->tail = malloc(cap)) == NULL)
		return request_refuse(no, 503, "out of memory");
	wcur_init(&w, q->tail, cap);
	if (table_pack(t, obj, &w) < 0)
		return request_refuse(no, 413, "the request is too long");
	q->tail_len = w.used;
	return 0;
}

static int
take_query(struct request *q, const struct url_query *u, struct refusal *no)
{
	const struct table *t = q->route->query;
	struct err e = { 0 };
	void *v = NULL;
	size_t i;
	int r = 0;

	if (t == NULL)
		return 0;
	if ((v = calloc(1, t->size)) == NULL)
		return request_refuse(no, 503, "out of memory");
	for (i = 0; i < u->n && r == 0; i++)
		r = table_query_add(t, v, u->param[i].key, u->param[i].value,
		    strlen(u->param[i].value), &e);
	if (r < 0)
		r = request_refuse(no, 400, "%s", e.msg);
	else if (q->route->list || *(const uint64_t *)v != 0)
		r = pack(q, t, v, no);
	if (r == 0 && q->route->more_ms != NULL)
		q->more_ms = q->route->more_ms(v);
	table_clear(t, v);
	free(v);
	return r;
}

/* Digits only, to 2^63 - 1, which is where the store's numbers end. */
static int
take_after(struct request *q, const struct http *h, const struct url_query *u,
    struct refusal *no)
{
	const char *what = "Last-Event-ID", *text = NULL;
	long long v;
	int r = http_get(h, what, &text);

	/* a browser that comes back sends the header with the same query */
	if (r == -ENOENT) {
		what = "after";
		r = url_query_get(u, what, &text);
	}
	q->req.flags |= API_AT_ONCE; /* may it read, and from where? */
	q->req.after = API_NOW;
	if (r == -ENOENT)
		return 0;
	if (r < 0 || num_parse(text, 0, INT64_MAX, &v) < 0)
		return request_refuse(no, 400, "invalid %s", what);
	q->req.after = (uint64_t)v;
	return 0;
}

static int
take_follow(struct request *q, const struct url_query *u, struct refusal *no)
{
	const char *v = NULL;
	const int r = url_query_get(u, "follow", &v);

	if (r == -ENOENT || (r == 0 && strcmp(v, "0") == 0))
		return 0;
	if (r < 0 || strcmp(v, "1") != 0)
		return request_refuse(no, 400, "invalid follow: 0 or 1");
	q->req.flags |= STREAM_FOLLOW;
	return 0;
}

static int
take_since(struct request *q, const struct url_query *u, struct refusal *no)
{
	struct err e = { 0 };
	const char *v = NULL;
	const int r = url_query_get(u, "since", &v);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return request_refuse(no, 400, "invalid since: one only");
	if (when_parse(v, clock_wall_ns(), &q->req.since_ns, &e) < 0)
		return request_refuse(no, 400, "invalid since: %s", e.msg);
	return 0;
}

static int
take_upgrade(struct request *q, const struct http *h, struct refusal *no)
{
	static const char *const exec[] = { EXEC_PROTOCOL, NULL };
	const bool is_exec = q->route->kind == ROUTE_EXEC;
	const char *v;

	/* a page in a browser has no business on this socket */
	if (RULE(API_ORIGIN) && http_get(h, "Origin", &v) != -ENOENT)
		return request_refuse(no, 403, "Origin: not from a web page");
	ws_judge(h, is_exec ? exec : NULL, is_exec, &q->ws);
	if (q->ws.status != 101)
		return request_refuse(no, q->ws.status, "%s", q->ws.text);
	return 0;
}

static int
take_rest(struct request *q, const struct http *h, struct refusal *no)
{
	struct url_query u = { .n = 0 };
	struct err e = { 0 };
	const char *v;
	int r;

	if ((r = url_query_parse(&u, h->query, &e)) < 0)
		return request_refuse(no, r == -E2BIG ? 414 : 400, "%s", e.msg);
	if (url_query_get(&u, "api_key", &v) != -ENOENT)
		return request_refuse(no, 400,
		    "api_key: the Unix socket already says who you are");
	switch (q->route->kind) {
	case ROUTE_ASK:
		return take_query(q, &u, no);
	case ROUTE_EVENTS:
		return take_after(q, h, &u, no);
	case ROUTE_LOG:
		return (r = take_follow(q, &u, no)) < 0 ? r
							: take_since(q, &u, no);
	case ROUTE_EXEC:
	case ROUTE_CONSOLE:
		return take_upgrade(q, h, no);
	case ROUTE_CALL:
	case ROUTE_FILE:
	case ROUTE_HEALTH:
	case ROUTE_OPENAPI:
		break;
	}
	return 0;
}

int
request_head(struct request *q, const struct route_table *routes,
    const struct http *h, struct refusal *no)
{
	const char *vars[API_VARS_MAX] = { NULL };
	struct url_path u = { .n = 0 };
	int r;

	no->allow[0] = no->location[0] = '\0';
	if ((r = check_credentials(h, no)) < 0 ||
	    (r = find_route(q, routes, h, &u, vars, no)) < 0 ||
	    (r = take_vars(q, vars, no)) < 0 || (r = take_key(q, h, no)) < 0 ||
	    (r = take_tenant(q, h, no)) < 0)
		return r;
	q->req.kind = q->route->right->stream;
	/* said at once: nobody needs to send what nobody will read */
	if (h->framing == HTTP_BODY_LENGTH &&
	    h->content_length > route_body_max(q->route))
		return request_refuse(no, 413,
		    "the body may have %zu bytes here",
		    route_body_max(q->route));
	return take_rest(q, h, no);
}

int
request_write(void *arg, const void *data, size_t len)
{
	struct request *q = arg;

	if (len > route_body_max(q->route) - q->body_len)
		return -EMSGSIZE;
	q->body_len += len;
	if (q->route->in != NULL)
		jbuf_raw(&q->body, data, len);
	return q->body.r;
}

/* Checked, and written anew for the agent. */
static int
write_call(struct request *q, const void *obj, struct refusal *no)
{
	table_encode(q->route->in, TABLE_SECRETS, obj, &q->call);
	if (q->call.r == -EMSGSIZE)
		return request_refuse(no, 413,
		    "the request is longer than 256 KiB: put what is long into "
		    "a file");
	return q->call.r < 0 ? request_refuse(no, 503, "out of memory") : 0;
}

int
request_done(struct request *q, struct refusal *no)
{
	const struct table *t = q->route->in;
	struct err e = { 0 };
	void *v = NULL;
	int r;

	if (t == NULL)
		return 0;
	if ((v = malloc(t->size)) == NULL)
		return request_refuse(no, 503, "out of memory");
	r = table_decode(t, object_flags(t), q->body.p != NULL ? q->body.p : "",
	    q->body.len, v, &e);
	if (r < 0) {
		r = request_refuse(no,
		    r == -ENOMEM      ? 503
			: r == -E2BIG ? 413
				      : 400,
		    "%s", e.msg);
		goto out;
	}
	jbuf_free(&q->body); /* it may hold secrets: not a moment longer */
	if (q->route->imply != NULL && q->route->imply(v, &e) < 0)
		r = request_refuse(no, 400, "%s", e.msg);
	else
		r = q->route->kind == ROUTE_CALL ? write_call(q, v, no)
						 : pack(q, t, v, no);
	table_clear(t, v);
out:
	free(v);
	return r;
}
