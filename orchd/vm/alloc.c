#include <arpa/inet.h>
#include <errno.h>
#include <sha1.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/vm/alloc.h"
#include "orchd/vm/vm.h"

#define MAC_SPARE 64 /* addresses beyond max_vms, for MACs that clash */

/* Lowest number in [from, n) that no VM has; VMs are few, so a table will do.
 */
static int
lowest_free(const struct orchd *o, uint32_t from, uint32_t n,
    uint32_t (*taken)(const struct orchd *, const struct vm *, bool held),
    uint32_t *ret)
{
	const struct vm *vm;
	uint8_t *used = calloc(n, 1);
	uint32_t i;
	int k;

	if (used == NULL)
		return -ENOMEM;
	TAILQ_FOREACH (vm, &o->vms.list, entry) {
		for (k = 0; k < 2; k++) {
			i = taken(o, vm, k != 0);
			if (i < n)
				used[i] = 1;
		}
	}
	for (i = from; i < n && used[i]; i++)
		;
	free(used);
	if (i >= n)
		return -ENOSPC;
	*ret = i;
	return 0;
}

/* A broken one has the slot of its row, and that where helpers hold it. */
static uint32_t
slot_of(const struct orchd *o, const struct vm *vm, bool held)
{
	(void)o;
	return held ? vm_slot(vm) : vm->row.slot;
}

int
alloc_slot(const struct orchd *o, uint32_t *ret)
{
	return lowest_free(o, 0, o->conf.max_vms, slot_of, ret);
}

/* Host addresses after the gateway, which is the first. */
static uint32_t
address_of(const struct orchd *o, const struct vm *vm, bool held)
{
	(void)held;
	return vm->row.ipv4 - o->conf.gateway - 1;
}

/*
 * As Volant does it, so that a guest moved over keeps its address: 02, then
 * the first five bytes of SHA-1(name "|" address).
 */
static void
mac_of(const char *name, uint32_t ipv4, uint8_t mac[6])
{
	const struct in_addr in = { .s_addr = htonl(ipv4) };
	char text[INET_ADDRSTRLEN], buf[STORE_NAME_MAX + sizeof(text) + 2];
	uint8_t digest[SHA1_DIGEST_LENGTH];
	SHA1_CTX ctx;
	int n;

	(void)inet_ntop(AF_INET, &in, text, sizeof(text));
	n = snprintf(buf, sizeof(buf), "%s|%s", name, text);
	SHA1Init(&ctx);
	SHA1Update(&ctx, (const uint8_t *)buf, (size_t)n);
	SHA1Final(digest, &ctx);
	mac[0] = 0x02;
	memcpy(mac + 1, digest, 5);
}

static bool
has_mac(const struct orchd *o, const uint8_t mac[6])
{
	const struct vm *vm;

	TAILQ_FOREACH (vm, &o->vms.list, entry) {
		if (memcmp(vm->row.mac, mac, 6) == 0)
			return true;
	}
	return false;
}

int
alloc_address(
    const struct orchd *o, const char *name, uint32_t *ipv4, uint8_t mac[6])
{
	uint32_t last = o->conf.subnet | (~0U >> o->conf.prefix), n, i = 0;
	int r;

	if (o->conf.gateway + 1 >= last)
		return -ENOSPC;
	n = last - o->conf.gateway - 1; /* without the broadcast address */
	if (n > o->conf.max_vms + MAC_SPARE)
		n = o->conf.max_vms + MAC_SPARE;
	while ((r = lowest_free(o, i, n, address_of, &i)) == 0) {
		*ipv4 = o->conf.gateway + 1 + i++;
		mac_of(name, *ipv4, mac);
		/* 40 bits of a hash: names can be found that clash */
		if (!has_mac(o, mac))
			return 0;
	}
	return r;
}

uint64_t
alloc_vmid(struct orchd *o)
{
	uint64_t vmid = 0;

	do {
		if (getrandom(&vmid, sizeof(vmid), 0) != sizeof(vmid))
			fatal("getrandom: %m");
	} while (vmid == 0 || vm_by_vmid(o, vmid) != NULL);
	return vmid;
}

static bool
is_nowhere(const struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->nparts; i++) {
		if (vm->part[i].state != PART_NONE || part_busy(&vm->part[i]))
			return false;
	}
	return vm->row.state == VM_PENDING || vm->row.state == VM_STARTING;
}

/* It stays where it is if there is no other place: its start says why. */
static void
move(struct vm *vm)
{
	struct orchd *o = vm->obj.orchd;
	uint8_t mac[6] = { 0 };
	uint32_t slot = 0, ipv4 = 0;

	if (alloc_slot(o, &slot) < 0 ||
	    alloc_address(o, vm->row.name, &ipv4, mac) < 0)
		return;
	log_info("vm %s: slot %u and its address are an orphan's: it has slot "
		 "%u",
	    vm->row.name, vm->row.slot, slot);
	vm->row.slot = slot;
	vm->row.ipv4 = ipv4;
	memcpy(vm->row.mac, mac, sizeof(mac));
	write_anew(&vm->obj);
}

void
alloc_make_way(struct orchd *o)
{
	struct vm *vm;

	TAILQ_FOREACH (vm, &o->vms.list, entry) {
		if (is_nowhere(vm) && orphan_in_way(vm) != NULL)
			move(vm);
	}
}
