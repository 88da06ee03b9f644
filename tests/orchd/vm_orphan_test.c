#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "orchd/object/write.h"
#include "orchd/vm/orphan.h"
#include "tests/orchd/vm_played.h"
#include "tests/suite/t.h"

/*
 * A VM that no row knows: how long it stays, what it would be, and what it is
 * once it is adopted, or was not.
 */
static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };

static struct vm *
make(struct orchd *any)
{
	const struct part_kind *const parts[] = { &kinds[0], &kinds[1],
		&kinds[2] };

	return vm_new(any, &kind, parts, nitems(parts));
}

/* One that runs, in the place of the VM that begin() made. */
static void
begin_orphan(uint32_t ms)
{
	begin(VM_RUNNING);
	vm_free(vm);
	tenants_init(&o.tenants);
	RB_INIT(&o.vms.by_vmid);
	RB_INIT(&o.vms.by_name);
	TAILQ_INIT(&o.vms.renames);
	o.vms.make = make;
	o.conf.orphan_ms = ms;
	wall_ns = 7000;
	vm = orphan_of(&o, 0xa1);
	t_true(vm != NULL);
	t_eq(vm->row.slot, UINT32_MAX);
	t_eq(vm->row.tenant, -1); /* no row's */
	vm->part[0].state = vm->part[2].state = PART_USED;
	vm->part[0].adopt = true;
	vm->row.slot = 3;
	vm->row.ipv4 = 0x0a000002;
	memcpy(vm->row.mac, mac, sizeof(mac));
	vm->run.vcpus = 2;
	vm->run.mem_mib = 512;
}

static void
fixed(const char *want)
{
	char why[200] = "";
	const bool is = orphan_is_fixed(vm, why, sizeof(why));

	t_true(is == (want != NULL));
	if (want != NULL)
		t_true(strstr(why, want) != NULL);
}

/* It stays, and its tap is made good once. */
static void
test_stays(void)
{
	begin_orphan(90500);
	t_eq(o.vms.norphans, 1);
	t_eq(o.vms.n, 1);
	t_true(vm_by_vmid(&o, 0xa1) == vm);
	t_str(vm->row.name, "00000000000000a1");
	t_true(vm->obj.tenant == &o.tenants.nobody);
	ASKS("adopt:tap");
	t_eq(ev.added.tv_sec, 15); /* for the answer */
	answer(0, 0);
	ASKS("");
	t_true(evtimer_pending(vm->orphan.timer, NULL));
	t_eq(orphan_ends_ns(vm), 7000 + INT64_C(90500000000));
	t_eq(vm->row.state, VM_ORPHAN);
	vm->run.need_spec = true; /* nobody knows it any more */
	ASKS("");
	end();
	t_eq(o.vms.norphans, 0);
}

static void
gone(const char *how)
{
	t_row(how);
	ASKS("release:jail");
	t_eq(vm->row.state, VM_DELETING);
	answer(2, 0);
	ASKS("release:tap");
	answer(0, 0);
	ASKS("delete"); /* and no event of it */
	t_eq(vm->obj.life, OBJECT_GONE);
	end();
}

static void
test_ends(void)
{
	begin_orphan(90500);
	turns();
	answer(0, 0);
	asked[0] = '\0';
	t_eq(vm->row.state, VM_ORPHAN);
	object_clear(&vm->obj);
	ev_expire(o.base, vm->orphan.timer);
	t_true(vm->orphan.is_late && vm->obj.woken);
	gone("nobody wanted it");
	begin_orphan(0);
	gone("at once");
	begin_orphan(1000);
	vm->part[2].state = PART_STALE;
	gone("it has ended");
	begin_orphan(1000);
	vm->part[2].state = PART_NONE;
	ASKS("release:tap"); /* what is left of it */
	t_eq(vm->row.state, VM_DELETING);
	end();
	begin_orphan(1000);
	listed = false; /* or it may be there yet */
	vm->part[2].state = PART_NONE;
	ASKS("");
	t_eq(vm->row.state, VM_ORPHAN);
	end();
}

/* How long it may stay is looked at when it comes to nobody's timer. */
static void
test_timer(void)
{
	begin_orphan(1002500);
	vm->part[0].adopt = false;
	turns();
	t_eq(ev.added.tv_sec, 1002);
	t_eq(ev.added.tv_usec, 500000);
	end();
}

static void
test_fixed(void)
{
	struct vm *other;

	begin_orphan(1000);
	fixed(NULL);
	vm->run.vcpus = 0;
	fixed("has not heard of it yet");
	vm->run.vcpus = 2;
	vm->run.unknown = true;
	fixed("has not heard of it yet");
	vm->run.fault = LF_RECORD;
	fixed("cannot be read: it can only be ended");
	vm->run.unknown = false;
	vm->run.fault = LF_NONE;
	vm->row.ipv4 = 0;
	fixed("its tap is not there");
	vm->row.ipv4 = 0x0a000002;
	vm->row.slot = UINT16_MAX + 1U;
	fixed("its tap is not there");
	vm->row.slot = UINT16_MAX;
	fixed(NULL);
	vm->row.slot = 3;
	vm_held_at(vm, 4); /* by another helper: in two places */
	t_eq(vm->row.state, VM_ORPHAN);
	fixed("its tap is not there");
	vm->broken.has_slot = false;
	vm->row.mac[0] = 1;
	fixed("its tap is not there");
	vm->row.mac[0] = 2;
	vm->row.state = VM_DELETING;
	fixed("it is being ended");
	vm->row.state = VM_ORPHAN;
	/* what has its place in the store */
	other = make(&o);
	other->row.vmid = 5;
	other->row.slot = 9;
	(void)snprintf(other->row.name, sizeof(other->row.name), "other");
	other->obj.tenant = &o.tenants.nobody;
	t_eq(vm_add(other), 0);
	fixed(NULL);
	t_true(orphan_in_way(other) == NULL);
	other->row.slot = 3;
	fixed("vm other of tenant");
	t_true(orphan_in_way(other) == vm);
	t_true(orphan_in_way(vm) == NULL);
	other->row.slot = 9;
	other->row.ipv4 = vm->row.ipv4;
	fixed("vm other of tenant");
	other->row.ipv4 = 0;
	memcpy(other->row.mac, mac, sizeof(mac));
	fixed("vm other of tenant");
	vm_free(other);
	/* two orphans in one place are nobody's row */
	t_true((other = orphan_of(&o, 0xa2)) != NULL);
	other->row.slot = 3;
	fixed(NULL);
	t_true(orphan_in_way(vm) == NULL);
	vm_free(other);
	end();
}

/* The first helper's word is its slot. */
static void
test_slot(void)
{
	begin_orphan(1000);
	vm->row.slot = UINT32_MAX;
	vm_held_at(vm, 3);
	vm_held_at(vm, 3);
	t_eq(vm->row.slot, 3);
	t_eq(vm_slot(vm), 3);
	t_true(!vm->broken.has_slot);
	end();
}

static void
test_none(void)
{
	struct vm *one;

	begin_orphan(1000);
	t_true(orphan_of(&o, 0) == NULL);
	t_true(orphan_of(&o, 0xa1) == NULL); /* it is there */
	t_eq(o.vms.norphans, 1);
	o.vms.norphans = ORPHANS_MAX;
	t_true(orphan_of(&o, 0xa2) == NULL);
	o.vms.norphans = ORPHANS_MAX - 1;
	one = orphan_of(&o, 0xa2);
	t_true(one != NULL);
	vm_free(one);
	t_eq(o.vms.norphans, ORPHANS_MAX - 1);
	o.vms.norphans = 1;
	t_fail_alloc(1);
	t_true(orphan_of(&o, 0xa2) == NULL);
	t_true(t_alloc_failed());
	t_eq(o.vms.n, 1);
	end();
}

static struct tenant team;

static void
adopt(void)
{
	memset(&team, 0, sizeof(team));
	team.row.id = 8;
	team.row.last_id = 41;
	wall_ns = 9000;
	orphan_adopt(vm, &team, "web");
}

static void
test_adopted(void)
{
	const struct idem_row key = { 0 };

	begin_orphan(1000);
	turns();
	answer(0, 0);
	asked[0] = '\0';
	adopt();
	t_true(vm_by_name(&o, &team, "web") == vm);
	t_true(vm_by_name(&o, &o.tenants.nobody, "00000000000000a1") == NULL);
	t_eq(vm->row.tenant, 8);
	t_eq(vm->row.id, 42);
	t_eq(vm->row.created_ns, 9000);
	t_eq(vm->row.updated_ns, 9000);
	t_eq(vm->obj.life, OBJECT_NEW);
	t_eq(team.used.n[TENANT_VMS], 1);
	t_eq(team.used.n[TENANT_CPUS], 2);
	t_eq(team.used.n[TENANT_MEMORY_MB], 512);
	t_str(vm->request.name, "web");
	t_str(vm->request.image, "busybox");
	t_str(vm->request.runtime, "busybox");
	t_true(vm->request.adopted && !vm->request.temporary);
	t_eq(write_new(&vm->obj, 0, &key), 0);
	turns();
	t_eq(vm->obj.life, OBJECT_STORED);
	t_eq(vm->row.state, VM_RUNNING);
	orphan_kept(vm);
	t_true(!vm->orphan.is && vm->orphan.timer == NULL);
	t_eq(o.vms.norphans, 0);
	t_true(orphan_in_way(vm) == NULL);
	/* it ends as any VM does */
	asked[0] = '\0';
	vm->row.state = VM_DELETING;
	object_wake(&vm->obj);
	ASKS("release:jail");
	answer(2, 0);
	ASKS("release:tap");
	answer(0, 0);
	ASKS("delete event:VM_DELETED");
	end();
}

/* What could not be written: as before, and again. */
static void
test_again(void)
{
	const struct idem_row key = { 0 };

	begin_orphan(1000);
	adopt();
	t_eq(write_new(&vm->obj, 1, &key), 0);
	vm->obj.again = evtimer_new(o.base, NULL, NULL);
	vm->obj.life = OBJECT_NEVER;
	object_clear(&vm->obj);
	orphan_again(vm);
	t_eq(vm->obj.life, OBJECT_STORED);
	t_true(object_settled(&vm->obj));
	t_true(!write_owed(&vm->obj) && vm->obj.again == NULL);
	t_eq(vm->row.state, VM_ORPHAN);
	t_true(vm->orphan.is);
	t_eq(o.vms.norphans, 1);
	t_eq(team.used.n[TENANT_VMS], 0);
	t_eq(team.used.n[TENANT_MEMORY_MB], 0);
	t_true(!vm->request.adopted && vm->request.cpu_cores == 0);
	t_true(vm_by_name(&o, &team, "web") == NULL);
	t_true(vm_by_name(&o, &o.tenants.nobody, "00000000000000a1") == vm);
	t_true(vm->obj.woken);
	ASKS("adopt:tap");
	adopt();
	t_eq(vm->obj.life, OBJECT_NEW);
	end();
}

const struct t_case t_cases[] = {
	{ "stays", test_stays },
	{ "ends", test_ends },
	{ "how long", test_timer },
	{ "what cannot be adopted", test_fixed },
	{ "where it is", test_slot },
	{ "what is none", test_none },
	{ "adopted", test_adopted },
	{ "not adopted", test_again },
	{ NULL, NULL },
};
