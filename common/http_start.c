#include <string.h>

#include "common/http.h"
#include "common/http_int.h"
#include "common/util.h"

static const char *const methods[] = {
	[HTTP_OTHER] = "",
	[HTTP_GET] = "GET",
	[HTTP_HEAD] = "HEAD",
	[HTTP_POST] = "POST",
	[HTTP_PUT] = "PUT",
	[HTTP_PATCH] = "PATCH",
	[HTTP_DELETE] = "DELETE",
	[HTTP_OPTIONS] = "OPTIONS",
};

const char *
http_method_name(enum http_method m)
{
	return methods[m];
}

bool
http_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool
http_is_alnum(char c)
{
	return http_is_digit(c) || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z');
}

/* strchr would find the terminator */
static bool
is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

bool
http_is_tchar(char c)
{
	return http_is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}

bool
http_is_ctl(char c)
{
	unsigned char u = (unsigned char)c;

	return u != '\0' && ((u < 0x20 && u != '\t') || u == 0x7f);
}

bool
http_is_target_char(char c)
{
	return http_is_alnum(c) || is_one_of(c, "-._~!$&'()*+,;=:@/?%");
}

/* "HTTP/1.1" and nothing else; another well-formed version has its own
 * answer (RFC 9110 15.6.6). */
static int
version(struct http *h, const char *v, size_t len)
{
	if (RULE(HTTP_VERSION_FORM) &&
	    (len != 8 || memcmp(v, "HTTP/", 5) != 0 || !http_is_digit(v[5]) ||
		v[6] != '.' || !http_is_digit(v[7])))
		return http_fault(h, 400, "HTTP_VERSION_FORM",
		    "the version is not of the form HTTP/1.1");
	h->minor = len >= 8 && v[7] == '0' ? 0 : 1;
	if (RULE(HTTP_VERSION_11) &&
	    (len < 8 || memcmp(v + 5, "1.1", 3) != 0)) {
		if ((h->flags & HTTP_OK_10) && memcmp(v + 5, "1.0", 3) == 0)
			return 0;
		return http_fault(
		    h, 505, "HTTP_VERSION_11", "only HTTP/1.1 is spoken here");
	}
	return 0;
}

static int
method(struct http *h, const char *m, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (RULE(HTTP_METHOD_TOKEN) && !http_is_tchar(m[i]))
			return http_fault(h, 400, "HTTP_METHOD_TOKEN",
			    "the method is not a token");
	}
	for (i = 1; i < nitems(methods); i++) {
		if (strlen(methods[i]) == len &&
		    memcmp(methods[i], m, len) == 0)
			h->method = (enum http_method)i;
	}
	if (RULE(HTTP_METHOD_KNOWN) && h->method == HTTP_OTHER)
		return http_fault(
		    h, 501, "HTTP_METHOD_KNOWN", "no such method here");
	return 0;
}

/* RFC 9112 3.2: origin-form only.  The other forms name an authority of
 * their own, which is how a request comes to mean two hosts. */
static int
target_form(struct http *h, const char *t, size_t len)
{
	if (RULE(HTTP_TARGET_ASTERISK) && len == 1 && t[0] == '*')
		return http_fault(h, 501, "HTTP_TARGET_ASTERISK",
		    "the target * is not implemented");
	if (RULE(HTTP_TARGET_ABSOLUTE) && memmem(t, len, "://", 3) != NULL &&
	    t[0] != '/')
		return http_fault(h, 501, "HTTP_TARGET_ABSOLUTE",
		    "a whole URL as target is not implemented: send the path");
	if (RULE(HTTP_TARGET_ORIGIN) && t[0] != '/')
		return http_fault(h, 400, "HTTP_TARGET_ORIGIN",
		    "the target does not begin with /");
	return 0;
}

static int
target(struct http *h, char *t, size_t len)
{
	size_t i;
	char *q;
	int r;

	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)t[i];

		if (RULE(HTTP_TARGET_BYTES) && (c < 0x20 || c >= 0x7f))
			return http_fault(h, 400, "HTTP_TARGET_BYTES",
			    "the target holds a control or non-ASCII byte");
		if (RULE(HTTP_TARGET_FRAGMENT) && c == '#')
			return http_fault(h, 400, "HTTP_TARGET_FRAGMENT",
			    "the target holds a fragment");
		if (RULE(HTTP_TARGET_CHARS) && c >= 0x20 && c < 0x7f &&
		    c != '#' && !http_is_target_char(t[i]))
			return http_fault(h, 400, "HTTP_TARGET_CHARS",
			    "the target holds a character that must be "
			    "percent-encoded");
	}
	if ((r = target_form(h, t, len)) < 0)
		return r;
	h->path = t;
	if ((q = memchr(t, '?', len)) != NULL) {
		*q = '\0';
		h->query = q + 1;
	}
	return 0;
}

/* RFC 9112 3: method SP request-target SP HTTP-version. The version is
 * looked at first: another protocol's first line gets the fitting answer. */
int
http_request_line(struct http *h, char *line, size_t len)
{
	char *end = line + len, *t, *v;
	size_t tlen;
	int r;

	t = memchr(line, ' ', len);
	if (t == NULL) /* nothing below works without, so no rule to drop */
		return http_fault(h, 400, "HTTP_LINE_PARTS",
		    "the first line is not METHOD TARGET HTTP/1.1");
	*t++ = '\0';
	v = memchr(t, ' ', (size_t)(end - t));
	if (RULE(HTTP_LINE_SPACE) &&
	    (v == t || end[-1] == ' ' || (v != NULL && v[1] == ' ') ||
		(v != NULL && memchr(v + 1, ' ', (size_t)(end - v - 1)))))
		return http_fault(h, 400, "HTTP_LINE_SPACE",
		    "extra white space in the first line");
	if (RULE(HTTP_VERSION_MISSING) && v == NULL)
		return http_fault(h, 400, "HTTP_VERSION_MISSING",
		    "the first line has no version: HTTP/0.9 is not spoken");
	if (v == NULL)
		v = end;
	tlen = (size_t)(v - t); /* not strlen: a NUL must be seen */
	if (v < end)
		*v++ = '\0';
	if ((r = version(h, v, (size_t)(end - v))) < 0 ||
	    (r = method(h, line, (size_t)(t - line) - 1)) < 0)
		return r;
	return target(h, t, tlen);
}

/* RFC 9112 4: HTTP-version SP status-code SP [reason]; the second SP is
 * there even without a reason. */
int
http_status_line(struct http *h, char *line, size_t len)
{
	size_t i;
	int r;

	if (RULE(HTTP_STATUS_LINE) &&
	    (len < 13 || line[8] != ' ' || line[12] != ' '))
		return http_fault(h, 502, "HTTP_STATUS_LINE",
		    "the first line is not HTTP/1.1 CODE REASON");
	if (len < 12) /* not a rule: the code would lie past the line */
		return http_fault(h, 502, "HTTP_BUF", "the line is short");
	if ((r = version(h, line, 8)) < 0)
		return r;
	if (RULE(HTTP_STATUS_CODE) &&
	    (line[9] < '1' || line[9] > '5' || !http_is_digit(line[10]) ||
		!http_is_digit(line[11])))
		return http_fault(h, 502, "HTTP_STATUS_CODE",
		    "the status is not a number from 100 to 599");
	for (i = 12; i < len; i++) {
		if (RULE(HTTP_STATUS_REASON) &&
		    (line[i] == '\0' || http_is_ctl(line[i])))
			return http_fault(h, 502, "HTTP_STATUS_REASON",
			    "a control byte in the reason");
	}
	h->status =
	    (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
	h->reason = line + (len > 12 ? 13 : 12);
	return 0;
}
