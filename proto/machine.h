#ifndef MEWS_MACHINE_H
#define MEWS_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a VM is, in numbers.  One description that a request becomes and that
 * goes down: orchd (LAUNCH_START), launchd, keeper (KEEP_GO2), and the
 * composer in the jail.  Free text and secrets are not in it: they travel as
 * sealed memfds, opaque to all that pass them on (I3).  Nor are descriptors:
 * they travel by role and index.
 *
 * It outlives a build, with the keeper that holds it, so it is versioned and
 * says how long its head is: fields are only added, at the end of the head
 * and so that 0 means what was before, or as new kinds of devices, and then
 * the version grows.  A reader takes its own version or an older one.
 */
struct err;

#define MACHINE_VERSION 1
#define MACHINE_DEVS_MAX 64
/* Descriptors of one VM: each device has at most one, the rest is its own
 * (enum fd_role). */
#define MACHINE_FDS_MAX 72
#define MACHINE_VCPUS_MAX 64
#define MACHINE_MEM_MIN_MIB 64 /* of a machine, whatever it boots */
/* Of a guest with Debian's kernel and our initramfs: less and it dies at boot,
 * or its agent refuses to begin (agent/limits.c).  Tried with 1 to 16
 * processors, each of which the kernel keeps data for. */
#define GUEST_MEM_MIN_MIB(vcpus) (90U + (vcpus) / 2)
#define MACHINE_MEM_MAX_MIB 1048576

enum machine_backend { /* values never change meaning */
	BACKEND_QEMU = 1,
	/* QEMU as Debian builds it for its machine microvm and for KVM alone:
	 * with less of everything.  It has no device that tells of a panic */
	BACKEND_QEMU_MICROVM = 2,
	BACKENDS /* one more than the last */
};

enum machine_accel {
	ACCEL_UNKNOWN = 0,
	ACCEL_TCG = 1,
	ACCEL_KVM = 2,
};

enum dev_kind { /* values never change meaning */
	DEV_NIC = 1, /* num[0]: MAC, 48 bits, first byte highest */
	DEV_VSOCK = 2, /* num[0]: the guest's address (CID); added by the
			  keeper, as the spawner says */
	DEV_KINDS /* one more than the last */
};

/* What a descriptor is for.  Values never change meaning. */
enum fd_role {
	FDR_TAP = 1, /* of DEV_NIC index: /dev/net/tun, from netd */
	FDR_SPEC = 2, /* sealed memfd: boot spec; for the warden */
	FDR_ARGS = 3, /* sealed memfd: extra kernel arguments */
	FDR_VSOCK = 4, /* /dev/vhost-vsock with the address set */
	FDR_QMP = 5, /* listeners of the jail's own network namespace */
	FDR_SERIAL = 6,
	FDR_AGENT = 7,
	FDR_WATCH = 8, /* where refused calls are named (SECCOMP_DEBUG) */
	FD_ROLES
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
	uint16_t head_len; /* bytes before the first device */
	uint16_t backend; /* enum machine_backend; orchd says BACKEND_QEMU,
			     launchd decides */
	uint16_t accel; /* enum machine_accel; orchd leaves it UNKNOWN,
			   launchd decides */
	uint16_t ndevs;
	uint16_t vcpus; /* at boot */
	uint16_t vcpus_max; /* after hot-plug; >= vcpus */
	uint16_t pad;
	uint32_t flags; /* MACHINE_* above */
	uint32_t mem_mib; /* at boot */
	uint32_t mem_max_mib; /* after hot-plug; >= mem_mib */
	uint32_t tsc_khz; /* tsc_early_khz for emulation; 0: none */
	struct machine_dev dev[MACHINE_DEVS_MAX]; /* ndevs of them travel */
};
_Static_assert(sizeof(struct machine) == 32 + MACHINE_DEVS_MAX * 24, "wire");

/*
 * What a VM may add to its kernel's arguments: with ours (MACHINE_ARGS_OURS at
 * most) and a space it is what x86 kernels take, COMMAND_LINE_SIZE in
 * arch/x86/include/asm/setup.h without the NUL.  Printable ASCII.
 */
#define MACHINE_CMDLINE_MAX 2047
#define MACHINE_ARGS_OURS 126
#define MACHINE_ARGS_MAX (MACHINE_CMDLINE_MAX - MACHINE_ARGS_OURS - 1)
/* 0, -E2BIG or -EINVAL, with words in e. */
int machine_args_check(const char *s, size_t len, struct err *e);

/* Of BACKEND_QEMU, which can do all, with no device; its accelerator is
 * UNKNOWN. */
struct machine machine_new(uint16_t vcpus, uint32_t mem_mib);
/* Bytes of m that travel: the head and its ndevs devices. */
size_t machine_len(const struct machine *m);
/*
 * A description out of len bytes of a peer or a file, checked as a whole:
 * version, bounds, devices in order, known kinds and flags, what is not used
 * zero.  0 with all of *ret set, in the form of this version; or -EINVAL.
 */
int machine_get(const void *buf, size_t len, struct machine *ret);
/* The same checks on one that was filled here. */
int machine_check(const struct machine *m);

/* The device of that kind and index, or NULL. */
const struct machine_dev *machine_dev(
    const struct machine *m, unsigned int kind, unsigned int index);
/*
 * Appends one with the next index of its kind.  -E2BIG: there are
 * MACHINE_DEVS_MAX, or as many as its kind may have.
 */
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
	/* what each one may take of the hypervisor's limits */
	uint32_t data_mib;
	uint32_t locked_mib; /* memory that must be lockable */
	uint32_t threads;
	uint32_t fds;
	/* what the guest's kernel loads for it; mk/initramfs packs it with what
	 * it needs.  NULL: nothing. */
	const char *modules;
};
/* NULL: no such kind. */
const struct dev_row *dev_row(unsigned int kind);

/* A hypervisor: a program of the staged tree (mk/stage), which may lack all but
 * the first. */
#define STAGE_VMM "/usr/bin/qemu-system-x86_64"
#define STAGE_VMM_MICROVM "/usr/bin/qemu-system-x86_64-microvm"
struct backend_row {
	const char *name; /* for people: "qemu" */
	const char *path;
	bool kvm_only;
};
/* NULL: no such backend. */
const struct backend_row *backend_row(unsigned int backend);
/* Whether it could make that machine: its accelerator and all its devices. */
bool backend_can(unsigned int backend, const struct machine *m);

/* What a hypervisor needs of its limits: its own, each vCPU's, each
 * device's. */
struct machine_limits {
	uint64_t data_mib; /* guest memory, stacks, devices */
	uint64_t locked_mib;
	uint64_t file_mib; /* of each file it writes: it has none yet */
	/* where a cgroup counts, of all of the jail: */
	uint64_t group_mib;
	uint32_t group_pids; /* threads */
	uint32_t threads; /* of its uid: keeper and warden count */
	uint32_t fds;
};
struct machine_limits machine_limits(const struct machine *m);

/* Who brings a descriptor. */
enum fd_from { FD_NOBODY, FD_ORCHD, FD_SPAWNER, FD_KEEPER };
/* FD_NOBODY: no such role. */
enum fd_from fd_role_from(unsigned int role);
const char *fd_role_name(unsigned int role);
/* How many of a role a VM can have; 0: no such role. */
unsigned int fd_role_max(unsigned int role);

/* Descriptors by role and index: a keeper's and launchd's list, and how a
 * list travels. */
struct machine_fd {
	uint16_t role; /* enum fd_role */
	uint16_t index; /* of the device that needs it; else 0 */
};
struct machine_fds {
	unsigned int n;
	struct machine_fd id[MACHINE_FDS_MAX];
	int fd[MACHINE_FDS_MAX]; /* owned */
};
/*
 * Takes fd over, in the place of an older one of the same name.  -EINVAL: no
 * such role or index, and fd stays the caller's.
 */
int machine_fds_put(
    struct machine_fds *t, unsigned int role, unsigned int index, int fd);
/* Still the list's; -1: none. */
int machine_fds_get(
    const struct machine_fds *t, unsigned int role, unsigned int index);
/* Closes all. */
void machine_fds_clear(struct machine_fds *t);
/* The first device of m whose descriptor is not in the list, or NULL. */
const struct machine_dev *machine_lacks(
    const struct machine *m, const struct machine_fds *t);

#endif
