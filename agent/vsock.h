#ifndef MEWS_AGENT_VSOCK_H
#define MEWS_AGENT_VSOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/gate.h"
#include "agent/loop.h"

struct agent;
struct vcaller;

/*
 * The same HTTP on AF_VSOCK, where the guest has that device.  Any process
 * of the host can connect: nobody is heard who does not begin with the key
 * that came over virtio-serial, and nothing listens before it came.
 */
#define VSOCK_KEYLESS_MAX                                  \
	16 /* connected, key not yet seen; the oldest goes \
	    */

TAILQ_HEAD(vcallers, vcaller);
struct vsock {
	struct agent *a;
	bool is_there; /* the guest has the device */
	struct watch listener; /* fd -1: not yet */
	struct watch timer; /* of the keyless */
	struct vcallers keyless; /* the oldest first */
	size_t nkeyless;
	size_t nconns;
	uint8_t key[GATE_KEY];
};

/* Loads its modules if there is a device for them. */
void vsock_open(struct vsock *v, struct agent *a);
/* Listens, from now on with this key alone.  0 or -errno. */
int vsock_key(struct vsock *v, const uint8_t key[GATE_KEY]);

#endif
