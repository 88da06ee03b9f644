#include <stdlib.h>

#include "proto/jread.h"
#include "warden/text.h"

void
text_print(char *buf, size_t cap, const char *src, size_t len)
{
	size_t i, n = len < cap ? len : cap - 1;

	for (i = 0; i < n; i++)
		buf[i] = src[i] >= ' ' && src[i] <= '~' ? src[i] : '?';
	buf[n] = '\0';
}

void
text_print_json(char *buf, size_t cap, const struct jstr *s)
{
	char *plain = malloc(s->len + 1);

	buf[0] = '\0';
	if (plain == NULL)
		return;
	jstr_copy(s, plain);
	text_print(buf, cap, plain, s->len);
	free(plain);
}
