#ifndef MEWS_SPAWNER_VSOCK_H
#define MEWS_SPAWNER_VSOCK_H

#include <stdint.h>

#define VHOST_VSOCK "/dev/vhost-vsock"

struct spawner;

/*
 * Whether VMs get an AF_VSOCK device, told once at start; and one VM's:
 * /dev/vhost-vsock with its address set, cid_base + slot.  -EADDRINUSE when
 * somebody else has that address.
 */
void vsock_find(struct spawner *sp);
int vsock_make(const struct spawner *sp, uint16_t slot, uint32_t *cid);

/* vhost.c: what vsock.c asks of the kernel; -errno.  Apart, so that a test can
 * have its own. */
int vsock_open(void);
int vsock_set_cid(int fd, uint64_t cid);

#endif
