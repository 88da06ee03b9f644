#ifndef MEWS_SOCKQ_H
#define MEWS_SOCKQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A connected, non-blocking stream socket that behaves as a stream of yamux
 * does (common/yamux.h): bounded buffers both ways, short writes, the same
 * events.  No loop: whoever has one asks sockq_wants() and calls sockq_io().
 */
#define SOCKQ_IN 32768
#define SOCKQ_OUT 32768

struct sockq;
struct sockq_ops {
	/* YS_* as for a stream of yamux; it may free q. */
	void (*event)(void *arg, unsigned int ev);
	/* What it wants may have changed. */
	void (*arm)(struct sockq *q);
	/* Its owner lets go: unhooks it and calls sockq_clear, or sends what
	 * waits first if q->fin. */
	void (*release)(struct sockq *q);
};

struct sockq {
	const struct sockq_ops *ops;
	void *arg; /* event's */
	int fd;
	bool eof_is_gone; /* the peer never ends one half only */
	bool eof, gone, want_write;
	bool broken; /* what is written is lost; reading finds the end */
	bool fin, fin_sent; /* nothing more will be written */
	size_t in_off, in_len, out_off, out_len;
	uint8_t *in, *out;
};

/* fd is q's from now on, if 0 is returned.  0 or -ENOMEM. */
int sockq_init(struct sockq *q, int fd, const struct sockq_ops *ops);
/* Closes and frees what it holds, secrets wiped. */
void sockq_clear(struct sockq *q);

#define SOCKQ_RD 1U
#define SOCKQ_WR 2U
/* What to wait for. */
unsigned int sockq_wants(const struct sockq *q);
/* It can be read, or written, or both (SOCKQ_*): the events that makes. */
unsigned int sockq_io(struct sockq *q, unsigned int can);
/* The peer is gone whatever else waits. */
unsigned int sockq_hup(struct sockq *q);

/* As the functions of the same names in common/yamux.h. */
size_t sockq_room(const struct sockq *q);
size_t sockq_write(struct sockq *q, const void *buf, size_t len);
void sockq_want_write(struct sockq *q);
void sockq_fin(struct sockq *q);
size_t sockq_peek(const struct sockq *q, const uint8_t **p);
void sockq_consume(struct sockq *q, size_t n);
bool sockq_is_eof(const struct sockq *q);

#endif
