#ifndef MEWS_LAUNCHD_GUESTSOCK_H
#define MEWS_LAUNCHD_GUESTSOCK_H

#include <stdint.h>

/*
 * An AF_VSOCK socket to a guest: what dial.c asks of the kernel, apart, so
 * that a test can have its own.  Each is 0 (guestsock_open: the descriptor,
 * the caller's), or -errno.
 */
int guestsock_open(void);
/* Does not wait: writable means that it is over, SO_ERROR how. */
int guestsock_connect(int fd, uint32_t cid, uint32_t port);
/* Who answered, as the kernel has it. */
int guestsock_peer(int fd, uint32_t *cid, uint32_t *port);

#endif
