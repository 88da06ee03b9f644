#include "warden/text.h"

void
text_print(char *buf, size_t cap, const char *src, size_t len)
{
	size_t i, n = len < cap ? len : cap - 1;

	for (i = 0; i < n; i++)
		buf[i] = src[i] >= ' ' && src[i] <= '~' ? src[i] : '?';
	buf[n] = '\0';
}
