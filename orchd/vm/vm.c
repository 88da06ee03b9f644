#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/num.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/vm/vm.h"

static int
cmp_vmid(const struct vm *a, const struct vm *b)
{
	return a->row.vmid < b->row.vmid ? -1 : a->row.vmid > b->row.vmid;
}

static int
cmp_name(const struct vm *a, const struct vm *b)
{
	if (a->row.tenant != b->row.tenant)
		return a->row.tenant < b->row.tenant ? -1 : 1;
	return strcmp(a->row.name, b->row.name);
}

RB_GENERATE_STATIC(vm_id_tree, vm, by_vmid, cmp_vmid)
RB_GENERATE_STATIC(vm_name_tree, vm, by_name, cmp_name)

struct vm *
vm_new(struct orchd *o, const struct object_kind *kind,
    const struct part_kind *const *parts, unsigned int nparts)
{
	struct vm *vm = calloc(1, sizeof(*vm) + nparts * sizeof(vm->part[0]));
	unsigned int i, j, index;

	if (vm == NULL)
		return NULL;
	object_init(&vm->obj, kind, o);
	share_init(&vm->streams, VM_STREAMS_MAX, o->listed);
	share_init(&vm->signals, VM_SIGNALS_MAX, o->listed);
	queue_init(&vm->queue, o->listed);
	bucket_init(&vm->renames, RENAMES_PER_S, RENAMES_BURST, clock_ms());
	vm->nparts = nparts;
	for (i = 0; i < nparts; i++) {
		for (index = 0, j = 0; j < i; j++)
			index += parts[j] == parts[i];
		part_init(&vm->part[i], parts[i], vm, index);
	}
	return vm;
}

const struct part *
vm_life_const(const struct vm *vm)
{
	unsigned int i;

	for (i = 0; i + 1 < vm->nparts && !vm->part[i].kind->is_life; i++)
		;
	return &vm->part[i];
}

struct part *
vm_life(struct vm *vm)
{
	return &vm->part[vm_life_const(vm) - vm->part];
}

struct share *
vm_share(struct vm *vm, uint32_t kind)
{
	return kind == STREAM_SIGNAL ? &vm->signals : &vm->streams;
}

bool
vm_is_held_by(uint32_t kind)
{
	return kind != STREAM_SIGNAL && !launch_is_log(kind);
}

void
vm_stream_end(struct vm *vm, struct share_who who, uint32_t kind)
{
	if (vm == NULL)
		return;
	share_give(vm_share(vm, kind), who, 1);
	if (!queue_is_empty(&vm->queue))
		object_wake(&vm->obj);
	temporary_let_go(vm, vm_is_held_by(kind));
}

void
vm_queue_drop(struct vm *vm, uint64_t conn)
{
	if (vm != NULL)
		queue_drop(&vm->queue, conn);
}

void
vm_has_row(struct vm *vm)
{
	if (vm->orphan.is)
		vm->obj.orchd->vms.norphans--;
	vm->orphan.is = false;
	if (vm->orphan.timer != NULL)
		event_free(vm->orphan.timer);
	vm->orphan.timer = NULL;
}

void
vm_free(struct vm *vm)
{
	struct vms *all;
	unsigned int i;

	if (vm == NULL)
		return;
	all = &vm->obj.orchd->vms;
	vm_rename_end(vm, false);
	if (RB_FIND(vm_id_tree, &all->by_vmid, vm) == vm) {
		vm_leave(vm);
		if (vm->obj.tenant->want.deleting) /* it waits for that */
			object_wake(&vm->obj.tenant->obj);
	}
	for (i = 0; i < vm->nparts; i++)
		part_clear(&vm->part[i]);
	seat_leave(&vm->seat);
	if (vm->deadline != NULL)
		event_free(vm->deadline);
	wait_clear(&vm->obj);
	write_clear(&vm->obj);
	queue_clear(&vm->queue);
	share_clear(&vm->streams);
	share_clear(&vm->signals);
	temporary_clear(vm);
	vm_has_row(vm);
	object_clear(&vm->obj);
	table_clear(&vm_create_table, &vm->request);
	free(vm);
}

void
vm_leave(struct vm *vm)
{
	struct vms *all = &vm->obj.orchd->vms;

	(void)RB_REMOVE(vm_id_tree, &all->by_vmid, vm);
	(void)RB_REMOVE(vm_name_tree, &all->by_name, vm);
	TAILQ_REMOVE(&all->list, vm, entry);
	all->n--;
	tenant_discharge(vm->obj.tenant, &vm->request);
}

void
vm_enter(struct vm *vm)
{
	struct vms *all = &vm->obj.orchd->vms;

	(void)RB_INSERT(vm_id_tree, &all->by_vmid, vm);
	(void)RB_INSERT(vm_name_tree, &all->by_name, vm);
	TAILQ_INSERT_TAIL(&all->list, vm, entry); /* ids only grow */
	all->n++;
	tenant_charge(vm->obj.tenant, &vm->request);
	vm->obj.key = vm->row.vmid;
}

int
vm_add(struct vm *vm)
{
	struct vms *all = &vm->obj.orchd->vms;

	if (RB_FIND(vm_name_tree, &all->by_name, vm) != NULL ||
	    RB_FIND(vm_id_tree, &all->by_vmid, vm) != NULL)
		return -EEXIST;
	vm_enter(vm);
	return 0;
}

void
vm_break(struct vm *vm, const char *why)
{
	log_error("vm %s: its row in the store cannot be read: %s; it is left "
		  "alone until it is deleted",
	    vm->row.name, why);
	(void)snprintf(vm->broken.why, sizeof(vm->broken.why), "%.120s", why);
	if (vm->row.state != VM_DELETING)
		vm->row.state = VM_BROKEN;
}

void
vm_held_at(struct vm *vm, uint32_t slot)
{
	char why[64];

	if (vm->orphan.is && vm->row.slot == UINT32_MAX) {
		vm->row.slot = slot; /* no row has said */
		return;
	}
	if (vm_slot(vm) == slot)
		return;
	vm->broken.has_slot = true;
	vm->broken.slot = slot;
	if (vm->broken.why[0] == '\0' && !vm->orphan.is) {
		(void)snprintf(why, sizeof(why),
		    "slot: %u, and it is held at %u", vm->row.slot, slot);
		vm_break(vm, why);
	}
}

uint32_t
vm_slot(const struct vm *vm)
{
	return vm->broken.has_slot ? vm->broken.slot : vm->row.slot;
}

static uint64_t
rungs_ms(const struct vm *vm, size_t from)
{
	const uint32_t *ms = vm->obj.orchd->conf.stop_ms;
	uint64_t sum = 0;
	size_t i;

	for (i = from; i < STOP_RUNGS; i++)
		sum += ms[i];
	return sum;
}

uint64_t
vm_stop_ms(const struct vm *vm)
{
	return vm->grace.is_said ? vm->grace.ms + rungs_ms(vm, STOP_QUIT)
				 : vm_end_ms(vm);
}

uint64_t
vm_end_ms(const struct vm *vm)
{
	return rungs_ms(vm, 0);
}

struct vm *
vm_by_vmid(struct orchd *o, uint64_t vmid)
{
	struct vm key = { .row = { .vmid = vmid } };

	return RB_FIND(vm_id_tree, &o->vms.by_vmid, &key);
}

struct vm *
vm_by_name(struct orchd *o, const struct tenant *t, const char *name)
{
	struct vm key = { .row = { .tenant = t->row.id } };

	(void)snprintf(key.row.name, sizeof(key.row.name), "%s", name);
	return RB_FIND(vm_name_tree, &o->vms.by_name, &key);
}

bool
vm_name_is_taken(struct orchd *o, const struct tenant *t, const char *name)
{
	const struct vm *vm;

	if (vm_by_name(o, t, name) != NULL)
		return true;
	TAILQ_FOREACH (vm, &o->vms.renames, renaming) {
		if (vm->obj.tenant == t && strcmp(vm->rename, name) == 0)
			return true;
	}
	return false;
}

void
vm_rename_begin(struct vm *vm, const char *name)
{
	assert(vm->rename[0] == '\0');
	(void)snprintf(vm->rename, sizeof(vm->rename), "%s", name);
	TAILQ_INSERT_TAIL(&vm->obj.orchd->vms.renames, vm, renaming);
}

void
vm_rename_end(struct vm *vm, bool is_kept)
{
	struct vms *all = &vm->obj.orchd->vms;

	if (vm->rename[0] == '\0')
		return;
	TAILQ_REMOVE(&all->renames, vm, renaming);
	if (is_kept) {
		(void)RB_REMOVE(vm_name_tree, &all->by_name, vm);
		memcpy(vm->row.name, vm->rename, sizeof(vm->row.name));
		(void)RB_INSERT(vm_name_tree, &all->by_name, vm);
	}
	vm->rename[0] = '\0';
}

/* Smallest and greatest vmid that begin with these hex digits. */
static int
prefix_range(const char *s, uint64_t *lo, uint64_t *hi)
{
	char buf[HEX64_LEN + 1];
	size_t len = strlen(s);

	if (len < VM_PREFIX_MIN || len > HEX64_LEN)
		return -EINVAL;
	memset(buf, '0', HEX64_LEN);
	buf[HEX64_LEN] = '\0';
	memcpy(buf, s, len);
	if (num_parse_hex64(buf, lo) < 0)
		return -EINVAL;
	memset(buf + len, 'f', HEX64_LEN - len);
	return num_parse_hex64(buf, hi);
}

int
vm_find(
    struct orchd *o, const struct tenant *t, const char *name, struct vm **ret)
{
	struct vm *vm = vm_by_name(o, t, name), *hit = NULL;
	struct vm key = { 0 };
	uint64_t lo, hi;

	if (vm != NULL) {
		*ret = vm;
		return 0;
	}
	if (prefix_range(name, &lo, &hi) < 0)
		return -ENOENT;
	key.row.vmid = lo;
	vm = RB_NFIND(vm_id_tree, &o->vms.by_vmid, &key);
	for (; vm != NULL && vm->row.vmid <= hi;
	     vm = RB_NEXT(vm_id_tree, &o->vms.by_vmid, vm)) {
		if (vm->obj.tenant != t)
			continue;
		if (hit != NULL)
			return -EEXIST;
		hit = vm;
	}
	if (hit == NULL)
		return -ENOENT;
	*ret = hit;
	return 0;
}
