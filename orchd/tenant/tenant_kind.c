#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/object/idem.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/stored.h"
#include "orchd/tenant/tenant.h"
#include "orchd/tenant/tenant_kind.h"
#include "orchd/vm/vm_step.h"
#include "proto/jbuf.h"

#define STORE_MS 17000U /* for the store alone */
/* Its VMs, which stop all at once. */
#define GONE_MS 600000U
/* Numbers of one whose last ones are not known go on from here. */
#define MISSING_FROM (INT64_C(1) << 40)

static struct tenant *
tenant_of(struct object *obj)
{
	return (struct tenant *)obj;
}

static const char *
title(const struct object *obj)
{
	return ((const struct tenant *)obj)->row.name;
}

/* --- to the store --- */

static int
save_spec(struct txn *t, struct tenant *tn, enum write_op op)
{
	struct tenant_row row = tn->row;
	struct tenant_spec spec;
	struct jbuf b;
	int r;

	if ((r = tenant_state_give(&tn->want, &spec)) < 0)
		return r;
	jbuf_init(&b, TABLE_JSON_MAX);
	if ((r = table_store(&stored_tenant, &spec, &b, NULL)) == 0) {
		row.spec =
		    (struct store_doc){ b.p, b.len, stored_tenant.version };
		if (op == WRITE_NEW)
			txn_tenant_put(t, &row);
		else
			txn_tenant_set(t, &row);
		/* the reserve is for what ends something */
		if ((op == WRITE_NEW && tn->broken[0] == '\0') ||
		    tenant_grows(tn) || tenant_stays(tn))
			txn_needs_room(t);
		tn->sent = tn->want;
	}
	jbuf_free(&b);
	table_clear(&tenant_spec_table, &spec);
	return r;
}

static int
save(struct txn *t, const struct object *obj, enum write_op op)
{
	struct tenant *tn = (struct tenant *)(uintptr_t)obj;

	if (op != WRITE_DEL)
		return save_spec(t, tn, op);
	txn_tenant_del(t, tn->row.id);
	return 0;
}

/* Nobody is told of tenants. */
static uint64_t
event(struct txn *t, const struct object *obj, const struct note *n)
{
	(void)t;
	(void)obj;
	(void)n;
	return 0;
}

/* --- its way out --- */

/* All that it has goes, and then it. */
static void
converge(struct object *obj)
{
	struct tenant *t = tenant_of(obj);
	struct vm *vm;

	if (!t->want.deleting)
		return;
	if (t->used.n[TENANT_VMS] == 0) {
		write_del(obj, WAITS(FOR_TENANT_GONE));
		return;
	}
	TAILQ_FOREACH (vm, &obj->orchd->vms.list, entry) {
		if (vm->obj.tenant == t && vm->obj.life == OBJECT_STORED &&
		    vm->row.state != VM_DELETING)
			(void)vm_step(
			    vm, EV_DELETE, "its tenant is being deleted");
	}
}

/* --- to those who wait --- */

static uint64_t
patience_ms(const struct object *obj, uint32_t what)
{
	(void)obj;
	return what == FOR_TENANT ? STORE_MS : GONE_MS;
}

static bool
due(const struct object *obj, const struct waiter *w)
{
	return w->what == FOR_TENANT || obj->life == OBJECT_GONE;
}

static void
answer(struct object *obj, const struct waiter *w)
{
	if (w->what == FOR_TENANT_GONE)
		answer_empty(obj->orchd, w->conn, w->id, w->status);
	else if (obj->life == OBJECT_GONE)
		answer_error(obj->orchd, w->conn, w->id, 409,
		    "tenant %s was deleted meanwhile", title(obj));
	else
		answer_tenant(
		    obj->orchd, w->conn, w->id, w->status, tenant_of(obj));
}

static void
late(struct object *obj, const struct waiter *w)
{
	const struct tenant *t = tenant_of(obj);

	if (!object_settled(obj))
		answer_error(obj->orchd, w->conn, w->id, 503,
		    "tenant %s: the store cannot be written; it goes on by "
		    "itself once that is over",
		    title(obj));
	else
		answer_error(obj->orchd, w->conn, w->id, 503,
		    "tenant %s still has %llu vms, which are being deleted; it "
		    "goes on by itself",
		    title(obj), (unsigned long long)t->used.n[TENANT_VMS]);
}

static void
undone(struct object *obj, const struct waiter *w, int r)
{
	answer_error(obj->orchd, w->conn, w->id, r == -ENOSPC ? 507 : 500,
	    "tenant %s: not done: %s", title(obj),
	    r == -ENOSPC       ? "the store is full"
		: r == -ENOMEM ? "out of memory"
			       : "the store cannot be written");
}

/* Who may do less from now on keeps nothing open that he may not. */
static void
kept(struct object *obj, uint32_t asked)
{
	struct tenant *t = tenant_of(obj);

	if (asked != 0)
		t->broken[0] = '\0'; /* it says again what is wanted */
	t->kept = t->sent;
	obj->orchd->tenants.change++;
	conn_tenant_changed(obj->orchd, t);
}

/* So does nobody who has been refused meanwhile. */
static void
dropped(struct object *obj, uint32_t asked, void *was)
{
	(void)asked;
	(void)was;
	obj->orchd->tenants.change++;
}

static void
tenant_object_free(struct object *obj)
{
	struct tenant *t = tenant_of(obj);

	if (obj->life == OBJECT_GONE)
		log_info("tenant %s: gone", title(obj));
	conn_tenant_gone(obj->orchd, t);
	idem_forget_tenant(obj->orchd, t->row.id);
	tenant_free(t);
}

const struct object_kind tenant_kind = {
	.name = "tenant",
	.row = offsetof(struct tenant, want),
	.rowlen = sizeof(struct tenant_state),
	.title = title,
	.save = save,
	.event = event,
	.converge = converge,
	.patience_ms = patience_ms,
	.due = due,
	.answer = answer,
	.late = late,
	.undone = undone,
	.kept = kept,
	.dropped = dropped,
	.free = tenant_object_free,
};

/* What it said is not known: nobody has a role by it, and what runs goes on. */
static void
tenant_break(struct tenant *t, const char *why)
{
	log_error("tenant %s: %s; nobody is in it until a host admin says "
		  "anew who is (mews tenant set), or removes it",
	    t->row.name, why);
	(void)snprintf(t->broken, sizeof(t->broken), "%.120s", why);
	t->want =
	    (struct tenant_state){ .suspended = true, .weight = TENANT_WEIGHT };
	t->kept = t->sent = t->want;
}

int
tenant_load(struct orchd *o, const struct tenant_row *row, struct err *e)
{
	struct tenant *t = tenant_new(o, &tenant_kind, row);
	struct tenant_spec spec = { 0 };
	int r;

	if (t == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	t->obj.life = OBJECT_STORED;
	r = table_restore(&stored_tenant, row->spec.version, row->spec.text,
	    row->spec.len, &spec, e);
	if (r == 0 && (r = tenant_state_take(&t->want, &spec)) < 0)
		(void)err_set(e, r, "too many members");
	table_clear(&tenant_spec_table, &spec);
	t->kept = t->sent = t->want;
	if (r == 0 || r == -ENOMEM)
		return r;
	tenant_break(t, e->msg);
	return 0;
}

struct tenant *
tenant_missing(struct orchd *o, int64_t id)
{
	/* others than its VMs and events have */
	struct tenant_row row = {
		.id = id, .last_id = MISSING_FROM, .last_seq = MISSING_FROM
	};
	struct tenant *t = tenant_by_id(&o->tenants, id);
	int n;

	if (t != NULL)
		return t;
	for (n = 0; n == 0 || tenant_by_name(&o->tenants, row.name) != NULL;
	     n++)
		(void)snprintf(row.name, sizeof(row.name),
		    n == 0 ? "broken-%lld" : "broken-%lld-%d", (long long)id,
		    n);
	if ((t = tenant_new(o, &tenant_kind, &row)) != NULL)
		tenant_break(t, "its row in the store is missing");
	return t;
}

void
tenants_begin(struct orchd *o)
{
	static const struct idem_row none;
	struct tenant *t;

	for (t = tenant_first(&o->tenants); t != NULL; t = tenant_next(t)) {
		if (t->obj.life == OBJECT_NEW)
			(void)write_new(&t->obj, 0, &none);
		else if (t->want.deleting)
			object_wake(&t->obj);
	}
}
