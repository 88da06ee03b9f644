#ifndef MEWS_KEEP_H
#define MEWS_KEEP_H

#include <stddef.h>
#include <stdint.h>

#include "proto/launch.h"
#include "proto/machine.h"

/*
 * launchd <-> keeper (pid 1 of a VM's jail), over run/vm/<uid>/keeper.sock.
 * It outlives a build: a new suite talks to keepers that an old one started,
 * so values and layouts here never change; new ones are added under a new
 * version.  launchd takes what every version so far says, and serves such a
 * VM to its end.  It starts one only with a keeper of its own version: one
 * that still waits for its machine came from an older staged tree, and is
 * ended with that reason.  The other way round there is no promise: going
 * back to an older suite ends the VMs of the newer.
 *
 * What the spawner says to a keeper by arguments and descriptors is at the
 * end of proto/ward.h.
 */
#define KEEP_VERSION 2
/* A keeper must know all that its launchd may put into a machine. */
_Static_assert(KEEP_VERSION == MACHINE_VERSION + 1, "they grow together");

enum keep_msg {
	/* launchd -> keeper */
	KEEP_HELLO = 0x0601, /* keep_hello -> KEEP_STATE2 */
	KEEP_ATTACH = 0x0602, /* keep_attach + descriptor, before KEEP_GO2 */
	/* 0x0603 was version 1's KEEP_GO */
	KEEP_TERM = 0x0604, /* SIGTERM to the hypervisor */
	KEEP_BYE = 0x0605, /* exit statuses are safe: the keeper may end */
	KEEP_GO2 = 0x0606, /* the machine: start hypervisor (-S), then warden */
	/* keeper -> launchd */
	KEEP_STATE = 0x0681, /* keep_state: likewise, of version 1 */
	KEEP_STATE2 = 0x0682, /* keep_state2, then the machine: answer to
				 HELLO, and news */
};

struct keep_hello {
	uint32_t version; /* of launchd */
	uint32_t pad;
};

struct keep_attach {
	uint32_t role; /* enum fd_role that orchd brings, but the boot spec */
	uint32_t index; /* version 1: 0 */
};

enum keep_phase {
	KEEP_WAIT = 1, /* waits for its machine */
	KEEP_RUN = 2, /* hypervisor started */
	KEEP_ENDED = 3, /* hypervisor ended: status is final */
};

/*
 * The machine that runs follows from head_len on; in KEEP_WAIT there is
 * none.  Later versions add fields at the end of the head.
 */
struct keep_state2 {
	uint32_t version; /* KEEP_VERSION of the keeper */
	uint16_t head_len; /* bytes before the machine */
	uint16_t phase; /* enum keep_phase */
	uint32_t warden_starts; /* how often a warden was started */
	int32_t vmm_status; /* wait status, valid in KEEP_ENDED */
};
_Static_assert(sizeof(struct keep_state2) == 16, "wire layout");

/* Version 1. */
struct keep_spec {
	uint64_t vm;
	uint32_t mem_mib;
	uint16_t vcpus;
	uint8_t accel; /* enum machine_accel */
	uint8_t nics;
	uint8_t mac[6];
	uint8_t pad[2];
	uint32_t tsc_khz;
	uint32_t flags; /* KEEP_PROBE */
};
_Static_assert(sizeof(struct keep_spec) == 32, "wire layout");
#define KEEP_PROBE 1U

struct keep_state {
	uint32_t version;
	uint32_t phase;
	uint32_t warden_starts;
	int32_t vmm_status;
	struct keep_spec spec; /* as given with KEEP_GO, else zero */
};
_Static_assert(sizeof(struct keep_state) == 48, "wire layout");

int keep_hello_check(const void *p);
int keep_attach_check(const void *p);
int keep_state_check(const void *p);
int keep_state2_check(const void *p);
/*
 * The payload of a KEEP_STATE or KEEP_STATE2 that passed its check, in the
 * form of this version; *m is left alone in KEEP_WAIT.  0 or -EINVAL: a
 * machine that is none.
 */
int keep_state_get(uint32_t type, const void *buf, size_t len,
    struct keep_state2 *ret, struct machine *m);

#endif
