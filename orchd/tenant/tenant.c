#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/tenant/tenant.h"

static int
cmp_id(const struct tenant *a, const struct tenant *b)
{
	return a->row.id < b->row.id ? -1 : a->row.id > b->row.id;
}

static int
cmp_name(const struct tenant *a, const struct tenant *b)
{
	return strcmp(a->row.name, b->row.name);
}

/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it is in both trees, or freed */
RB_GENERATE_STATIC(tenant_id_tree, tenant, by_id, cmp_id)
RB_GENERATE_STATIC(tenant_name_tree, tenant, by_name, cmp_name)

void
tenants_init(struct tenants *all)
{
	unsigned int i;

	RB_INIT(&all->by_id);
	RB_INIT(&all->by_name);
	all->by_default = NULL;
	all->n = 0;
	all->is_divided = false;
	all->last_id = 0;
	all->change = 1;
	memset(&all->nobody, 0, sizeof(all->nobody));
	all->nobody.row.id = -1; /* no row's (rows.c) */
	all->nobody.want.weight = 1;
	for (i = 0; i < GATES; i++)
		line_init(&all->nobody.line[i], &all->nobody.want.weight);
}

struct tenant *
tenant_new(struct orchd *o, const struct object_kind *kind,
    const struct tenant_row *row)
{
	struct tenants *all = &o->tenants;
	struct tenant *t;
	unsigned int i;

	if (tenant_by_id(all, row->id) != NULL ||
	    tenant_by_name(all, row->name) != NULL ||
	    (t = calloc(1, sizeof(*t))) == NULL)
		return NULL;
	object_init(&t->obj, kind, o);
	t->obj.key = (uint64_t)row->id;
	t->obj.tenant = t;
	t->row = *row;
	t->row.spec = (struct store_doc){ 0 };
	t->told_seq = row->last_seq;
	for (i = 0; i < GATES; i++)
		line_init(&t->line[i], &t->want.weight);
	(void)RB_INSERT(tenant_id_tree, &all->by_id, t);
	(void)RB_INSERT(tenant_name_tree, &all->by_name, t);
	if (strcmp(row->name, TENANT_DEFAULT) == 0)
		all->by_default = t;
	all->is_divided = ++all->n > 1;
	tenant_number_given(all, row->id);
	return t;
}

void
tenant_number_given(struct tenants *all, int64_t id)
{
	/* one that is none is of a row that nobody may have written */
	if (all->last_id < id && id < ROW_COUNT_MAX)
		all->last_id = id;
}

void
tenant_free(struct tenant *t)
{
	struct tenants *all = &t->obj.orchd->tenants;

	(void)RB_REMOVE(tenant_id_tree, &all->by_id, t);
	(void)RB_REMOVE(tenant_name_tree, &all->by_name, t);
	if (all->by_default == t)
		all->by_default = NULL;
	all->is_divided = --all->n > 1;
	all->change++;
	wait_clear(&t->obj);
	write_clear(&t->obj);
	object_clear(&t->obj);
	free(t);
}

struct tenant *
tenant_by_id(const struct tenants *all, int64_t id)
{
	struct tenant key = { .row = { .id = id } };

	return RB_FIND(tenant_id_tree,
	    (struct tenant_id_tree *)(uintptr_t)&all->by_id, &key);
}

struct tenant *
tenant_by_name(const struct tenants *all, const char *name)
{
	struct tenant key = { .row = { .id = 0 } };

	(void)snprintf(key.row.name, sizeof(key.row.name), "%s", name);
	return RB_FIND(tenant_name_tree,
	    (struct tenant_name_tree *)(uintptr_t)&all->by_name, &key);
}

struct tenant *
tenant_first(const struct tenants *all)
{
	return RB_MIN(tenant_name_tree,
	    (struct tenant_name_tree *)(uintptr_t)&all->by_name);
}

struct tenant *
tenant_next(struct tenant *t)
{
	return RB_NEXT(tenant_name_tree, NULL, t);
}

/* --- as the store has it --- */

void
tenant_quotas_take(struct amounts *q, const struct tenant_amounts *want)
{
	struct tenant_amounts copy = *want;
	unsigned int i;

	for (i = 0; i < TENANT_AMOUNTS; i++)
		if ((want->has & TABLE_HAS(i)) != 0)
			q->n[i] = *tenant_amount(&copy, (enum tenant_amount)i);
}

void
tenant_amounts_give(const struct amounts *a, struct tenant_amounts *ret)
{
	unsigned int i;

	memset(ret, 0, sizeof(*ret));
	for (i = 0; i < TENANT_AMOUNTS; i++) {
		*tenant_amount(ret, (enum tenant_amount)i) =
		    a->n[i] < TENANT_AMOUNT_MAX ? a->n[i] : TENANT_AMOUNT_MAX;
		ret->has |= TABLE_HAS(i);
	}
}

int
tenant_state_take(struct tenant_state *s, const struct tenant_spec *spec)
{
	memset(s, 0, sizeof(*s));
	s->suspended = spec->suspended;
	s->deleting = spec->deleting;
	s->created_ns = spec->created_at;
	s->weight = spec->weight > 0 ? spec->weight : TENANT_WEIGHT;
	tenant_quotas_take(&s->quota, &spec->quotas);
	return member_set_all(&s->members, &spec->members);
}

int
tenant_state_give(const struct tenant_state *s, struct tenant_spec *spec)
{
	struct tenant_member *m = NULL;
	uint32_t i;

	memset(spec, 0, sizeof(*spec));
	if (s->members.n > 0 && (m = calloc(s->members.n, sizeof(*m))) == NULL)
		return -ENOMEM;
	spec->suspended = s->suspended;
	spec->deleting = s->deleting;
	spec->created_at = s->created_ns;
	spec->weight = s->weight;
	tenant_amounts_give(&s->quota, &spec->quotas);
	for (i = 0; i < s->members.n; i++) {
		m[i].kind = s->members.m[i].kind;
		m[i].id = s->members.m[i].id;
		m[i].role = s->members.m[i].role;
	}
	spec->members = (struct objs){ m, s->members.n };
	return 0;
}

static bool
has_role(const struct members *all, const struct member *m)
{
	uint32_t i;

	for (i = 0; i < all->n; i++)
		if (all->m[i].kind == m->kind && all->m[i].id == m->id)
			return all->m[i].role >= m->role;
	return false;
}

bool
tenant_grows(const struct tenant *t)
{
	const struct tenant_state *to = &t->want, *from = &t->kept;
	unsigned int i;

	if ((from->suspended && !to->suspended) || to->weight > from->weight)
		return true;
	for (i = 0; i < TENANT_AMOUNTS; i++) {
		if (from->quota.n[i] != 0 &&
		    (to->quota.n[i] == 0 || to->quota.n[i] > from->quota.n[i]))
			return true;
	}
	for (i = 0; i < to->members.n; i++)
		if (!has_role(&from->members, &to->members.m[i]))
			return true;
	return false;
}

static bool
is_same(const struct members *a, const struct members *b)
{
	uint32_t i;

	for (i = 0; i < a->n && i < b->n; i++)
		if (a->m[i].kind != b->m[i].kind || a->m[i].id != b->m[i].id ||
		    a->m[i].role != b->m[i].role)
			return false;
	return a->n == b->n;
}

bool
tenant_stays(const struct tenant *t)
{
	const struct tenant_state *to = &t->want, *from = &t->kept;

	return to->suspended == from->suspended &&
	    to->deleting == from->deleting &&
	    memcmp(&to->quota, &from->quota, sizeof(to->quota)) == 0 &&
	    is_same(&to->members, &from->members);
}

/* --- what may be done in it --- */

static enum tenant_role
role_by(
    const struct tenant_state *s, const struct creds *c, enum tenant_role base)
{
	enum tenant_role role = member_role(&s->members, c);

	if (role < base)
		role = base;
	return s->suspended || s->deleting ? role_least(role, TENANT_VIEWER)
					   : role;
}

enum tenant_role
tenant_role_of(
    const struct tenant *t, const struct creds *c, enum tenant_role base)
{
	return role_least(
	    role_by(&t->want, c, base), role_by(&t->kept, c, base));
}

/* --- what it has --- */

static struct amounts
amounts_of(const struct vm_create *vm)
{
	return (struct amounts){ .n = {
				     [TENANT_VMS] = 1,
				     [TENANT_CPUS] = vm->cpu_cores > 0
					 ? (uint64_t)vm->cpu_cores
					 : 0,
				     [TENANT_MEMORY_MB] = vm->memory_mb > 0
					 ? (uint64_t)vm->memory_mb
					 : 0,
				 } };
}

void
tenant_charge(struct tenant *t, const struct vm_create *vm)
{
	const struct amounts a = amounts_of(vm);
	unsigned int i;

	for (i = 0; i < TENANT_AMOUNTS; i++)
		t->used.n[i] += a.n[i];
}

void
tenant_discharge(struct tenant *t, const struct vm_create *vm)
{
	const struct amounts a = amounts_of(vm);
	unsigned int i;

	for (i = 0; i < TENANT_AMOUNTS; i++)
		t->used.n[i] -= a.n[i];
}

uint64_t
tenant_limit(const struct tenant *t, enum tenant_amount what)
{
	const uint64_t to = t->want.quota.n[what], is = t->kept.quota.n[what];

	return to == 0 || (is != 0 && is < to) ? is : to;
}

static int
fits(const struct tenant *t, enum tenant_amount what, uint64_t more,
    struct err *e)
{
	const uint64_t has = t->used.n[what], most = tenant_limit(t, what);

	if (most == 0 || more == 0 || has + more <= most)
		return 0;
	return err_set(e, -EDQUOT,
	    "quota %s of tenant %s: it has %" PRIu64 " of %" PRIu64
	    ", and this takes %" PRIu64 ": %s, or ask a host admin for more",
	    what == TENANT_MEMORY_MB ? "memory" : tenant_amount_name(what),
	    t->row.name, has, most, more,
	    what <= TENANT_MEMORY_MB ? "delete what is not needed"
				     : "wait until some of them end");
}

int
tenant_fits(const struct tenant *t, const struct vm_create *vm, struct err *e)
{
	const struct amounts a = amounts_of(vm);
	unsigned int i;
	int r;

	for (i = 0; i <= TENANT_MEMORY_MB; i++)
		if ((r = fits(t, (enum tenant_amount)i, a.n[i], e)) < 0)
			return r;
	return 0;
}

int
tenant_take(struct tenant *t, enum tenant_amount what, struct err *e)
{
	int r = fits(t, what, 1, e);

	if (r == 0)
		t->used.n[what]++;
	return r;
}

void
tenant_give(struct tenant *t, enum tenant_amount what)
{
	if (t->used.n[what] > 0)
		t->used.n[what]--;
}

int
tenant_ask(struct tenant *t, int64_t now_ms, struct err *e)
{
	const uint64_t rate = tenant_limit(t, TENANT_REQUESTS);
	const uint64_t burst_ms = RATE_BURST_S * UINT64_C(1000);
	const uint64_t most = rate * burst_ms;
	uint64_t ms = (uint64_t)(now_ms - t->rate.at_ms);

	if (rate == 0)
		return 0;
	if (t->rate.at_ms == 0 || ms > burst_ms)
		ms = burst_ms;
	t->rate.at_ms = now_ms;
	t->rate.left += ms * rate;
	if (t->rate.left > most)
		t->rate.left = most;
	if (t->rate.left < 1000)
		return err_set(e, -EDQUOT,
		    "quota requests of tenant %s: its members have %" PRIu64
		    " a second: ask less often, or a host admin for more",
		    t->row.name, rate);
	t->rate.left -= 1000;
	return 0;
}
