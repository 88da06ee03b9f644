#ifndef MEWS_SPAWNER_VHOST_H
#define MEWS_SPAWNER_VHOST_H

#include <stdint.h>

#define VHOST_VSOCK "/dev/vhost-vsock"

/* What vsock.c asks of the kernel; -errno.  Apart, so that a test can have its
 * own. */
int vhost_open(void);
int vhost_set_cid(int fd, uint64_t cid);

#endif
