#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/num.h"
#include "common/util.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/vm/orphan.h"
#include "orchd/vm/vm.h"
#include "orchd/vm/vm_step.h"

/* All that is run so far (verb_vm_create.c). */
#define ONLY_IMAGE "busybox"

/* Nobody's: no tenant has it, so no caller finds it as a VM. */
static void
be_nobodys(struct vm *vm)
{
	vm->obj.tenant = &vm->obj.orchd->tenants.nobody;
	vm->row.tenant = vm->obj.tenant->row.id;
	vm->row.state = VM_ORPHAN;
	num_format_hex64(vm->row.vmid, vm->row.name);
}

struct vm *
orphan_of(struct orchd *o, uint64_t vmid)
{
	struct vm *vm = NULL;

	if (vmid != 0 && o->vms.norphans < ORPHANS_MAX)
		vm = o->vms.make(o);
	if (vm == NULL) {
		log_error("vm %016llx is not in the store, and cannot be kept "
			  "in memory: it is left alone",
		    (unsigned long long)vmid);
		return NULL;
	}
	vm->row.vmid = vmid;
	vm->row.slot = UINT32_MAX; /* till a helper says */
	be_nobodys(vm);
	vm->obj.life = OBJECT_STORED; /* as little as there is of it */
	vm->orphan.is = true;
	o->vms.norphans++;
	vm->orphan.found_ns = clock_wall_ns();
	if (vm_add(vm) < 0) { /* its caller looked for it */
		vm_free(vm);
		return NULL;
	}
	return vm;
}

/* --- how long --- */

static void
on_timer(int fd, short what, void *arg)
{
	struct vm *vm = arg;

	(void)fd;
	(void)what;
	vm->orphan.is_late = true;
	object_wake(&vm->obj);
}

/* From when it is known that it is one. */
static void
wait_begin(struct vm *vm)
{
	const uint32_t ms = vm->obj.orchd->conf.orphan_ms;
	const struct timeval tv = { .tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000) * 1000 };

	if (vm->orphan.timer != NULL)
		return;
	log_warn("vm %s runs, and is not in the store: `mews orphan` adopts or "
		 "ends it, else it is ended in %u s",
	    vm->row.name, ms / 1000);
	vm->orphan.timer = evtimer_new(vm->obj.orchd->base, on_timer, vm);
	if (vm->orphan.timer == NULL || event_add(vm->orphan.timer, &tv) < 0)
		log_error("vm %s: no timer", vm->row.name);
}

int64_t
orphan_ends_ns(const struct vm *vm)
{
	return vm->orphan.found_ns +
	    (int64_t)vm->obj.orchd->conf.orphan_ms * 1000000;
}

bool
orphan_stays(struct vm *vm)
{
	const enum part_state life = vm_life(vm)->state;

	if (life == PART_NONE || life == PART_STALE) {
		(void)vm_step(vm, EV_DIED, "not in the store, and not running");
		return false;
	}
	if (vm->obj.orchd->conf.orphan_ms == 0 || vm->orphan.is_late ||
	    !RULE(ORPHAN_KEPT)) {
		(void)vm_step(vm, EV_DELETE,
		    "not in the store, and nobody adopted it in time");
		return false;
	}
	wait_begin(vm);
	return true;
}

/* --- what it would be --- */

/* One that a row, or a name, says is there. */
static const struct vm *
same_place(const struct vm *vm, bool is_orphan)
{
	const struct vm *other;

	TAILQ_FOREACH (other, &vm->obj.orchd->vms.list, entry) {
		if (other == vm || other->orphan.is != is_orphan)
			continue;
		if (other->row.slot == vm->row.slot ||
		    other->row.ipv4 == vm->row.ipv4 ||
		    memcmp(other->row.mac, vm->row.mac, sizeof(vm->row.mac)) ==
			0)
			return other;
	}
	return NULL;
}

const struct vm *
orphan_in_way(const struct vm *vm)
{
	return vm->obj.orchd->vms.norphans > 0 && !vm->orphan.is
	    ? same_place(vm, true)
	    : NULL;
}

bool
orphan_is_fixed(const struct vm *vm, char *ret, size_t len)
{
	const struct run *run = &vm->run;
	const struct vm *other;

	if (vm->row.state == VM_DELETING)
		(void)snprintf(ret, len, "it is being ended");
	else if (run->fault == LF_RECORD)
		(void)snprintf(ret, len,
		    "its record in run/vm cannot be read: it can only be ended");
	else if (run->unknown || run->vcpus == 0)
		(void)snprintf(ret, len,
		    "the launcher has not heard of it yet: try again");
	else if (vm->row.ipv4 == 0 || vm->row.slot > UINT16_MAX ||
	    vm->broken.has_slot || (vm->row.mac[0] & 1) != 0)
		(void)snprintf(ret, len,
		    "its tap is not there, or not its own, so its address is "
		    "not known: it can only be ended");
	else if ((other = same_place(vm, false)) != NULL)
		(void)snprintf(ret, len,
		    "vm %.63s of tenant %.63s has its slot or its address in "
		    "the store: remove that first",
		    other->row.name, other->obj.tenant->row.name);
	else
		return false;
	return true;
}

/* --- adopted --- */

/* As what it is in a list, and by a name. */
static void
move(struct vm *vm, struct tenant *t, const char *name)
{
	vm_leave(vm);
	vm->obj.tenant = t;
	vm->row.tenant = t->row.id;
	(void)snprintf(vm->row.name, sizeof(vm->row.name), "%s", name);
	vm_enter(vm);
}

void
orphan_adopt(struct vm *vm, struct tenant *t, const char *name)
{
	struct vm_create *rq = &vm->request;

	/* what nobody can tell any more stays empty */
	(void)snprintf(rq->name, sizeof(rq->name), "%s", name);
	(void)snprintf(rq->image, sizeof(rq->image), ONLY_IMAGE);
	(void)snprintf(rq->runtime, sizeof(rq->runtime), ONLY_IMAGE);
	rq->cpu_cores = vm->run.vcpus;
	rq->memory_mb = (int32_t)vm->run.mem_mib;
	rq->adopted = true;
	move(vm, t, name);
	vm->row.id = t->row.last_id + 1;
	vm->row.state = VM_RUNNING;
	vm->row.created_ns = vm->row.updated_ns = clock_wall_ns();
	vm->obj.life = OBJECT_NEW;
}

void
orphan_kept(struct vm *vm)
{
	log_info("vm %s: adopted into tenant %s as %016llx", vm->row.name,
	    vm->obj.tenant->row.name, (unsigned long long)vm->row.vmid);
	vm_has_row(vm);
}

void
orphan_again(struct vm *vm)
{
	char name[HEX64_LEN + 1];

	write_forget(&vm->obj);
	num_format_hex64(vm->row.vmid, name);
	move(vm, &vm->obj.orchd->tenants.nobody, name);
	vm->row.state = VM_ORPHAN;
	vm->request = (struct vm_create){ 0 }; /* it owns nothing */
	vm->obj.life = OBJECT_STORED;
	object_wake(&vm->obj);
}
