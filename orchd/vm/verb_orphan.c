#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cur.h"
#include "common/util.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/link/link.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/text.h"
#include "orchd/vm/orphan.h"
#include "orchd/vm/vm.h"
#include "orchd/vm/vm_step.h"

#define ITEM_MAX 1024 /* bytes of one in a list */

/* Which there are is known when all helpers have told.  False: answered. */
static bool
is_known(const struct req *r)
{
	if (link_all_listed(r->o))
		return true;
	answer_error(r->o, r->c->id, r->id, 503,
	    "what runs is not known yet: %s: try again", link_missing(r->o));
	return false;
}

/* By its uid, or the beginning of one.  NULL: answered. */
static struct vm *
find(const struct req *r)
{
	struct vm *vm = NULL;
	int e = vm_find(r->o, &r->o->tenants.nobody, r->head.var[0], &vm);

	if (e == -EEXIST)
		req_refuse(r, 409, "more than one orphan begins with that uid");
	else if (e < 0 && is_known(r))
		answer_error(r->o, r->c->id, r->id, 404,
		    "no orphan has the uid %s: mews orphan ls lists them",
		    r->head.var[0]);
	return e < 0 || !is_known(r) ? NULL : vm;
}

/* --- what there is --- */

static uint8_t
status(const struct vm *vm)
{
	if (vm->row.state == VM_DELETING)
		return VM_STATUS_DELETING;
	if (vm_life_const(vm)->stopping)
		return VM_STATUS_STOPPING;
	/* one that nobody has heard of lives, as far as is known */
	return vm->run.ran || vm->run.unknown ? VM_STATUS_RUNNING
					      : VM_STATUS_STARTING;
}

static void
view(const struct vm *vm, struct orphan_view *v)
{
	*v = (struct orphan_view){ .uid = vm->row.vmid,
		.status = status(vm),
		.pid = (int32_t)vm->run.pid,
		.cpu_cores = vm->run.vcpus,
		.memory_mb = vm->run.mem_mib,
		.found_at = vm->orphan.found_ns,
		.ends_at = orphan_ends_ns(vm) };
	if (vm->row.ipv4 != 0) {
		text_ipv4(vm->row.ipv4, v->ip_address, sizeof(v->ip_address));
		text_mac(vm->row.mac, v->mac_address, sizeof(v->mac_address));
	}
	(void)orphan_is_fixed(vm, v->reason, sizeof(v->reason));
}

/* What does not run goes by itself, and is no orphan. */
static bool
is_shown(const struct vm *vm)
{
	return vm->orphan.is && vm->obj.life == OBJECT_STORED &&
	    vm_life_const(vm)->state == PART_USED;
}

void
verb_orphan_list(const struct req *r)
{
	struct api_res res = {
		.conn = r->c->id, .status = 200, .doc = API_DOC_LIST
	};
	const size_t cap =
	    sizeof(uint32_t) + r->o->vms.norphans * (size_t)ITEM_MAX;
	struct orphan_view v;
	const struct vm *vm;
	struct wcur w;
	uint32_t n = 0;
	uint8_t *buf;

	if (!is_known(r))
		return;
	if ((buf = malloc(cap)) == NULL) {
		req_refuse(r, 500, "out of memory");
		return;
	}
	wcur_init(&w, buf, cap);
	(void)wcur_u32(&w, 0);
	TAILQ_FOREACH (vm, &r->o->vms.list, entry) {
		if (!is_shown(vm))
			continue;
		view(vm, &v);
		if (table_pack_item(&orphan_table, &v, &w) == 0)
			n++;
	}
	memcpy(buf, &n, sizeof(n));
	answer_doc(r->o, r->id, &res, buf, w.used);
	free(buf);
}

/* --- what becomes of one --- */

static void
adopt(
    const struct req *r, struct vm *vm, const char *name, struct idem_row *key)
{
	int e;

	key->vm = vm->row.vmid;
	if (req_wait(r, &vm->obj, FOR_ADOPTED, 200) < 0)
		return;
	orphan_adopt(vm, r->tenant, name);
	vm->request.owner = r->c->creds.uid;
	r->tenant->row.last_id = vm->row.id;
	e = write_new(&vm->obj, vm_step_waits(FOR_ADOPTED), key);
	if (e < 0) {
		wait_drop(&vm->obj, r->c->id);
		req_unnoted(r, e);
		orphan_again(vm);
		return;
	}
	write_note(&vm->obj, EVENT_VM_CREATED, VM_RUNNING,
	    "vm adopted: it ran before");
}

static void
adopt_new(const struct req *r, const char *name, struct idem_row *key)
{
	struct vm *vm = find(r);
	struct vm_create size = { 0 };
	struct err err = { 0 };
	char why[200];

	if (vm == NULL)
		return;
	size.cpu_cores = vm->run.vcpus;
	size.memory_mb = (int32_t)vm->run.mem_mib;
	if (orphan_is_fixed(vm, why, sizeof(why)) || !object_settled(&vm->obj))
		answer_error(r->o, r->c->id, r->id,
		    vm->run.unknown && vm->run.fault == 0 ? 503 : 409,
		    "orphan %s cannot be adopted: %s", vm->row.name,
		    object_settled(&vm->obj) ? why : "it is being ended");
	else if (vm_name_is_taken(r->o, r->tenant, name))
		answer_error(
		    r->o, r->c->id, r->id, 409, "vm already exists: %s", name);
	else if (r->tenant->want.deleting)
		answer_error(r->o, r->c->id, r->id, 409,
		    "tenant %s is being deleted", r->tenant->row.name);
	else if (RULE(TENANT_QUOTA) && tenant_fits(r->tenant, &size, &err) < 0)
		req_refuse(r, 403, err.msg);
	else
		adopt(r, vm, name, key);
}

void
verb_orphan_adopt(const struct req *r)
{
	struct orphan_adopt want;
	struct idem_row key;
	struct vm *vm;
	struct err e = { 0 };

	if (table_unpack_all(&orphan_adopt_table, r->doc, r->len, &want, &e) <
	    0) {
		req_refuse(r, 400, e.msg);
		return;
	}
	switch (req_key(r, &key)) {
	case IDEM_OTHER:
		return;
	case IDEM_AGAIN:
		if ((vm = vm_by_vmid(r->o, key.vm)) == NULL)
			req_refuse(r, 410, "the vm of this request is deleted");
		else
			req_join(r, &vm->obj, FOR_ADOPTED, 200);
		return;
	case IDEM_NEW:
		adopt_new(r, want.name, &key);
		return;
	}
}

static void
end(const struct req *r, struct vm *vm, struct idem_row *key)
{
	int e = req_wait(r, &vm->obj, FOR_GONE, 204);

	if (e < 0)
		return;
	key->vm = vm->row.vmid;
	e = vm->row.state == VM_DELETING
	    ? write_key(&vm->obj, key)
	    : vm_step_asked(
		  vm, EV_DELETE, "a host admin ends it", FOR_GONE, key);
	if (e < 0) {
		wait_drop(&vm->obj, r->c->id);
		req_unnoted(r, e);
	} else
		object_wake(&vm->obj);
}

/* No row says that it is to go, so an orchd that began meanwhile has it as an
 * orphan again: a retry of its key ends it, too. */
static void
end_again(const struct req *r, struct idem_row *key)
{
	struct vm *vm = vm_by_vmid(r->o, key->vm);

	if (vm == NULL && !is_known(r))
		return;
	key->key[0] = '\0'; /* it is on the disk */
	if (vm == NULL)
		answer_empty(r->o, r->c->id, r->id, 204);
	else if (vm->orphan.is && vm->obj.life == OBJECT_STORED)
		end(r, vm, key);
	else
		req_refuse(r, 409, "the vm of this request was adopted");
}

void
verb_orphan_delete(const struct req *r)
{
	struct idem_row key;
	struct vm *vm;

	switch (req_key(r, &key)) {
	case IDEM_OTHER:
		return;
	case IDEM_AGAIN:
		end_again(r, &key);
		return;
	case IDEM_NEW:
		if ((vm = find(r)) != NULL)
			end(r, vm, &key);
		return;
	}
}
