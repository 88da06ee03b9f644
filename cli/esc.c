#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/esc.h"
#include "common/utf8.h"
#include "common/util.h"

static const struct {
	uint32_t first, last;
} bad_ranges[] = {
	{ 0x0000, 0x001f }, /* C0 */
	{ 0x007f, 0x009f }, /* DEL and C1: CSI is one of them */
	{ 0x00ad, 0x00ad }, /* soft hyphen: not seen */
	{ 0x061c, 0x061c }, /* Arabic letter mark */
	{ 0x200b, 0x200f }, /* not seen, and direction marks */
	{ 0x2028, 0x202e }, /* separators, embeddings and overrides */
	{ 0x2060, 0x206f }, /* isolates; not seen */
	{ 0xfeff, 0xfeff }, /* byte order mark */
	{ 0xfff9, 0xfffb }, /* interlinear annotation */
	{ 0xe0000, 0xe0fff }, /* tags */
};

bool
esc_is_bad(uint32_t cp)
{
	size_t i;

	for (i = 0; i < nitems(bad_ranges); i++) {
		if (cp >= bad_ranges[i].first && cp <= bad_ranges[i].last)
			return true;
	}
	return false;
}

void
esc_init(struct esc *e, unsigned int flags)
{
	*e = (struct esc){ .flags = flags };
}

/* How long a character that begins so says it is; 1 where nothing does. */
static size_t
promised(char c)
{
	uint8_t b = (uint8_t)c;

	if (b >= 0xc2 && b <= 0xdf)
		return 2;
	if (b >= 0xe0 && b <= 0xef)
		return 3;
	if (b >= 0xf0 && b <= 0xf4)
		return 4;
	return 1;
}

static uint32_t
decode(const char *s, size_t n)
{
	static const uint8_t lead[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t cp = (uint8_t)s[0] & lead[n];
	size_t i;

	for (i = 1; i < n; i++)
		cp = cp << 6 | ((uint8_t)s[i] & 0x3fU);
	return cp;
}

static size_t
put_number(const struct esc *e, uint32_t cp, bool is_char, char *out)
{
	/* longest: a pair of surrogates; the NUL of snprintf stays here */
	char num[24];
	bool json = (e->flags & ESC_JSON) != 0;
	int n;

	if (!json && (!is_char || cp < 0x80))
		n = snprintf(num, sizeof(num), "\\x%02x", cp);
	else if (cp <= 0xffff)
		n = snprintf(num, sizeof(num), "\\u%04x", cp);
	else if (!json)
		n = snprintf(num, sizeof(num), "\\U%06x", cp);
	else
		n = snprintf(num, sizeof(num), "\\u%04x\\u%04x",
		    0xd800 + ((cp - 0x10000) >> 10), 0xdc00 + (cp & 0x3ff));
	memcpy(out, num, (size_t)n);
	return (size_t)n;
}

/* n: 0 for a byte that is no character */
static size_t
put(const struct esc *e, const char *s, size_t n, char *out)
{
	uint32_t cp = n == 0 ? (uint8_t)s[0] : decode(s, n);
	bool passes = (e->flags & ESC_LINES) != 0 && (cp == '\n' || cp == '\t');

	passes |= (e->flags & ESC_JSON) != 0 && cp == '\n';
	/* JSON has no number for a byte: U+FFFD says that one was here */
	if (n == 0 && (e->flags & ESC_JSON) != 0)
		return put_number(e, 0xfffd, true, out);
	if (n == 0 || (esc_is_bad(cp) && !passes))
		return put_number(e, cp, n != 0, out);
	memcpy(out, s, n);
	return n;
}

/* Takes one character off the front of what is held. */
static size_t
take(struct esc *e, char *out)
{
	size_t n = utf8_len(e->hold, e->held), len = n == 0 ? 1 : n, w;

	w = put(e, e->hold, n, out);
	e->held -= len;
	memmove(e->hold, e->hold + len, e->held);
	return w;
}

/* Could more bytes make this another character than it is now? */
static bool
is_waiting(const struct esc *e)
{
	size_t i;

	if (e->hold[0] == '\r' && (e->flags & ESC_LINES) != 0)
		return e->held == 1;
	for (i = 1; i < e->held; i++) {
		if (((uint8_t)e->hold[i] & 0xc0) != 0x80)
			return false;
	}
	return e->held < promised(e->hold[0]);
}

size_t
esc_feed(struct esc *e, const char *in, size_t len, char *out)
{
	size_t i, w = 0;

	for (i = 0; i < len; i++) {
		if (e->held == 1 && e->hold[0] == '\r' && in[i] == '\n')
			e->held = 0;
		e->hold[e->held++] = in[i];
		while (e->held > 0 && !is_waiting(e))
			w += take(e, out + w);
	}
	return w;
}

size_t
esc_end(struct esc *e, char *out)
{
	size_t w = 0;

	while (e->held > 0)
		w += take(e, out + w);
	return w;
}

char *
esc_dup(const char *text, size_t len, unsigned int flags)
{
	struct esc e;
	size_t n, room;
	char *p;

	if (__builtin_mul_overflow(len + 4, (size_t)ESC_GROWTH, &room))
		return NULL;
	if ((p = malloc(room + 1)) == NULL)
		return NULL;
	esc_init(&e, flags);
	n = esc_feed(&e, text, len, p);
	n += esc_end(&e, p + n);
	p[n] = '\0';
	return p;
}

void
esc_text(char *dst, size_t cap, const char *text)
{
	char *p = esc_dup(text, strlen(text), 0);

	/* without memory nothing of it is shown: better than unsafe */
	(void)snprintf(dst, cap, "%s", p == NULL ? "?" : p);
	free(p);
}
