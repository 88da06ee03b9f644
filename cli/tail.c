#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tail.h"

int
tail_init(struct tail *t, uint32_t lines)
{
	*t = (struct tail){ .lines = lines, .p = malloc(TAIL_MAX) };
	return t->p == NULL ? -ENOMEM : 0;
}

void
tail_free(struct tail *t)
{
	free(t->p);
	*t = (struct tail){ .p = NULL };
}

const char *
tail_get(const struct tail *t, size_t *len)
{
	uint32_t n = 0;
	size_t at = t->len;

	/* the line feed that ends the last line begins no other */
	while (at > 0 && n < t->lines) {
		at--;
		while (at > 0 && t->p[at - 1] != '\n')
			at--;
		n++;
	}
	*len = t->len - at;
	return t->p + at;
}

/* Half of it, at least, is free afterwards. */
static void
make_room(struct tail *t)
{
	size_t keep;
	const char *from = tail_get(t, &keep);

	if (keep > TAIL_MAX / 2) {
		from += keep - TAIL_MAX / 2;
		keep = TAIL_MAX / 2;
	}
	memmove(t->p, from, keep);
	t->len = keep;
}

void
tail_add(struct tail *t, const char *p, size_t len)
{
	if (len > TAIL_MAX / 2) {
		p += len - TAIL_MAX / 2;
		len = TAIL_MAX / 2;
	}
	if (t->len + len > TAIL_MAX)
		make_room(t);
	memcpy(t->p + t->len, p, len);
	t->len += len;
}
