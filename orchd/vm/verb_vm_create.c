#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/util.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/vm/alloc.h"
#include "orchd/vm/vm_kind.h"
#include "orchd/vm/vm_step.h"

/* What Volant gives when a request does not say. */
#define DEFAULT_CPUS 2
#define DEFAULT_MEM_MIB 2048
#define BUILTIN_IMAGE "busybox"

/* Checks what only orchd can know.  0, or it has answered. */
static int
create_check(const struct req *r, struct vm_create *want)
{
	const struct orchd_conf *conf = &r->o->conf;
	const uint32_t cpus = conf->max_vcpus < MACHINE_VCPUS_MAX
	    ? conf->max_vcpus
	    : MACHINE_VCPUS_MAX;
	const uint32_t mem = conf->max_mem_mib < MACHINE_MEM_MAX_MIB
	    ? conf->max_mem_mib
	    : MACHINE_MEM_MAX_MIB;
	char text[160];
	uint32_t least;
	struct err e;
	int bad;

	if (want->image[0] == '\0' && want->plugin[0] == '\0') {
		req_refuse(r, 400, "plugin or image is required");
		return -EINVAL;
	}
	if (want->plugin[0] != '\0') {
		(void)snprintf(text, sizeof(text), "plugin %.100s not found",
		    want->plugin);
		req_refuse(r, 404, text);
		return -ENOENT;
	}
	if (strcmp(want->image, BUILTIN_IMAGE) != 0) {
		(void)snprintf(
		    text, sizeof(text), "image %.100s not found", want->image);
		req_refuse(r, 404, text);
		return -ENOENT;
	}
	if (want->cpu_cores <= 0)
		want->cpu_cores =
		    (int32_t)(cpus < DEFAULT_CPUS ? cpus : DEFAULT_CPUS);
	if (want->memory_mb <= 0)
		want->memory_mb =
		    (int32_t)(mem < DEFAULT_MEM_MIB ? mem : DEFAULT_MEM_MIB);
	if ((uint32_t)want->cpu_cores > cpus) {
		(void)snprintf(text, sizeof(text),
		    "cpu_cores must be 1 to %u on this host", cpus);
		req_refuse(r, 400, text);
		return -ERANGE;
	}
	least = GUEST_MEM_MIN_MIB((uint32_t)want->cpu_cores);
	if ((uint32_t)want->memory_mb > mem ||
	    (uint32_t)want->memory_mb < least) {
		(void)snprintf(text, sizeof(text),
		    "memory_mb must be %u to %u with %d cpu_cores on this "
		    "host: less does not boot, more is over max_memory",
		    least, mem, want->cpu_cores);
		req_refuse(r, 400, text);
		return -ERANGE;
	}
	if ((bad = machine_args_check(
		 want->kernel_cmdline, strlen(want->kernel_cmdline), &e)) < 0) {
		req_refuse(r, 400, e.msg);
		return bad;
	}
	if (want->runtime[0] == '\0')
		(void)snprintf(want->runtime, sizeof(want->runtime), "%.128s",
		    want->image);
	return 0;
}

/* Fills a new VM from its checked request.  0 or a negative errno. */
static int
create_fill(const struct req *r, struct vm *vm)
{
	struct orchd *o = r->o;
	struct vm_row *row = &vm->row;
	int e;

	row->tenant = r->tenant->row.id;
	vm->obj.tenant = r->tenant;
	(void)snprintf(row->name, sizeof(row->name), "%s", vm->request.name);
	row->state = VM_PENDING;
	row->created_ns = row->updated_ns = clock_wall_ns();
	if ((e = alloc_slot(o, &row->slot)) < 0 ||
	    (e = alloc_address(o, row->name, &row->ipv4, row->mac)) < 0)
		return e;
	row->vmid = alloc_vmid(o);
	return 0;
}

/* One that is temporary is one of those that its caller may have.  0, or it has
 * answered. */
static int
create_count(const struct req *r, struct vm *vm)
{
	int e = vm->request.temporary ? temporary_count(vm) : 0;

	if (e == -EBUSY)
		req_busy(r, &r->o->temporaries, "temporary vms",
		    "end one of yours, or make one that stays");
	else if (e < 0)
		req_refuse(r, 500, "out of memory");
	return e;
}

/* A retry of a create that was, or is being, done. */
static void
create_again(const struct req *r, uint64_t vmid)
{
	struct vm *vm = vm_by_vmid(r->o, vmid);

	if (vm == NULL) {
		req_refuse(r, 410, "the vm that this key made is deleted");
		return;
	}
	req_join(r, &vm->obj, FOR_RUNNING_AGAIN, 201);
}

static void
create_new(const struct req *r, struct vm_create *want, struct idem_row *key)
{
	struct orchd *o = r->o;
	struct vm *vm = NULL;
	struct err err = { 0 };
	char text[160];
	int e;

	if (vm_name_is_taken(o, r->tenant, want->name)) {
		(void)snprintf(text, sizeof(text),
		    "orchestrator: vm already exists: %s", want->name);
		req_refuse(r, 409, text);
		return;
	}
	if (r->tenant->want.deleting) {
		answer_error(o, r->c->id, r->id, 409,
		    "tenant %s is being deleted", r->tenant->row.name);
		return;
	}
	if (RULE(TENANT_QUOTA) && tenant_fits(r->tenant, want, &err) < 0) {
		req_refuse(r, 403, err.msg);
		return;
	}
	if (o->vms.n >= o->conf.max_vms) {
		req_refuse(
		    r, 503, "this host runs as many vms as it may: max_vms");
		return;
	}
	if ((vm = vm_kind_new(o)) == NULL) {
		req_refuse(r, 500, "out of memory");
		return;
	}
	vm->request = *want; /* vm owns its lists now */
	memset(want, 0, sizeof(*want));
	vm->request.owner = r->c->creds.uid;
	if (create_count(r, vm) < 0) {
		vm_free(vm);
		return;
	}
	vm->row.id = r->tenant->row.last_id + 1;
	if ((e = create_fill(r, vm)) < 0 || (e = vm_add(vm)) < 0) {
		req_refuse(r, e == -ENOSPC ? 503 : 500,
		    e == -ENOSPC ? "no free address or slot is left"
				 : "out of memory");
		vm_free(vm);
		return;
	}
	r->tenant->row.last_id = vm->row.id;
	key->vm = vm->row.vmid;
	if (req_wait(r, &vm->obj, FOR_RUNNING, 201) < 0) {
		vm_free(vm);
		return;
	}
	e = write_new(&vm->obj, vm_step_waits(FOR_RUNNING), key);
	if (e < 0) {
		req_unnoted(r, e);
		vm_free(vm);
		return;
	}
	write_note(
	    &vm->obj, EVENT_VM_CREATED, VM_STARTING, "vm record created");
}

void
verb_vm_create(const struct req *r)
{
	struct vm_create want = { 0 };
	struct idem_row key;
	struct err e;

	if (table_unpack_all(&vm_create_table, r->doc, r->len, &want, &e) < 0) {
		req_refuse(r, 400, e.msg);
		return;
	}
	switch (req_key(r, &key)) {
	case IDEM_AGAIN:
		create_again(r, key.vm);
		break;
	case IDEM_OTHER:
		break;
	case IDEM_NEW:
		if (create_check(r, &want) == 0)
			create_new(r, &want, &key);
		break;
	}
	table_clear(&vm_create_table, &want);
}
