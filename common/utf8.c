#include "common/utf8.h"

/* What may follow a lead byte: how many bytes, and the second's range. */
struct lead {
	unsigned char lo, hi, more, second_lo, second_hi;
};

/* RFC 3629 section 4, row by row. */
static const struct lead leads[] = {
	{ 0x00, 0x7f, 0, 0, 0 },
	{ 0xc2, 0xdf, 1, 0x80, 0xbf },
	{ 0xe0, 0xe0, 2, 0xa0, 0xbf },
	{ 0xe1, 0xec, 2, 0x80, 0xbf },
	{ 0xed, 0xed, 2, 0x80, 0x9f },
	{ 0xee, 0xef, 2, 0x80, 0xbf },
	{ 0xf0, 0xf0, 3, 0x90, 0xbf },
	{ 0xf1, 0xf3, 3, 0x80, 0xbf },
	{ 0xf4, 0xf4, 3, 0x80, 0x8f },
};

static const struct lead *
lead_of(unsigned char c)
{
	size_t i;

	for (i = 0; i < sizeof(leads) / sizeof(leads[0]); i++)
		if (c >= leads[i].lo && c <= leads[i].hi)
			return &leads[i];
	return NULL;
}

size_t
utf8_len(const char *s, size_t left)
{
	const unsigned char *p = (const unsigned char *)s;
	const struct lead *l = lead_of(p[0]);
	size_t k;

	if (l == NULL || left <= l->more)
		return 0;
	if (l->more > 0 && (p[1] < l->second_lo || p[1] > l->second_hi))
		return 0;
	for (k = 2; k <= l->more; k++)
		if ((p[k] & 0xc0) != 0x80)
			return 0;
	return (size_t)l->more + 1;
}

bool
utf8_valid(const char *s, size_t len)
{
	size_t i = 0, n;

	for (; i < len; i += n)
		if ((n = utf8_len(s + i, len - i)) == 0)
			return false;
	return true;
}

void
utf8_scrub(char *s, size_t len)
{
	size_t i = 0, n;

	for (; i < len; i += n)
		if ((n = utf8_len(s + i, len - i)) == 0) {
			s[i] = '?';
			n = 1;
		}
}

size_t
utf8_put(uint32_t cp, char buf[4])
{
	size_t n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	static const unsigned char mark[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t i;

	for (i = n - 1; i > 0; i--) {
		buf[i] = (char)(0x80 | (cp & 0x3f));
		cp >>= 6;
	}
	buf[0] = (char)(mark[n] | cp);
	return n;
}
