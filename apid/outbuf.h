#ifndef MEWS_APID_OUTBUF_H
#define MEWS_APID_OUTBUF_H

#include <stddef.h>
#include <stdint.h>

/*
 * Bytes on their way out of a socket.  Wiped when they move and when they
 * go: requests and answers may carry secrets.  It grows by what waits, and its
 * memory goes when all is sent; whoever adds looks at outbuf_left() first.
 */
#define OUTBUF_MAX (24UL * 1024 * 1024) /* the longest answer and its head */

struct outbuf {
	uint8_t *p;
	size_t off; /* sent so far */
	size_t len; /* end of what is to be sent */
	size_t cap;
};

/* 0, or -ENOMEM (also past OUTBUF_MAX): nothing was added. */
int outbuf_add(struct outbuf *o, const void *p, size_t n);
/* What the socket takes.  0: all is sent; -EAGAIN; or it is broken. */
int outbuf_send(struct outbuf *o, int fd);
size_t outbuf_left(const struct outbuf *o);
void outbuf_clear(struct outbuf *o);

#endif
