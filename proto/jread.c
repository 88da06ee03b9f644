#include <errno.h>
#include <limits.h>
#include <string.h>

#include "common/err.h"
#include "common/utf8.h"
#include "proto/jread.h"

void
jread_init(struct jread *j, const char *text, size_t len, struct err *e)
{
	/* a request without a body has no text at all */
	j->start = j->p = len > 0 ? text : "";
	j->end = j->p + len;
	j->depth = 0;
	j->e = e;
}

static int
bad(const struct jread *j, const char *why)
{
	if (j->p == j->end)
		return err_set(j->e, -EBADMSG, "unexpected EOF");
	return err_set(j->e, -EBADMSG, "invalid JSON at byte %zu: %s",
	    (size_t)(j->p - j->start), why);
}

static void
blanks(struct jread *j)
{
	while (j->p < j->end &&
	    (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
		j->p++;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

enum jread_type
jread_peek(struct jread *j)
{
	blanks(j);
	if (j->p == j->end)
		return JREAD_NONE;
	switch (*j->p) {
	case '{':
		return JREAD_OBJECT;
	case '[':
		return JREAD_ARRAY;
	case '"':
		return JREAD_STRING;
	case 't':
	case 'f':
		return JREAD_BOOL;
	case 'n':
		return JREAD_NULL;
	default:
		return *j->p == '-' || is_digit(*j->p) ? JREAD_NUMBER
						       : JREAD_NONE;
	}
}

const char *
jread_type_name(enum jread_type t)
{
	static const char *const names[] = { "nothing", "an object", "a list",
		"a string", "a number", "a boolean", "null" };

	return names[t];
}

/* Four hex digits at p, or -1. */
static int32_t
hex4(const char *p, const char *end)
{
	int32_t v = 0;
	int i;

	if (end - p < 4)
		return -1;
	for (i = 0; i < 4; i++) {
		char c = p[i];

		v <<= 4;
		if (is_digit(c))
			v |= c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v |= (c | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return v;
}

/*
 * The escape whose backslash is at p: its length, 0 if it is none, and the
 * code point.  Half a surrogate pair is no character, so it is no escape.
 */
static size_t
escape(const char *p, const char *end, uint32_t *cp)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *hit;
	int32_t hi, lo;

	if (end - p < 2)
		return 0;
	if (p[1] != 'u') {
		if (p[1] == '\0' || (hit = strchr(from, p[1])) == NULL)
			return 0;
		*cp = (uint32_t)to[hit - from];
		return 2;
	}
	hi = hex4(p + 2, end);
	if (hi < 0 || (hi >= 0xdc00 && hi <= 0xdfff))
		return 0;
	*cp = (uint32_t)hi;
	if (hi < 0xd800 || hi > 0xdbff)
		return 6;
	if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return 0;
	lo = hex4(p + 8, end);
	if (lo < 0xdc00 || lo > 0xdfff)
		return 0;
	*cp =
	    0x10000 + (((uint32_t)hi - 0xd800) << 10) + ((uint32_t)lo - 0xdc00);
	return 12;
}

int
jread_string(struct jread *j, struct jstr *s)
{
	const char *raw = ++j->p;
	size_t len = 0, n;
	uint32_t cp;
	char buf[4];

	for (;;) {
		if (j->p == j->end)
			return bad(j, "");
		if (*j->p == '"')
			break;
		if ((unsigned char)*j->p < 0x20)
			return bad(j, "control character in a string");
		if (*j->p != '\\') {
			j->p++;
			len++;
			continue;
		}
		n = escape(j->p, j->end, &cp);
		if (n == 0)
			return bad(j, "not an escape sequence");
		if (cp == 0)
			return bad(j, "NUL in a string");
		j->p += n;
		len += utf8_put(cp, buf);
	}
	s->raw = raw;
	s->rawlen = (size_t)(j->p - raw);
	s->len = len;
	if (!utf8_valid(s->raw, s->rawlen))
		return bad(j, "the string before it is not UTF-8");
	j->p++;
	return 0;
}

void
jstr_copy(const struct jstr *s, char *dst)
{
	const char *p = s->raw, *end = s->raw + s->rawlen;
	uint32_t cp;

	if (s->len == s->rawlen) { /* an escape is never as short as its text */
		if (s->len > 0)
			memcpy(dst, s->raw, s->len);
		return;
	}
	while (p < end) {
		if (*p != '\\') {
			*dst++ = *p++;
			continue;
		}
		p += escape(p, end, &cp);
		dst += utf8_put(cp, dst);
	}
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool
jstr_is(const struct jstr *s, const char *text, bool fold)
{
	const char *p = s->raw, *end = s->raw + s->rawlen;
	size_t i, n = 0;
	char one[4];
	uint32_t cp;

	if (s->len != strlen(text))
		return false;
	while (p < end) {
		if (*p == '\\') {
			p += escape(p, end, &cp);
			n = utf8_put(cp, one);
		} else {
			one[0] = *p++;
			n = 1;
		}
		for (i = 0; i < n; i++, text++)
			if (one[i] != *text &&
			    !(fold && lower(one[i]) == lower(*text)))
				return false;
	}
	return true;
}

static size_t
take_digits(struct jread *j)
{
	const char *from = j->p;

	while (j->p < j->end && is_digit(*j->p))
		j->p++;
	return (size_t)(j->p - from);
}

/* One number by the grammar; *whole: it has neither fraction nor exponent. */
static int
number(struct jread *j, bool *whole)
{
	*whole = true;
	if (j->p < j->end && *j->p == '-')
		j->p++;
	if (j->p < j->end && *j->p == '0')
		j->p++;
	else if (take_digits(j) == 0)
		return bad(j, "a digit was expected");
	if (j->p < j->end && *j->p == '.') {
		j->p++;
		*whole = false;
		if (take_digits(j) == 0)
			return bad(j, "a digit was expected");
	}
	if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
		j->p++;
		*whole = false;
		if (j->p < j->end && (*j->p == '+' || *j->p == '-'))
			j->p++;
		if (take_digits(j) == 0)
			return bad(j, "a digit was expected");
	}
	if (j->p < j->end && is_digit(*j->p))
		return bad(j, "leading zero");
	return 0;
}

int
jread_int(struct jread *j, long long *v)
{
	const char *p = j->p;
	bool whole, minus = *p == '-';
	long long n = 0;
	int r;

	if ((r = number(j, &whole)) < 0)
		return r;
	if (!whole)
		return -EDOM;
	/* negative all the way: there is one more of those */
	for (p += minus; p < j->p; p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_sub_overflow(n, *p - '0', &n))
			return -ERANGE;
	if (!minus && n == LLONG_MIN)
		return -ERANGE;
	*v = minus ? n : -n;
	return 0;
}

static int
word(struct jread *j, const char *w)
{
	size_t len = strlen(w);

	if ((size_t)(j->end - j->p) < len || memcmp(j->p, w, len) != 0)
		return bad(j, "true, false or null was expected");
	j->p += len;
	return 0;
}

int
jread_bool(struct jread *j, bool *v)
{
	*v = *j->p == 't';
	return word(j, *v ? "true" : "false");
}

int
jread_enter(struct jread *j, bool *first)
{
	*first = true;
	if (j->depth == JREAD_DEPTH_MAX)
		return bad(j, "nested too deep");
	j->depth++;
	j->p++;
	return 0;
}

/* 1 at the next member, 0 past the closing bracket. */
static int
next(struct jread *j, bool *first, char close)
{
	blanks(j);
	if (j->p == j->end)
		return bad(j, "");
	if (*j->p == close) {
		j->p++;
		j->depth--;
		return 0;
	}
	if (!*first) {
		if (*j->p != ',')
			return bad(j, "a comma was expected");
		j->p++;
		blanks(j);
	}
	*first = false;
	return 1;
}

int
jread_next_item(struct jread *j, bool *first)
{
	int r = next(j, first, ']');

	if (r > 0 && jread_peek(j) == JREAD_NONE)
		return bad(j, "a value was expected");
	return r;
}

int
jread_next_key(struct jread *j, bool *first, struct jstr *key)
{
	int r = next(j, first, '}');

	if (r <= 0)
		return r;
	if (jread_peek(j) != JREAD_STRING)
		return bad(j, "a key was expected");
	if ((r = jread_string(j, key)) < 0)
		return r;
	blanks(j);
	if (j->p == j->end || *j->p != ':')
		return bad(j, "a colon was expected");
	j->p++;
	if (jread_peek(j) == JREAD_NONE)
		return bad(j, "a value was expected");
	return 1;
}

static int
skip_members(struct jread *j, bool object)
{
	struct jstr key;
	bool first;
	int r;

	if ((r = jread_enter(j, &first)) < 0)
		return r;
	while ((r = object ? jread_next_key(j, &first, &key)
			   : jread_next_item(j, &first)) > 0)
		if ((r = jread_skip(j)) < 0)
			return r;
	return r;
}

/* Recursion ends at JREAD_DEPTH_MAX. */
int
jread_skip(struct jread *j)
{
	struct jstr s;
	bool b;

	switch (jread_peek(j)) {
	case JREAD_OBJECT:
		return skip_members(j, true);
	case JREAD_ARRAY:
		return skip_members(j, false);
	case JREAD_STRING:
		return jread_string(j, &s);
	case JREAD_NUMBER:
		return number(j, &b);
	case JREAD_BOOL:
		return jread_bool(j, &b);
	case JREAD_NULL:
		return word(j, "null");
	case JREAD_NONE:
		break;
	}
	return bad(j, "a value was expected");
}

int
jread_end(struct jread *j)
{
	blanks(j);
	return j->p == j->end ? 0 : bad(j, "data after the value");
}

int
jread_open(struct jread *j, const char *text, size_t len)
{
	struct jread all;
	int r;

	jread_init(&all, text, len, NULL);
	*j = all;
	if ((r = jread_skip(&all)) < 0)
		return r;
	return jread_end(&all);
}

int
jread_find(const struct jread *obj, const char *name, struct jread *ret)
{
	struct jread j = *obj;
	struct jstr key = { 0 };
	bool first;
	int r, found = -ENOENT;

	if (jread_peek(&j) != JREAD_OBJECT)
		return -ENOENT;
	if ((r = jread_enter(&j, &first)) < 0)
		return r;
	while ((r = jread_next_key(&j, &first, &key)) > 0) {
		if (jstr_is(&key, name, false)) {
			*ret = j;
			found = 0;
		}
		if ((r = jread_skip(&j)) < 0)
			return r;
	}
	return r < 0 ? r : found;
}
