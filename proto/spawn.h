#ifndef MEWS_SPAWN_H
#define MEWS_SPAWN_H

#include <stdint.h>

#include "proto/jail.h"
#include "proto/launch.h"
#include "proto/machine.h"

/*
 * launchd <-> spawner, which is root for it.  Verbs by jail; the
 * spawner answers from its own root-owned records and believes nothing else.
 * It never touches a byte, a descriptor or a directory of a VM (I12).
 */
enum spawn_msg {
	/* launchd -> spawner; each gets one answer */
	SPAWN_PREPARE = 0x0501, /* spawn_prepare + machine -> SPAWN_PREPARED */
	SPAWN_VERIFY = 0x0502, /* spawn_verify -> SPAWN_VERIFIED */
	SPAWN_KILL = 0x0503, /* spawn_jail: SIGKILL to its cgroup and to pid 1
				of its namespace */
	SPAWN_RELEASE = 0x0504, /* spawn_jail: -EBUSY while it lives */
	SPAWN_LIST = 0x0505, /* -> SPAWN_HELD..., SPAWN_LIST_END */
	SPAWN_ACCEL = 0x0506, /* spawn_accel: remember the probe's verdict */
	SPAWN_COUNT = 0x0507, /* spawn_jail -> SPAWN_COUNTED, whatever it is */
	/* spawner -> launchd */
	SPAWN_PREPARED = 0x0581, /* spawn_held + pidfd of its pid 1 */
	SPAWN_VERIFIED = 0x0582, /* spawn_verified */
	SPAWN_DONE = 0x0583, /* spawn_jail */
	SPAWN_HELD = 0x0584, /* spawn_held + pidfd when alive */
	SPAWN_LIST_END = 0x0585, /* launch_count */
	SPAWN_ERR = 0x0586, /* launch_err */
	SPAWN_CAPS = 0x0587, /* launch_caps, once at start */
	SPAWN_COUNTED = 0x0588, /* spawn_counted */
};

struct spawn_jail {
	struct jail_id jail;
};

/*
 * Followed by the struct machine (machine_len bytes) that the jail is for, its
 * accelerator decided: limits, a /dev/kvm and the probe's reserved last slot
 * (MACHINE_PROBE) come from that, within the host's policy, and are the
 * spawner's to decide.
 */
struct spawn_prepare {
	struct jail_id jail;
	uint16_t slot; /* place in the jail's planes of uids (proto/uids.h) */
	uint16_t pad[3];
};
_Static_assert(sizeof(struct spawn_prepare) == 24, "wire layout");

/* Kept by boot id and staged tree, so a new suite need not probe again. */
struct spawn_accel {
	uint32_t accel; /* enum machine_accel: TCG or KVM */
	uint32_t pad;
};

/*
 * Which programs must be there: pid 1 and these.  Of the others those that come
 * and go (jail_prog.restarts) may be, the rest must not.
 */
struct spawn_verify {
	struct jail_id jail;
	uint32_t what; /* JAIL_ROLE_BIT()s; at least one */
	uint32_t pad;
};

struct spawn_held {
	struct jail_id jail;
	uint32_t pid; /* its pid 1, host's pid namespace; 0: dead */
	uint32_t uid; /* 0: a directory without a record */
	uint16_t slot;
	uint8_t alive;
	uint8_t pad;
	uint32_t cid; /* its AF_VSOCK address; 0: it has none */
};

struct spawn_verified {
	struct jail_id jail;
	uint32_t vmm_pid; /* 0: not there */
	uint32_t warden_pid;
	struct launch_confined confined;
};

/* What the kernel counted in its cgroup; zeros for a VM without one. */
struct spawn_counted {
	struct jail_id jail;
	uint32_t oom_kills; /* of its processes, for want of memory */
	uint32_t pad;
};

int spawn_jail_check(const void *p);
int spawn_prepare_check(const void *p);
int spawn_accel_check(const void *p);
int spawn_verify_check(const void *p);
int spawn_held_check(const void *p);
int spawn_verified_check(const void *p);
int spawn_counted_check(const void *p);

#endif
