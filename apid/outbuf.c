#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "apid/outbuf.h"

#define OUTBUF_MIN 1024
#define OUTBUF_STEP (64UL * 1024) /* what is larger grows by that */

size_t
outbuf_left(const struct outbuf *o)
{
	return o->len - o->off;
}

void
outbuf_clear(struct outbuf *o)
{
	if (o->p != NULL)
		explicit_bzero(o->p, o->len);
	free(o->p);
	*o = (struct outbuf){ NULL, 0, 0, 0 };
}

/* A new block: realloc would leave the old bytes behind. */
static int
grow(struct outbuf *o, size_t need)
{
	size_t left = outbuf_left(o), cap = OUTBUF_MIN;
	uint8_t *p;

	if (need > OUTBUF_MAX)
		return -ENOMEM;
	while (cap < need)
		cap += cap < OUTBUF_STEP ? cap : OUTBUF_STEP;
	if ((p = malloc(cap)) == NULL)
		return -ENOMEM;
	if (left > 0)
		memcpy(p, o->p + o->off, left);
	outbuf_clear(o);
	*o = (struct outbuf){ p, 0, left, cap };
	return 0;
}

int
outbuf_add(struct outbuf *o, const void *p, size_t n)
{
	if (n > OUTBUF_MAX)
		return -ENOMEM;
	if (n > o->cap - o->len && grow(o, outbuf_left(o) + n) < 0)
		return -ENOMEM;
	if (n > 0)
		memcpy(o->p + o->len, p, n);
	o->len += n;
	return 0;
}

int
outbuf_send(struct outbuf *o, int fd)
{
	ssize_t n;

	while (o->off < o->len) {
		n = send(fd, o->p + o->off, o->len - o->off,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		o->off += (size_t)n;
	}
	outbuf_clear(o); /* an idle connection holds no memory */
	return 0;
}
