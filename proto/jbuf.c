#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"
#include "proto/jbuf.h"

void
jbuf_init(struct jbuf *b, size_t max)
{
	*b = (struct jbuf){ .max = max };
}

void
jbuf_free(struct jbuf *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->cap);
	free(b->p);
	*b = (struct jbuf){ .max = b->max, .plain = b->plain };
}

/* Not realloc: it would leave the old text behind in the heap. */
static int
grow(struct jbuf *b, size_t need)
{
	size_t cap = b->cap < 128 ? 128 : b->cap;
	char *p;

	while (cap < need)
		cap *= 2; /* need <= max + 1, far from wrapping */
	if ((p = malloc(cap)) == NULL)
		return -ENOMEM;
	if (b->p != NULL) {
		memcpy(p, b->p, b->len + 1);
		explicit_bzero(b->p, b->cap);
		free(b->p);
	}
	b->p = p;
	b->cap = cap;
	return 0;
}

void
jbuf_raw(struct jbuf *b, const char *s, size_t len)
{
	if (b->r < 0)
		return;
	if (len > b->max - b->len) {
		b->r = -EMSGSIZE;
		return;
	}
	if (b->len + len + 1 > b->cap && (b->r = grow(b, b->len + len + 1)) < 0)
		return;
	if (len > 0)
		memcpy(b->p + b->len, s, len);
	b->len += len;
	b->p[b->len] = '\0';
}

void
jbuf_text(struct jbuf *b, const char *s)
{
	jbuf_raw(b, s, strlen(s));
}

void
jbuf_int(struct jbuf *b, long long v)
{
	char buf[24];

	jbuf_raw(b, buf, (size_t)snprintf(buf, sizeof(buf), "%lld", v));
}

/* Of an ASCII character; NULL: as it is. */
static const char *
escaped_ascii(unsigned char c, bool plain, char buf[8])
{
	static const char named[] = "\"\"\\\\\nn\rr\tt\bb\ff";
	const size_t n = sizeof(named) - (plain ? 1 : 5);
	size_t i;

	for (i = 0; i < n; i += 2) {
		if (c == (unsigned char)named[i]) {
			(void)snprintf(buf, 8, "\\%c", named[i + 1]);
			return buf;
		}
	}
	if (c >= 0x20 && (plain || (c != '<' && c != '>' && c != '&')))
		return NULL;
	(void)snprintf(buf, 8, "\\u%04x", c);
	return buf;
}

/* How the character at s is escaped, NULL if it is not; *n: its bytes. */
static const char *
escaped(const char *s, size_t left, bool plain, size_t *n, char buf[8])
{
	*n = 1;
	if ((unsigned char)*s < 0x80)
		return escaped_ascii((unsigned char)*s, plain, buf);
	if ((*n = utf8_len(s, left)) == 0) {
		*n = 1;
		return "\\ufffd";
	}
	if (!plain && *n == 3 && memcmp(s, "\xe2\x80", 2) == 0 &&
	    ((unsigned char)s[2] & 0xfe) == 0xa8) {
		return (unsigned char)s[2] == 0xa8 ? "\\u2028" : "\\u2029";
	}
	return NULL;
}

void
jbuf_str(struct jbuf *b, const char *s, size_t len)
{
	size_t from = 0, i = 0, n;
	const char *esc;
	char buf[8];

	jbuf_raw(b, "\"", 1);
	while (i < len) {
		esc = escaped(s + i, len - i, b->plain, &n, buf);
		if (esc != NULL) {
			jbuf_raw(b, s + from, i - from);
			jbuf_text(b, esc);
			from = i + n;
		}
		i += n;
	}
	jbuf_raw(b, s + from, len - from);
	jbuf_raw(b, "\"", 1);
}
