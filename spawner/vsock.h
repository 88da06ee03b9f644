#ifndef MEWS_SPAWNER_VSOCK_H
#define MEWS_SPAWNER_VSOCK_H

#include <stdint.h>

#define VHOST_VSOCK "/dev/vhost-vsock"

/* vhost.c: what vsock.c asks of the kernel; -errno.  Apart, so that a test can
 * have its own. */
int vsock_open(void);
int vsock_set_cid(int fd, uint64_t cid);

#endif
