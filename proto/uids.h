#ifndef MEWS_UIDS_H
#define MEWS_UIDS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Who runs as which of the suite's own uids: mews.conf's uid_base and
 * uid_count, cut into equal planes.  A VM has the same place, its slot, in
 * each of its planes; one plane is one kind of jail's (proto/jail_rows.c), so
 * what must not touch each other within a VM has uids of its own.  Nothing here
 * is stored: a record keeps the uid that was given.
 */
enum uids_plane {
	UIDS_VM = 0, /* VMs: 0 to 7, of which 0 is keeper, warden, hypervisor */
	UIDS_NET = 8, /* jails of networks: 8 to 11 */
	UIDS_ONESHOT = 12, /* one-shot rooms; 13 to 15 are nobody's yet */
	UIDS_PLANES = 16
};
#define UIDS_VM_ROLES 8
#define UIDS_NET_PLANES 4
#define UIDS_ONESHOTS_MAX 32 /* of its plane, the first */
#define UIDS_MIN 1000U /* below it live the distribution's own users */
#define UIDS_END 0xfffffff0U /* past it are the kernel's odd values */
/* A slot is 16 bits, and a VM and the accelerator's probe need one each. */
#define UIDS_COUNT_MIN 32U
#define UIDS_COUNT_MAX 1048560U
_Static_assert(UIDS_COUNT_MIN == 2U * UIDS_PLANES, "two slots");
_Static_assert(UIDS_COUNT_MAX == UINT16_MAX * 1U * UIDS_PLANES, "16 bits");

struct uids {
	uint32_t base;
	uint32_t count; /* what is left over of sixteen equal parts is unused */
};

/* 0, or -ERANGE: no such range can be used. */
int uids_check(const struct uids *u);
/*
 * How many places each plane has.  The last one of a VM's is the probe's, so
 * uids_slots() - 1 is how many VMs there may be.
 */
uint32_t uids_slots(const struct uids *u);
/* Whether a uid is in the range, whoever's it is. */
bool uids_has(const struct uids *u, uint32_t uid);
/*
 * The uid at a place of a plane, which for a VM is its role and slot.
 * -ERANGE: there is no such plane or place.
 */
int uids_at(
    const struct uids *u, uint32_t plane, uint32_t place, uint32_t *ret);
/* How many one-shot rooms there may be at once: uids_at()'s places. */
uint32_t uids_oneshots(const struct uids *u);

#endif
