#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "orchd/req.h"
#include "orchd/stored.h"
#include "proto/jbuf.h"

/* What Volant gives when a request does not say. */
#define DEFAULT_CPUS 2
#define DEFAULT_MEM_MIB 2048
#define BUILTIN_IMAGE "busybox"

/* A create whose commit is under way: what a failure must undo. */
struct creation {
	struct orchd *o;
	uint64_t uid;
	struct idem_row key;
};

static void
fail_all(struct vm *vm, unsigned int status, const char *why)
{
	vm_wait_fail(vm, FOR_RUNNING, status, why);
	vm_wait_fail(vm, FOR_RUNNING_AGAIN, status, why);
}

static void
on_created(void *arg, int err)
{
	struct creation *cr = arg;
	struct orchd *o = cr->o;
	struct vm *vm = vm_by_uid(o, cr->uid);

	if (err < 0) {
		log_error("vm %s: not created: %s",
		    vm == NULL ? "?" : vm->row.name, strerrordesc_np(-err));
		idem_forget(o, &cr->key);
		if (vm != NULL) {
			/* its retries wait as well */
			fail_all(vm, err == -ENOSPC ? 507 : 500,
			    err == -ENOSPC
				? "not created: the store is full"
				: "not created: the store cannot be written");
			vm_free(vm);
		}
	} else if (vm != NULL) {
		vm->committed = true;
		events_wake(o);
		orchd_title(o);
		vm_wake(vm);
		vm_converge(vm);
	}
	free(cr);
}

/* Checks what only orchd can know.  0, or it has answered. */
static int
create_check(const struct req *r, struct vm_create *spec)
{
	const struct orchd_conf *conf = &r->o->conf;
	const uint32_t cpus = conf->max_vcpus < LAUNCH_VCPUS_MAX
	    ? conf->max_vcpus
	    : LAUNCH_VCPUS_MAX;
	const uint32_t mem = conf->max_mem_mib < LAUNCH_MEM_MAX_MIB
	    ? conf->max_mem_mib
	    : LAUNCH_MEM_MAX_MIB;
	char text[160];

	if (spec->image[0] == '\0' && spec->plugin[0] == '\0') {
		req_refuse(r, 400, "plugin or image is required");
		return -EINVAL;
	}
	if (spec->plugin[0] != '\0') {
		(void)snprintf(text, sizeof(text), "plugin %.100s not found",
		    spec->plugin);
		req_refuse(r, 404, text);
		return -ENOENT;
	}
	if (strcmp(spec->image, BUILTIN_IMAGE) != 0) {
		(void)snprintf(
		    text, sizeof(text), "image %.100s not found", spec->image);
		req_refuse(r, 404, text);
		return -ENOENT;
	}
	if (spec->cpu_cores <= 0)
		spec->cpu_cores =
		    (int32_t)(cpus < DEFAULT_CPUS ? cpus : DEFAULT_CPUS);
	if (spec->memory_mb <= 0)
		spec->memory_mb =
		    (int32_t)(mem < DEFAULT_MEM_MIB ? mem : DEFAULT_MEM_MIB);
	if ((uint32_t)spec->cpu_cores > cpus ||
	    (uint32_t)spec->memory_mb > mem ||
	    spec->memory_mb < LAUNCH_MEM_MIN_MIB) {
		(void)snprintf(text, sizeof(text),
		    "cpu_cores must be 1 to %u, memory_mb %d to %u on this "
		    "host",
		    cpus, LAUNCH_MEM_MIN_MIB, mem);
		req_refuse(r, 400, text);
		return -ERANGE;
	}
	if (spec->runtime[0] == '\0')
		(void)snprintf(spec->runtime, sizeof(spec->runtime), "%.128s",
		    spec->image);
	return 0;
}

/* Fills a new VM from its checked request.  0 or a negative errno. */
static int
create_fill(const struct req *r, struct vm *vm)
{
	struct orchd *o = r->o;
	struct vm_row *row = &vm->row;
	int e;

	row->tenant = r->c->tenant;
	(void)snprintf(row->name, sizeof(row->name), "%s", vm->spec.name);
	row->desired = WANT_RUNNING;
	row->state = VM_PENDING;
	row->created_ns = row->updated_ns = now_ns();
	if ((e = alloc_slot(o, &row->slot)) < 0 ||
	    (e = alloc_ipv4(o, &row->ipv4)) < 0)
		return e;
	alloc_mac(row->name, row->ipv4, row->mac);
	row->vmid = alloc_uid(o);
	return 0;
}

/* Writes the new VM, its event and the key together. */
static int
create_commit(const struct req *r, struct vm *vm, struct idem_row *key)
{
	struct creation *cr = calloc(1, sizeof(*cr));
	struct vm_row row = vm->row;
	struct txn *t = NULL;
	struct jbuf b;
	int e = -ENOMEM;

	jbuf_init(&b, TABLE_JSON_MAX);
	if (cr == NULL)
		goto out;
	key->vm = row.vmid;
	cr->o = r->o;
	cr->uid = row.vmid;
	cr->key = *key;
	if ((e = table_store(&stored_request, &vm->spec, &b, NULL)) < 0)
		goto out;
	e = -ENOMEM;
	if ((t = txn_new(r->o->store, on_created, cr)) == NULL)
		goto out;
	row.request = (struct store_doc){ b.p, b.len, stored_request.version };
	txn_vm_put(t, &row);
	if (idem_use(r->o, t, key) < 0)
		goto out;
	event_add_vm(t, vm, "VM_CREATED", "starting", "vm record created");
	txn_commit(t);
	t = NULL;
	cr = NULL;
	e = 0;
out:
	txn_free(t);
	free(cr);
	jbuf_free(&b); /* env is in it */
	return e;
}

/* A retry of a create that was, or is being, done. */
static void
create_again(const struct req *r, uint64_t uid)
{
	struct vm *vm = vm_by_uid(r->o, uid);

	if (vm == NULL) {
		req_refuse(r, 410, "the vm that this key made is deleted");
		return;
	}
	req_wait(r, vm, FOR_RUNNING_AGAIN, 201);
}

static void
create_new(const struct req *r, struct vm_create *spec, struct idem_row *key)
{
	struct orchd *o = r->o;
	struct vm *vm = NULL;
	char text[160];
	int e;

	if (vm_by_name(o, r->c->tenant, spec->name) != NULL) {
		(void)snprintf(text, sizeof(text),
		    "orchestrator: vm already exists: %s", spec->name);
		req_refuse(r, 409, text);
		return;
	}
	if (o->nvms >= o->conf.max_vms) {
		req_refuse(
		    r, 503, "this host runs as many vms as it may: max_vms");
		return;
	}
	if ((vm = vm_new(o)) == NULL) {
		req_refuse(r, 500, "out of memory");
		return;
	}
	vm->spec = *spec; /* vm owns its lists now */
	memset(spec, 0, sizeof(*spec));
	vm->row.id = o->tenant.last_id + 1;
	if ((e = create_fill(r, vm)) < 0 || (e = vm_add(vm)) < 0) {
		req_refuse(r, e == -ENOSPC ? 503 : 500,
		    e == -ENOSPC ? "no free address or slot is left"
				 : "out of memory");
		vm_free(vm);
		return;
	}
	o->tenant.last_id = vm->row.id;
	if (vm_wait(vm, r->c, FOR_RUNNING, 201) < 0 ||
	    create_commit(r, vm, key) < 0) {
		req_refuse(r, 500, "out of memory");
		vm_free(vm);
	}
}

void
req_create(const struct req *r)
{
	struct vm_create spec = { 0 };
	struct idem_row key;
	struct err e;

	if (table_unpack_all(&vm_create_table, r->doc, r->len, &spec, &e) < 0) {
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
		if (create_check(r, &spec) == 0)
			create_new(r, &spec, &key);
		break;
	}
	table_clear(&vm_create_table, &spec);
}
