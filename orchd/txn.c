#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchd/store.h"
#include "orchd/store_int.h"

enum op_kind {
	OP_VM_PUT,
	OP_VM_SET,
	OP_VM_NAME,
	OP_VM_DEL,
	OP_EVENT,
	OP_IDEM,
	OP_IDEM_DEL,
	OP_TENANT_PUT,
	OP_TENANT_SET,
	OP_TENANT_DEL,
	OP_AUDIT
};

/* One change, with its own copy of everything behind pointers. */
struct op {
	STAILQ_ENTRY(op) entry;
	enum op_kind kind;
	union {
		struct vm_row vm;
		struct event_row event;
		struct idem_row idem;
		struct tenant_row tenant;
		struct audit_row audit;
	} u;
	size_t textlen;
	char text[];
};

static void
op_free(struct op *o)
{
	explicit_bzero(o->text, o->textlen); /* a request holds secrets */
	free(o);
}

void
txn_free(struct txn *t)
{
	struct op *o;

	if (t == NULL)
		return;
	while ((o = STAILQ_FIRST(&t->ops)) != NULL) {
		STAILQ_REMOVE_HEAD(&t->ops, entry);
		op_free(o);
	}
	free(t);
}

struct txn *
txn_new(struct store *s, void (*done)(void *arg, int r), void *arg)
{
	struct txn *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	STAILQ_INIT(&t->ops);
	t->store = s;
	t->done = done;
	t->arg = arg;
	return t;
}

static struct op *
op_add(struct txn *t, enum op_kind kind, const char *text, size_t len)
{
	struct op *o = calloc(1, sizeof(*o) + len);

	if (o == NULL) {
		t->result = -ENOMEM;
		return NULL;
	}
	o->kind = kind;
	o->textlen = len;
	if (len > 0)
		memcpy(o->text, text, len);
	STAILQ_INSERT_TAIL(&t->ops, o, entry);
	return o;
}

void
txn_vm_put(struct txn *t, const struct vm_row *row)
{
	struct op *o =
	    op_add(t, OP_VM_PUT, row->request.text, row->request.len);

	if (o == NULL)
		return;
	o->u.vm = *row;
	o->u.vm.request.text = o->text;
}

void
txn_vm_set(struct txn *t, const struct vm_row *row)
{
	struct op *o = op_add(t, OP_VM_SET, NULL, 0);

	if (o == NULL)
		return;
	o->u.vm = *row;
	o->u.vm.request = (struct store_doc){ 0 };
}

void
txn_vm_name(struct txn *t, uint64_t vmid, const char *name)
{
	struct op *o = op_add(t, OP_VM_NAME, NULL, 0);

	if (o == NULL)
		return;
	o->u.vm.vmid = vmid;
	(void)snprintf(o->u.vm.name, sizeof(o->u.vm.name), "%s", name);
}

void
txn_vm_del(struct txn *t, uint64_t vmid)
{
	struct op *o = op_add(t, OP_VM_DEL, NULL, 0);

	if (o != NULL)
		o->u.vm.vmid = vmid;
}

void
txn_event(struct txn *t, const struct event_row *row)
{
	struct op *o = op_add(t, OP_EVENT, row->body.text, row->body.len);

	if (o == NULL)
		return;
	o->u.event = *row;
	o->u.event.body.text = o->text;
}

void
txn_idem(struct txn *t, const struct idem_row *row)
{
	struct op *o = op_add(t, OP_IDEM, NULL, 0);

	if (o != NULL)
		o->u.idem = *row;
}

void
txn_idem_del(struct txn *t, const struct idem_row *row)
{
	struct op *o = op_add(t, OP_IDEM_DEL, NULL, 0);

	if (o != NULL)
		o->u.idem = *row;
}

static void
add_tenant(struct txn *t, enum op_kind kind, const struct tenant_row *row)
{
	struct op *o = op_add(t, kind, row->spec.text, row->spec.len);

	if (o == NULL)
		return;
	o->u.tenant = *row;
	o->u.tenant.spec.text = o->text;
}

void
txn_tenant_put(struct txn *t, const struct tenant_row *row)
{
	add_tenant(t, OP_TENANT_PUT, row);
}

void
txn_tenant_set(struct txn *t, const struct tenant_row *row)
{
	add_tenant(t, OP_TENANT_SET, row);
}

void
txn_tenant_del(struct txn *t, int64_t id)
{
	const struct tenant_row row = { .id = id };

	add_tenant(t, OP_TENANT_DEL, &row);
}

void
txn_audit(struct txn *t, const struct audit_row *row)
{
	struct op *o = op_add(t, OP_AUDIT, row->entry.text, row->entry.len);

	if (o == NULL)
		return;
	o->u.audit = *row;
	o->u.audit.entry.text = o->text;
}

static int
op_run(sqlite3_stmt *stmt[STMT_MAX], const struct op *o)
{
	switch (o->kind) {
	case OP_VM_PUT:
		return sql_vm_put(stmt, &o->u.vm);
	case OP_VM_SET:
		return sql_vm_set(stmt, &o->u.vm);
	case OP_VM_NAME:
		return sql_vm_name(stmt, &o->u.vm);
	case OP_VM_DEL:
		return sql_vm_del(stmt, &o->u.vm);
	case OP_EVENT:
		return sql_event(stmt, &o->u.event);
	case OP_IDEM:
		return sql_idem(stmt, &o->u.idem);
	case OP_IDEM_DEL:
		return sql_idem_del(stmt, &o->u.idem);
	case OP_TENANT_PUT:
		return sql_tenant_put(stmt, &o->u.tenant);
	case OP_TENANT_SET:
		return sql_tenant_set(stmt, &o->u.tenant);
	case OP_TENANT_DEL:
		return sql_tenant_del(stmt, &o->u.tenant);
	case OP_AUDIT:
		return sql_audit(stmt, &o->u.audit);
	}
	return -EINVAL;
}

int
txn_apply(const struct txn *t, sqlite3_stmt *stmt[STMT_MAX])
{
	const struct op *o;
	int r;

	STAILQ_FOREACH(o, &t->ops, entry)
	{
		if ((r = op_run(stmt, o)) < 0)
			return r;
	}
	return 0;
}

void
txn_needs_room(struct txn *t)
{
	t->needs_room = true;
}
