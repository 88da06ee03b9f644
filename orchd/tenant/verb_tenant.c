#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cur.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/api/access.h"
#include "orchd/api/answer.h"
#include "orchd/api/choose.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/tenant/tenant.h"
#include "orchd/tenant/tenant_kind.h"
#include "orchd/tenant/tenant_view.h"

void
verb_tenant_get(const struct req *r)
{
	if (r->named != NULL)
		answer_tenant(r->o, r->c->id, r->id, 200, r->named);
	else
		choose_none(r, r->head.var[0]);
}

static int
pack_item(const struct tenant *t, enum tenant_role role, struct wcur *w)
{
	struct tenant_view v;
	int r = tenant_view(t, role, &v);

	if (r == 0)
		r = table_pack_item(&tenant_table, &v, w);
	table_clear(&tenant_table, &v);
	return r;
}

void
verb_tenant_list(const struct req *r)
{
	struct api_res res = {
		.conn = r->c->id, .status = 200, .doc = API_DOC_LIST
	};
	const size_t cap = sizeof(uint32_t) +
	    r->o->tenants.n *
		(sizeof(uint32_t) + table_wire_max(&tenant_table));
	enum tenant_role role;
	struct tenant *t;
	struct wcur w;
	uint8_t *buf;
	uint32_t n = 0;
	int e = 0;

	if ((buf = malloc(cap)) == NULL) {
		req_refuse(r, 500, "out of memory");
		return;
	}
	wcur_init(&w, buf, cap);
	(void)wcur_u32(&w, 0);
	for (t = tenant_first(&r->o->tenants); t != NULL && e == 0;
	     t = tenant_next(t)) {
		role = access_role(r->c, t);
		if (role == TENANT_NONE || t->obj.life != OBJECT_STORED)
			continue;
		e = pack_item(t, role, &w);
		n++;
	}
	memcpy(buf, &n, sizeof(n));
	res.total = n;
	if (e < 0)
		req_refuse(r, 500, "the list is too long");
	else
		answer_doc(r->o, r->id, &res, buf, w.used);
	free(buf);
}

/* --- create --- */

/* The request was done before, or is being done: how it is now. */
static void
again(const struct req *r, int64_t id, unsigned int status)
{
	struct tenant *t = tenant_by_id(&r->o->tenants, id);

	if (t == NULL)
		req_refuse(r, 410, "the tenant of this request is deleted");
	else
		req_join(r, &t->obj, FOR_TENANT, status);
}

static void
refuse_members(const struct req *r)
{
	answer_error(r->o, r->c->id, r->id, 400,
	    "members: a tenant has at most %d: list a group instead",
	    TENANT_MEMBERS_MAX);
}

static void
create_new(
    const struct req *r, const struct tenant_create *want, struct idem_row *key)
{
	struct tenants *all = &r->o->tenants;
	struct tenant_row row = { .id = all->last_id + 1 };
	struct tenant *t;
	int e;

	if (tenant_by_name(all, want->name) != NULL) {
		answer_error(r->o, r->c->id, r->id, 409,
		    "tenant already exists: %s", want->name);
		return;
	}
	if (all->n >= TENANTS_MAX) {
		answer_error(r->o, r->c->id, r->id, 503,
		    "there are %d tenants, and no more may be: delete one",
		    TENANTS_MAX);
		return;
	}
	(void)snprintf(row.name, sizeof(row.name), "%s", want->name);
	if ((t = tenant_new(r->o, &tenant_kind, &row)) == NULL) {
		req_refuse(r, 500, "out of memory");
		return;
	}
	t->want.suspended = want->suspended;
	t->want.weight = want->weight > 0 ? want->weight : TENANT_WEIGHT;
	t->want.created_ns = clock_wall_ns();
	tenant_quotas_take(&t->want.quota, &want->quotas);
	key->vm = (uint64_t)row.id;
	if (member_set_all(&t->want.members, &want->members) < 0)
		refuse_members(r);
	else if (req_wait(r, &t->obj, FOR_TENANT, 201) == 0) {
		if ((e = write_new(&t->obj, WAITS(FOR_TENANT), key)) == 0)
			return;
		wait_drop(&t->obj, r->c->id);
		req_unnoted(r, e);
	}
	tenant_free(t);
}

void
verb_tenant_create(const struct req *r)
{
	struct tenant_create want = { 0 };
	struct idem_row key;
	struct err e = { 0 };

	if (table_unpack_all(&tenant_create_table, r->doc, r->len, &want, &e) <
	    0) {
		req_refuse(r, 400, e.msg);
		return;
	}
	switch (req_key(r, &key)) {
	case IDEM_AGAIN:
		again(r, (int64_t)key.vm, 201);
		break;
	case IDEM_OTHER:
		break;
	case IDEM_NEW:
		create_new(r, &want, &key);
		break;
	}
	table_clear(&tenant_create_table, &want);
}

/* --- change --- */

/* What it may have and when is the host's; false: answered. */
static bool
may_change(const struct req *r, const struct tenant_change *want)
{
	const uint64_t hosts = TABLE_HAS(TENANT_CHANGE_SUSPENDED) |
	    TABLE_HAS(TENANT_CHANGE_QUOTAS) | TABLE_HAS(TENANT_CHANGE_WEIGHT);

	if ((want->has & hosts) == 0 || r->role == TENANT_HOST ||
	    !RULE(TENANT_QUOTA_SET))
		return true;
	req_refuse(r, 403,
	    "suspended, quotas and weight are for host admins: root, and the "
	    "admins of mews.conf");
	return false;
}

static void
change_new(
    const struct req *r, const struct tenant_change *want, struct idem_row *key)
{
	struct tenant *t = r->named;
	struct members members;
	int e;

	if (t == NULL) {
		choose_none(r, r->head.var[0]);
		return;
	}
	if (t->want.deleting) {
		answer_error(r->o, r->c->id, r->id, 409,
		    "tenant %s is being deleted", t->row.name);
		return;
	}
	members = t->want.members;
	if (member_set_all(&members, &want->members) < 0) {
		refuse_members(r);
		return;
	}
	key->vm = (uint64_t)t->row.id;
	if (req_wait(r, &t->obj, FOR_TENANT, 200) < 0)
		return;
	if ((e = write_ask(&t->obj, WAITS(FOR_TENANT), key)) < 0) {
		wait_drop(&t->obj, r->c->id);
		req_unnoted(r, e);
		return;
	}
	t->want.members = members;
	if ((want->has & TABLE_HAS(TENANT_CHANGE_SUSPENDED)) != 0)
		t->want.suspended = want->suspended;
	if ((want->has & TABLE_HAS(TENANT_CHANGE_QUOTAS)) != 0)
		tenant_quotas_take(&t->want.quota, &want->quotas);
	if ((want->has & TABLE_HAS(TENANT_CHANGE_WEIGHT)) != 0)
		t->want.weight = want->weight;
	r->o->tenants.change++;
}

void
verb_tenant_change(const struct req *r)
{
	struct tenant_change want = { 0 };
	struct idem_row key;
	struct err e = { 0 };

	if (table_unpack_all(&tenant_change_table, r->doc, r->len, &want, &e) <
	    0) {
		req_refuse(r, 400, e.msg);
		return;
	}
	if (may_change(r, &want)) {
		switch (req_key(r, &key)) {
		case IDEM_AGAIN:
			again(r, (int64_t)key.vm, 200);
			break;
		case IDEM_OTHER:
			break;
		case IDEM_NEW:
			change_new(r, &want, &key);
			break;
		}
	}
	table_clear(&tenant_change_table, &want);
}

/* --- delete --- */

static void
delete_new(const struct req *r, bool force, struct idem_row *key)
{
	struct tenant *t = r->named;
	int e;

	if (t == NULL) {
		choose_none(r, r->head.var[0]);
		return;
	}
	if (t == r->o->tenants.by_default) {
		req_refuse(r, 409, "the tenant " TENANT_DEFAULT " stays");
		return;
	}
	if (t->used.n[TENANT_VMS] > 0 && !force && !t->want.deleting) {
		answer_error(r->o, r->c->id, r->id, 409,
		    "tenant %s still has %llu vms: delete them, or it with all "
		    "that it has (force=1, mews tenant rm --force)",
		    t->row.name, (unsigned long long)t->used.n[TENANT_VMS]);
		return;
	}
	key->vm = (uint64_t)t->row.id;
	if (req_wait(r, &t->obj, FOR_TENANT_GONE, 204) < 0)
		return;
	if ((e = write_ask(&t->obj, WAITS(FOR_TENANT_GONE), key)) < 0) {
		wait_drop(&t->obj, r->c->id);
		req_unnoted(r, e);
		return;
	}
	t->want.deleting = true;
	r->o->tenants.change++;
	log_info("tenant %s: is being deleted, with %llu vms", t->row.name,
	    (unsigned long long)t->used.n[TENANT_VMS]);
}

void
verb_tenant_delete(const struct req *r)
{
	struct tenant_delete want = { 0 };
	struct idem_row key;
	struct tenant *t;
	struct err e = { 0 };

	if (r->len > 0 &&
	    table_unpack_all(&tenant_delete_table, r->doc, r->len, &want, &e) <
		0) {
		req_refuse(r, 400, e.msg);
		return;
	}
	switch (req_key(r, &key)) {
	case IDEM_AGAIN:
		if ((t = tenant_by_id(&r->o->tenants, (int64_t)key.vm)) != NULL)
			req_join(r, &t->obj, FOR_TENANT_GONE, 204);
		else
			answer_empty(r->o, r->c->id, r->id, 204);
		break;
	case IDEM_OTHER:
		break;
	case IDEM_NEW:
		delete_new(r, want.force != 0, &key);
		break;
	}
}
