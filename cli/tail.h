#ifndef MEWS_CLI_TAIL_H
#define MEWS_CLI_TAIL_H

#include <stddef.h>
#include <stdint.h>

/*
 * The last lines of a text that comes in parts; what follows the last line
 * feed is a line, too.  At most TAIL_MAX bytes are kept, whatever the number.
 */
#define TAIL_MAX ((size_t)8 << 20)

struct tail {
	uint32_t lines;
	char *p;
	size_t len;
};

int tail_init(struct tail *t, uint32_t lines); /* 0 or -ENOMEM */
void tail_free(struct tail *t);
void tail_add(struct tail *t, const char *p, size_t len);
/* Where its last lines begin, and how many bytes they have. */
const char *tail_get(const struct tail *t, size_t *len);

#endif
