#ifndef MEWS_KEEP_H
#define MEWS_KEEP_H

#include <stdint.h>

#include "proto/launch.h"

/*
 * launchd <-> keeper (pid 1 of a VM's jail), over run/vm/<uid>/keeper.sock.
 * Versioned: a new suite talks to keepers that an old one started, so values
 * and layouts here never change; new ones are added under a new version.
 */
#define KEEP_VERSION 1

enum keep_msg {
	/* launchd -> keeper */
	KEEP_HELLO = 0x0601, /* keep_hello -> KEEP_STATE */
	KEEP_ATTACH = 0x0602, /* keep_attach + descriptor, before KEEP_GO */
	KEEP_GO = 0x0603, /* keep_spec: start warden, then hypervisor (-S) */
	KEEP_TERM = 0x0604, /* SIGTERM to the hypervisor */
	KEEP_BYE = 0x0605, /* exit statuses are safe: the keeper may end */
	/* keeper -> launchd */
	KEEP_STATE = 0x0681, /* keep_state: answer to HELLO, and news */
};

struct keep_hello {
	uint32_t version;
	uint32_t pad;
};

struct keep_attach {
	uint32_t kind; /* enum launch_attach_kind: TAP or ARGS */
	uint32_t pad;
};

/* All the hypervisor's argv is composed from, inside the jail. */
struct keep_spec {
	uint64_t vm;
	uint32_t mem_mib;
	uint16_t vcpus;
	uint8_t accel; /* enum machine_accel */
	uint8_t nics;
	uint8_t mac[6];
	uint8_t pad[2];
	uint32_t tsc_khz; /* tsc_early_khz for emulation; 0: none */
	uint32_t flags; /* KEEP_* below */
};
_Static_assert(sizeof(struct keep_spec) == 32, "wire layout");
#define KEEP_PROBE 1U /* throwaway VM of the accelerator probe */

enum keep_phase {
	KEEP_WAIT = 1, /* waits for KEEP_GO */
	KEEP_RUN = 2, /* hypervisor started */
	KEEP_ENDED = 3, /* hypervisor ended: status is final */
};

struct keep_state {
	uint32_t version; /* KEEP_VERSION of the keeper */
	uint32_t phase; /* enum keep_phase */
	uint32_t warden_starts; /* how often a warden was started */
	int32_t vmm_status; /* wait status, valid in KEEP_ENDED */
	struct keep_spec spec; /* as given with KEEP_GO, else zero */
};

int keep_hello_check(const void *p);
int keep_attach_check(const void *p);
int keep_spec_check(const void *p);
int keep_state_check(const void *p);

#endif
