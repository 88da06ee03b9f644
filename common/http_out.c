#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/http.h"
#include "common/http_int.h"
#include "common/util.h"

static const struct {
	int status;
	const char *text;
} reasons[] = {
	{ 100, "Continue" },
	{ 101, "Switching Protocols" },
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 204, "No Content" },
	{ 206, "Partial Content" },
	{ 302, "Found" },
	{ 304, "Not Modified" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Range Not Satisfiable" },
	{ 417, "Expectation Failed" },
	{ 421, "Misdirected Request" },
	{ 422, "Unprocessable Content" },
	{ 426, "Upgrade Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
};

const char *
http_reason(int status)
{
	size_t i;

	for (i = 0; i < nitems(reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].text;
	}
	return "Unknown";
}

static void
out_str(struct http_out *o, const char *s)
{
	size_t n = strlen(s);

	if (o->bad < 0)
		return;
	if (n > o->cap - o->used) {
		o->bad = -EMSGSIZE;
		return;
	}
	memcpy(o->p + o->used, s, n);
	o->used += n;
}

static void
out_init(struct http_out *o, void *buf, size_t cap)
{
	*o = (struct http_out){ .p = buf, .cap = cap };
}

/* Nothing that could end the line, or be trimmed or folded on the way. */
static bool
is_safe_value(const char *v)
{
	size_t n = strlen(v), i;

	for (i = 0; i < n; i++) {
		if (http_is_ctl(v[i]))
			return false;
	}
	return n == 0 ||
	    (strchr(" \t", v[0]) == NULL && strchr(" \t", v[n - 1]) == NULL);
}

static bool
is_safe_name(const char *name)
{
	size_t i;

	for (i = 0; name[i] != '\0'; i++) {
		if (!http_is_tchar(name[i]))
			return false;
	}
	return i > 0;
}

static bool
is_safe_target(const char *t)
{
	size_t i;

	for (i = 0; t[i] != '\0'; i++) {
		if (!http_is_target_char(t[i]))
			return false;
	}
	return t[0] == '/';
}

void
http_out_response(struct http_out *o, void *buf, size_t cap, int status)
{
	char line[64];

	out_init(o, buf, cap);
	if (status < 100 || status > 599) {
		o->bad = -EINVAL;
		return;
	}
	(void)snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\n", status,
	    http_reason(status));
	out_str(o, line);
}

void
http_out_request(struct http_out *o, void *buf, size_t cap, enum http_method m,
    const char *target, const char *host)
{
	out_init(o, buf, cap);
	if (m == HTTP_OTHER ||
	    (RULE(HTTP_OUT_TARGET) && !is_safe_target(target))) {
		o->bad = -EINVAL;
		return;
	}
	out_str(o, http_method_name(m));
	out_str(o, " ");
	out_str(o, target);
	out_str(o, " HTTP/1.1\r\n");
	http_out_field(o, "Host", host);
}

void
http_out_field(struct http_out *o, const char *name, const char *value)
{
	if (o->bad < 0)
		return;
	if ((RULE(HTTP_OUT_NAME) && !is_safe_name(name)) ||
	    (RULE(HTTP_OUT_VALUE) && !is_safe_value(value))) {
		o->bad = -EINVAL;
		return;
	}
	out_str(o, name);
	out_str(o, ": ");
	out_str(o, value);
	out_str(o, "\r\n");
}

void
http_out_field_u64(struct http_out *o, const char *name, uint64_t v)
{
	char num[24];

	(void)snprintf(num, sizeof(num), "%llu", (unsigned long long)v);
	http_out_field(o, name, num);
}

int
http_out_end(struct http_out *o, size_t *len)
{
	out_str(o, "\r\n");
	if (o->bad < 0)
		return o->bad;
	*len = o->used;
	return 0;
}

size_t
http_chunk_head(char buf[HTTP_CHUNK_HEAD_MAX], size_t len)
{
	return (size_t)snprintf(buf, HTTP_CHUNK_HEAD_MAX, "%zx\r\n", len);
}
