#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/url.h"
#include "common/util.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * Decodes len bytes of src to dst, which has room for as many and a NUL.
 * Decoding never grows, so the bound on the source is the bound on dst.
 */
static int
decode(char *dst, const char *src, size_t len, bool plus, struct err *e)
{
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		int hi, lo;

		if (src[i] != '%') {
			dst[n++] = src[i] == '+' && plus ? ' ' : src[i];
			continue;
		}
		/* the source ends in NUL or a delimiter: no digit, no overrun
		 */
		hi = i + 1 < len ? hex_value(src[i + 1]) : -1;
		lo = i + 2 < len ? hex_value(src[i + 2]) : -1;
		if (hi < 0 || lo < 0) {
			if (RULE(URL_ESCAPE))
				return err_set(e, -EINVAL,
				    "%% is not followed by two hex digits");
			dst[n++] = '%';
			continue;
		}
		if (RULE(URL_NUL) && hi == 0 && lo == 0)
			return err_set(e, -EINVAL, "%%00 is refused");
		dst[n++] = (char)(hi << 4 | lo);
		i += 2;
	}
	dst[n] = '\0';
	return 0;
}

static bool
has_control(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	}
	return false;
}

static int
add_segment(
    struct url_path *u, char *dst, const char *raw, size_t len, struct err *e)
{
	struct url_segment *s = &u->seg[u->n];
	int r;

	if (RULE(URL_EMPTY_SEGMENT) && len == 0)
		return err_set(e, -EINVAL, "the path holds an empty segment");
	if ((r = decode(dst, raw, len, false, e)) < 0)
		return r;
	/* after decoding, or %2e%2e would pass */
	if (RULE(URL_DOT_SEGMENT) &&
	    (strcmp(dst, ".") == 0 || strcmp(dst, "..") == 0))
		return err_set(e, -EINVAL, "the path holds . or ..");
	if (RULE(URL_CONTROL) && has_control(dst))
		return err_set(e, -EINVAL, "the path holds a control byte");
	s->text = dst;
	s->len = strlen(dst);
	u->n++;
	return 0;
}

int
url_path_parse(struct url_path *u, const char *path, struct err *e)
{
	const char *p = path;
	char *dst = u->buf;
	int r;

	u->n = 0;
	u->slash_end = false;
	if (strlen(path) > URL_PATH_MAX)
		return err_set(e, -E2BIG, "the path is too long");
	if (RULE(URL_ABSOLUTE) && *p != '/')
		return err_set(e, -EINVAL, "the path does not begin with /");
	/* http.c would not let these through: this stands on its own */
	if (RULE(URL_DELIMITER) && strpbrk(path, "?#") != NULL)
		return err_set(e, -EINVAL, "the path holds ? or #");
	while (*p == '/') {
		size_t len = strcspn(++p, "/");

		if (p[0] == '\0') {
			u->slash_end = u->n > 0;
			break;
		}
		if (u->n == URL_SEGMENTS_MAX)
			return err_set(
			    e, -E2BIG, "the path has too many segments");
		u->seg[u->n].at = (size_t)(p - path);
		if ((r = add_segment(u, dst, p, len, e)) < 0)
			return r;
		dst += len + 1; /* the raw length and its '/' always suffice */
		p += len;
	}
	return 0;
}

static int
add_param(
    struct url_query *q, char *dst, const char *raw, size_t len, struct err *e)
{
	struct url_param *prm = &q->param[q->n];
	const char *eq = memchr(raw, '=', len);
	size_t klen = eq != NULL ? (size_t)(eq - raw) : len;
	char *val = dst + klen + 1; /* after the key's NUL */
	int r;

	if (RULE(URL_QUERY_KEY) && klen == 0)
		return err_set(
		    e, -EINVAL, "the query holds a value without a key");
	if ((r = decode(dst, raw, klen, true, e)) < 0)
		return r;
	prm->key = dst;
	prm->value = "";
	if (eq != NULL) {
		if ((r = decode(val, eq + 1, len - klen - 1, true, e)) < 0)
			return r;
		prm->value = val;
	}
	q->n++;
	return 0;
}

int
url_query_parse(struct url_query *q, const char *query, struct err *e)
{
	const char *p = query;
	char *dst = q->buf;
	int r;

	q->n = 0;
	if (p == NULL)
		return 0;
	if (strlen(p) > URL_QUERY_MAX)
		return err_set(e, -E2BIG, "the query is too long");
	/* some split at ; too and would see other parameters than we do */
	if (RULE(URL_QUERY_DELIMITER) && strpbrk(p, ";#") != NULL)
		return err_set(e, -EINVAL, "the query holds ; or #");
	for (;;) {
		size_t len = strcspn(p, "&");

		if (len > 0 && q->n == URL_PARAMS_MAX)
			return err_set(
			    e, -E2BIG, "the query has too many parameters");
		if (len > 0 && (r = add_param(q, dst, p, len, e)) < 0)
			return r;
		dst += len + 1;
		p += len;
		if (*p++ == '\0')
			return 0;
	}
}

int
url_query_get(const struct url_query *q, const char *key, const char **ret)
{
	const char *found = NULL;
	size_t i;

	for (i = 0; i < q->n; i++) {
		if (strcmp(q->param[i].key, key) != 0)
			continue;
		if (found != NULL)
			return -EEXIST;
		found = q->param[i].value;
	}
	if (found == NULL)
		return -ENOENT;
	*ret = found;
	return 0;
}

/* RFC 3986 2.3 */
static bool
is_unreserved(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' ||
	    c == '~';
}

int
url_encode(char *dst, size_t cap, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		size_t need = is_unreserved(*text) ? 1 : 3;

		if (cap < 1 || need > cap - 1 - n)
			return -EMSGSIZE;
		if (need == 1) {
			dst[n++] = *text;
			continue;
		}
		dst[n++] = '%';
		dst[n++] = hex[c >> 4];
		dst[n++] = hex[c & 15];
	}
	if (cap < 1)
		return -EMSGSIZE;
	dst[n] = '\0';
	return 0;
}
