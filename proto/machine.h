#ifndef MEWS_MACHINE_H
#define MEWS_MACHINE_H

#include <stddef.h>
#include <stdint.h>

/*
 * What a VM is, in numbers.  One description that a request becomes and that
 * goes down unchanged: orchd (LAUNCH_START), launchd, spawner
 * (SPAWN_PREPARE), keeper (KEEP_GO), and the composer in the jail.  Free text
 * and secrets are not in it: they travel as sealed memfds, opaque to all that
 * pass them on (I3).  Nor are descriptors: they travel by role and index.
 *
 * It outlives a build, with the keeper that holds it: fields are only added,
 * at the end of the head or as new kinds of devices, and then the version
 * grows.  A reader takes a description of its own version or an older one.
 */
#define MACHINE_VERSION 1
#define MACHINE_DEVS_MAX 64
#define MACHINE_VCPUS_MAX 64
#define MACHINE_MEM_MIN_MIB 64
#define MACHINE_MEM_MAX_MIB 1048576

enum machine_backend { /* values never change meaning */
	BACKEND_QEMU = 1,
};

enum machine_accel {
	ACCEL_UNKNOWN = 0,
	ACCEL_TCG = 1,
	ACCEL_KVM = 2,
};

enum dev_kind { /* values never change meaning */
	DEV_NIC = 1, /* num[0]: MAC, 48 bits, first byte highest */
	DEV_VSOCK = 2, /* num[0]: the guest's address (CID), set by the
			  spawner; 0 before */
	DEV_KINDS /* one more than the last */
};

/* What a descriptor is for.  Values never change meaning. */
enum fd_role {
	FDR_TAP = 1, /* of DEV_NIC index: from netd, /dev/net/tun */
	FDR_SPEC = 2, /* sealed memfd: boot spec */
	FDR_ARGS = 3, /* sealed memfd: extra kernel arguments */
	FDR_VSOCK = 4, /* /dev/vhost-vsock with the address set; from the
			  spawner, never from orchd */
	FDR_QMP = 5, /* the jail's own listeners, from the keeper */
	FDR_SERIAL = 6,
	FDR_AGENT = 7,
	FDR_ROLES
};

struct machine_dev {
	uint16_t kind; /* enum dev_kind */
	uint16_t index; /* among its kind: 0, 1, ... in order, no gaps */
	uint32_t flags; /* none yet: must be 0 */
	uint64_t num[2]; /* by kind; what a kind does not use is 0 */
};
_Static_assert(sizeof(struct machine_dev) == 24, "wire layout");

#define MACHINE_PROBE 1U /* throwaway VM of the accelerator probe */
#define MACHINE_FLAGS MACHINE_PROBE

struct machine {
	uint16_t version; /* MACHINE_VERSION of who wrote it */
	uint16_t backend; /* enum machine_backend */
	uint16_t accel; /* enum machine_accel; orchd leaves it UNKNOWN,
			   launchd decides */
	uint16_t ndevs;
	uint16_t vcpus; /* at boot */
	uint16_t vcpus_max; /* after hot-plug; >= vcpus */
	uint32_t flags; /* MACHINE_* above */
	uint32_t mem_mib; /* at boot */
	uint32_t mem_max_mib; /* after hot-plug; >= mem_mib */
	uint32_t tsc_khz; /* tsc_early_khz for emulation; 0: none */
	uint32_t pad;
	struct machine_dev dev[MACHINE_DEVS_MAX]; /* ndevs of them travel */
};
_Static_assert(sizeof(struct machine) == 32 + MACHINE_DEVS_MAX * 24, "wire");

/* Bytes of m that travel: the head and its ndevs devices. */
size_t machine_len(const struct machine *m);
/*
 * A description out of len bytes of a peer or a file, checked as a whole:
 * version, bounds, devices in order, known kinds and flags, what is not used
 * zero.  0 with all of *ret set, or -EINVAL.
 */
int machine_get(const void *buf, size_t len, struct machine *ret);
/* The same checks on one that was filled here. */
int machine_check(const struct machine *m);

/* The device of that kind and index, or NULL. */
const struct machine_dev *machine_dev(
    const struct machine *m, enum dev_kind kind, unsigned int index);
unsigned int machine_count(const struct machine *m, enum dev_kind kind);
/* Appends one with the next index of its kind.  -E2BIG: there are
 * MACHINE_DEVS_MAX, or as many as its kind may have. */
int machine_add(struct machine *m, enum dev_kind kind, uint64_t num0);

uint64_t machine_mac(const uint8_t mac[6]);
void machine_mac_bytes(uint64_t num, uint8_t ret[6]);

/*
 * What a kind of device needs, a row each: all that is particular to a kind
 * outside of the program that makes it (a warden's backend) and of the guest.
 */
struct dev_row {
	const char *name; /* for people: "nic" */
	unsigned int max; /* of one VM */
	uint16_t fd; /* enum fd_role of the descriptor each one needs; 0 none */
	uint32_t backends; /* bit per enum machine_backend that can do it */
	uint32_t overhead_mib; /* of each, in the hypervisor, for limits */
	uint32_t locked_mib; /* likewise: memory that must be lockable */
};
/* NULL: no such kind. */
const struct dev_row *dev_row(unsigned int kind);

#endif
