#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/http.h"
#include "common/http_int.h"
#include "common/util.h"

/* 19 digits always fit 64 bits; nobody needs more. */
#define LENGTH_DIGITS_MAX 19

bool
http_list_has(const char *list, const char *token)
{
	size_t want = strlen(token), n;

	for (;;) {
		list += strspn(list, " \t,");
		if (*list == '\0')
			return false;
		n = strcspn(list, ",");
		while (n > 0 && strchr(" \t", list[n - 1]) != NULL)
			n--;
		if (n == want && strncasecmp(list, token, n) == 0)
			return true;
		list += strcspn(list, ",");
	}
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* RFC 9112 5.1: no white space before the colon, ever. */
static int
field_name(struct http *h, const char *name, size_t len)
{
	size_t i;

	if (RULE(HTTP_FIELD_NAME_EMPTY) && len == 0)
		return http_fault(h, 400, "HTTP_FIELD_NAME_EMPTY",
		    "a header line has no name");
	if (RULE(HTTP_FIELD_NAME_SPACE) && len > 0 && is_space(name[len - 1]))
		return http_fault(h, 400, "HTTP_FIELD_NAME_SPACE",
		    "white space before the colon of a header");
	for (i = 0; i < len; i++) {
		if (RULE(HTTP_FIELD_NAME_TOKEN) && !http_is_tchar(name[i]) &&
		    !is_space(name[len - 1]))
			return http_fault(h, 400, "HTTP_FIELD_NAME_TOKEN",
			    "a header's name is not a token");
	}
	return 0;
}

static int
field_value(struct http *h, const char *v, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (RULE(HTTP_FIELD_NUL) && v[i] == '\0')
			return http_fault(h, 400, "HTTP_FIELD_NUL",
			    "a header's value holds a NUL");
		if (RULE(HTTP_FIELD_CTL) && http_is_ctl(v[i]))
			return http_fault(h, 400, "HTTP_FIELD_CTL",
			    "a header's value holds a control byte");
	}
	return 0;
}

/* Splits a line in place; both parts end in NUL afterwards. */
static int
field_split(struct http *h, char *line, size_t len, struct http_field *f)
{
	char *colon, *v, *end = line + len;
	int r;

	/* RFC 9112 5.2: a folded line is one header to some, two to others */
	if (RULE(HTTP_OBS_FOLD) && is_space(line[0]))
		return http_fault(h, 400, "HTTP_OBS_FOLD",
		    "a header line begins with white space");
	colon = memchr(line, ':', len);
	if (RULE(HTTP_FIELD_COLON) && colon == NULL)
		return http_fault(
		    h, 400, "HTTP_FIELD_COLON", "a header line has no colon");
	if (colon == NULL)
		colon = end;
	v = colon < end ? colon + 1 : end;
	if ((r = field_name(h, line, (size_t)(colon - line))) < 0 ||
	    (r = field_value(h, v, (size_t)(end - v))) < 0)
		return r;
	while (v < end && is_space(*v))
		v++;
	while (end > v && is_space(end[-1]))
		end--;
	*colon = '\0';
	*end = '\0';
	*f = (struct http_field){ line, v, (size_t)(colon - line),
		(size_t)(end - v) };
	return 0;
}

/* uri-host [ ":" port ] (RFC 9110 7.2), less what no host here has. */
static bool
is_host(const char *v)
{
	const char *p = v;
	size_t digits;

	if (*p == '[') {
		p += 1 + strspn(p + 1, "0123456789abcdefABCDEF:.");
		if (*p++ != ']' || p - v < 4)
			return false;
	} else {
		while (http_is_alnum(*p) || *p == '-' || *p == '.' ||
		    *p == '_' || *p == '~')
			p++;
		if (p == v)
			return false;
	}
	if (*p == '\0')
		return true;
	if (*p++ != ':')
		return false;
	digits = strspn(p, "0123456789");
	return digits >= 1 && digits <= 5 && p[digits] == '\0';
}

static int
on_host(struct http *h, const struct http_field *f)
{
	if (RULE(HTTP_HOST_TWICE) && h->host != NULL)
		return http_fault(
		    h, 400, "HTTP_HOST_TWICE", "more than one Host");
	if (RULE(HTTP_HOST_VALID) && !is_host(f->value))
		return http_fault(
		    h, 400, "HTTP_HOST_VALID", "the Host is not a host name");
	h->host = f->value;
	return 0;
}

/* RFC 9110 8.6, RFC 9112 6.3: one decimal number or no message. */
static int
on_content_length(struct http *h, const struct http_field *f)
{
	const char *v = f->value;
	uint64_t n = 0;

	if (RULE(HTTP_CL_TWICE) && h->has_length)
		return http_fault(
		    h, 400, "HTTP_CL_TWICE", "more than one Content-Length");
	if (RULE(HTTP_CL_LIST) && strchr(v, ',') != NULL)
		return http_fault(
		    h, 400, "HTTP_CL_LIST", "Content-Length is a list");
	if (RULE(HTTP_CL_DIGITS) && strchr(v, ',') == NULL &&
	    (*v == '\0' || v[strspn(v, "0123456789")] != '\0'))
		return http_fault(h, 400, "HTTP_CL_DIGITS",
		    "Content-Length is not a decimal number");
	if (RULE(HTTP_CL_OVERFLOW) && f->value_len > LENGTH_DIGITS_MAX)
		return http_fault(
		    h, 400, "HTTP_CL_OVERFLOW", "Content-Length is too large");
	if (RULE(HTTP_CL_ZERO) && v[0] == '0' && v[1] != '\0')
		return http_fault(
		    h, 400, "HTTP_CL_ZERO", "Content-Length has leading zeros");
	for (; http_is_digit(*v); v++)
		n = n * 10 + (uint64_t)(*v - '0');
	h->has_length = true;
	h->content_length = n;
	return 0;
}

/* RFC 9112 6.1: we know one coding, written one way. */
static int
on_transfer_encoding(struct http *h, const struct http_field *f)
{
	if (RULE(HTTP_TE_TWICE) && h->has_te)
		return http_fault(
		    h, 400, "HTTP_TE_TWICE", "more than one Transfer-Encoding");
	if (RULE(HTTP_TE_CHUNKED) && strcmp(f->value, "chunked") != 0)
		return http_fault(h, 501, "HTTP_TE_CHUNKED",
		    "the only Transfer-Encoding here is chunked");
	h->has_te = true;
	return 0;
}

/* RFC 9110 7.6.1.  Who names a framing field there wants the next hop to
 * drop it and to see another message than we do. */
static int
on_connection(struct http *h, const struct http_field *f)
{
	static const char *const never[] = { "host", "content-length",
		"transfer-encoding", "connection" };
	const char *p;
	size_t i;

	for (p = f->value; *p != '\0'; p++) {
		if (RULE(HTTP_CONN_LIST) && !http_is_tchar(*p) &&
		    !is_space(*p) && *p != ',')
			return http_fault(h, 400, "HTTP_CONN_LIST",
			    "Connection is not a list of tokens");
	}
	for (i = 0; i < nitems(never); i++) {
		if (RULE(HTTP_CONN_FRAMING) &&
		    http_list_has(f->value, never[i]))
			return http_fault(h, 400, "HTTP_CONN_FRAMING",
			    "Connection names a header that frames the "
			    "message");
	}
	h->says_close |= http_list_has(f->value, "close");
	h->says_upgrade |= http_list_has(f->value, "upgrade");
	return 0;
}

static int
on_upgrade(struct http *h, const struct http_field *f)
{
	if (RULE(HTTP_UPGRADE_TWICE) && h->upgrade_value != NULL)
		return http_fault(
		    h, 400, "HTTP_UPGRADE_TWICE", "more than one Upgrade");
	h->upgrade_value = f->value;
	return 0;
}

static int
on_expect(struct http *h, const struct http_field *f)
{
	if (RULE(HTTP_EXPECT) && strcasecmp(f->value, "100-continue") != 0)
		return http_fault(h, 417, "HTTP_EXPECT",
		    "the only expectation known is 100-continue");
	h->expect_continue = true;
	return 0;
}

/* What means something to the parser itself. */
static const struct {
	const char *name;
	int (*fn)(struct http *, const struct http_field *);
	bool in_response;
} known[] = {
	{ "Host", on_host, false },
	{ "Content-Length", on_content_length, true },
	{ "Transfer-Encoding", on_transfer_encoding, true },
	{ "Connection", on_connection, true },
	{ "Upgrade", on_upgrade, true },
	{ "Expect", on_expect, false },
};

int
http_field_line(struct http *h, char *line, size_t len)
{
	struct http_field *f;
	size_t i;
	int r;

	if (h->nfields == HTTP_FIELDS_MAX) { /* the array ends: never off */
		bool named = RULE(HTTP_FIELDS_MANY);

		return http_fault(h, 431,
		    named ? "HTTP_FIELDS_MANY" : "HTTP_BUF",
		    "more than 64 header lines");
	}
	f = &h->fields[h->nfields];
	if ((r = field_split(h, line, len, f)) < 0)
		return r;
	h->nfields++;
	for (i = 0; i < nitems(known); i++) {
		if (h->response && !known[i].in_response)
			continue;
		if (strcasecmp(known[i].name, f->name) == 0)
			return known[i].fn(h, f);
	}
	return 0;
}

/* RFC 9110 6.5.1: fields that frame, route, or grant never come late. We
 * drop the rest: nothing here wants one. */
int
http_trailer_line(struct http *h, char *line, size_t len)
{
	static const char *const never[] = { "Host", "Content-Length",
		"Transfer-Encoding", "Connection", "Upgrade", "Expect",
		"Trailer", "TE", "Content-Type", "Content-Encoding",
		"Content-Range", "Authorization", "Cookie", "Set-Cookie",
		"Cache-Control", "Max-Forwards", "Range", "Location" };
	struct http_field f = { "", "", 0, 0 };
	size_t i;
	int r;

	if (RULE(HTTP_TRAILER_MANY) && h->ntrailers == HTTP_TRAILERS_MAX)
		return http_fault(
		    h, 431, "HTTP_TRAILER_MANY", "more than 16 trailer lines");
	h->ntrailers++;
	if ((r = field_split(h, line, len, &f)) < 0)
		return r;
	for (i = 0; i < nitems(never); i++) {
		if (RULE(HTTP_TRAILER_FORBIDDEN) &&
		    strcasecmp(f.name, never[i]) == 0)
			return http_fault(h, 400, "HTTP_TRAILER_FORBIDDEN",
			    "a header that may not come after the body");
	}
	return 0;
}

/* Sets framing and the phase that reads it. */
static void
frame(struct http *h, enum http_framing how, int phase)
{
	h->framing = how;
	h->left = how == HTTP_BODY_LENGTH ? h->content_length : 0;
	h->phase = phase;
}

/* RFC 9112 6.3, the part that both directions share. */
static int
frame_body(struct http *h, enum http_framing otherwise)
{
	/* 6.1: both is the classic way to hide a second message */
	if (RULE(HTTP_TE_CL) && h->has_te && h->has_length)
		return http_fault(h, 400, "HTTP_TE_CL",
		    "both Transfer-Encoding and Content-Length");
	if (h->has_te) {
		frame(h, HTTP_BODY_CHUNKED, PH_CHUNK_SIZE);
		return 0;
	}
	if (!h->has_length) {
		frame(h, otherwise,
		    otherwise == HTTP_BODY_CLOSE ? PH_CLOSE : PH_DONE);
		return 0;
	}
	if (RULE(HTTP_BODY_LIMIT) && h->content_length > h->body_max)
		return http_fault(h, 413, "HTTP_BODY_LIMIT",
		    "the body is longer than is allowed here");
	frame(h, HTTP_BODY_LENGTH, h->content_length > 0 ? PH_LENGTH : PH_DONE);
	return 0;
}

static int
request_check(struct http *h)
{
	bool body = h->has_te || h->content_length > 0;

	if (RULE(HTTP_HOST_MISSING) && h->host == NULL)
		return http_fault(
		    h, 400, "HTTP_HOST_MISSING", "there is no Host");
	/* whose bytes a body's would be is a matter of opinion */
	if (RULE(HTTP_UPGRADE_BODY) && h->upgrade != NULL && body &&
	    !(h->flags & HTTP_OK_UPGRADE_BODY))
		return http_fault(h, 400, "HTTP_UPGRADE_BODY",
		    "an upgrade request with a body");
	h->expect_continue &= body;
	return frame_body(h, HTTP_BODY_NONE);
}

/* RFC 9110 15.2.2: an upgrade is ours to ask for. */
static int
switch_check(struct http *h)
{
	if (RULE(HTTP_101_UNASKED) && !(h->flags & HTTP_TO_UPGRADE))
		return http_fault(h, 502, "HTTP_101_UNASKED",
		    "an upgrade that nobody asked for");
	if (RULE(HTTP_101_UPGRADE) && h->upgrade == NULL)
		return http_fault(h, 502, "HTTP_101_UPGRADE",
		    "101 without Upgrade and Connection");
	return 0;
}

static int
response_check(struct http *h)
{
	bool bare = h->status < 200 || h->status == 204;
	int r;

	if (RULE(HTTP_TE_10) && h->minor == 0 && h->has_te)
		return http_fault(h, 502, "HTTP_TE_10",
		    "Transfer-Encoding on HTTP/1.0"); /* RFC 9112 6.1 */
	/* RFC 9110 8.6: such answers say no length but that of nothing */
	if (RULE(HTTP_BARE_BODY) && bare &&
	    (h->has_te || h->content_length > 0))
		return http_fault(h, 502, "HTTP_BARE_BODY",
		    "an answer that cannot have a body announces one");
	if (h->status == 101 && (r = switch_check(h)) < 0)
		return r;
	if (RULE(HTTP_TE_CL) && h->has_te && h->has_length)
		return http_fault(h, 502, "HTTP_TE_CL",
		    "both Transfer-Encoding and Content-Length");
	if (bare || h->status == 304 || (h->flags & HTTP_TO_HEAD)) {
		frame(h, HTTP_BODY_NONE, PH_DONE);
		return 0;
	}
	return frame_body(h, HTTP_BODY_CLOSE);
}

int
http_head_check(struct http *h)
{
	int r;

	/* Upgrade counts only where Connection says so (RFC 9110 7.8) */
	h->upgrade = h->says_upgrade ? h->upgrade_value : NULL;
	if ((r = h->response ? response_check(h) : request_check(h)) < 0)
		return r;
	h->keep_alive = !h->says_close && h->minor == 1 &&
	    h->framing != HTTP_BODY_CLOSE && h->status != 101;
	return 0;
}
