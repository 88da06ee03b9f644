#ifndef MEWS_SPAWNER_VSOCK_H
#define MEWS_SPAWNER_VSOCK_H

#include <stdint.h>

struct spawner;

/*
 * Whether VMs get an AF_VSOCK device, told once at start; and one VM's:
 * /dev/vhost-vsock with its address set, cid_base + slot.  -EADDRINUSE when
 * somebody else has that address.
 */
void vsock_find(struct spawner *sp);
int vsock_make(const struct spawner *sp, uint16_t slot, uint32_t *cid);

#endif
