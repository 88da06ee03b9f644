#ifndef MEWS_DUCT_H
#define MEWS_DUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockq;
struct ystream;

/*
 * What dial(port) gives: a stream between a warden and its agent, whatever
 * carries it.  A value, owned by one; none is { NULL, NULL }.  The functions
 * are those of common/yamux.h under another name.
 */
struct duct {
	struct ystream *ys; /* of the session on virtio-serial, or */
	struct sockq *sq; /* a socket of its own: AF_VSOCK */
};

bool duct_is_open(const struct duct *d);
void duct_set_arg(const struct duct *d, void *arg);
size_t duct_room(const struct duct *d);
size_t duct_write(const struct duct *d, const void *buf, size_t len);
void duct_want_write(const struct duct *d);
void duct_fin(const struct duct *d);
size_t duct_peek(const struct duct *d, const uint8_t **p);
void duct_consume(const struct duct *d, size_t n);
bool duct_is_eof(const struct duct *d);
/* Gives it up, if there is one. */
void duct_close(struct duct *d);

#endif
