#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/util.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/tenant/tenant.h"
#include "proto/objects.h"
#include "tests/suite/t.h"

/* Tenants by number and by name; who is in one; what it has. */
static struct orchd o;

void
write_clear(struct object *obj)
{
	(void)obj;
}

static struct tenant *
add(int64_t id, const char *name)
{
	struct tenant_row row = { .id = id, .last_seq = 10, .last_id = 3 };

	(void)snprintf(row.name, sizeof(row.name), "%s", name);
	return tenant_new(&o, NULL, &row);
}

static void
clear(void)
{
	struct tenant *t;

	while ((t = tenant_first(&o.tenants)) != NULL)
		tenant_free(t);
	t_eq(o.tenants.n, 0);
}

static void
test_find(void)
{
	struct tenants *all = &o.tenants;

	tenants_init(all);
	t_true(tenant_by_id(all, 1) == NULL);
	t_true(add(1, TENANT_DEFAULT) != NULL);
	t_true(add(7, "b") != NULL);
	t_true(add(3, "a") != NULL);
	t_eq(all->n, 3);
	t_eq(all->last_id, 7);
	t_eq(tenant_by_name(all, "a")->row.id, 3);
	t_str(tenant_by_id(all, 7)->row.name, "b");
	t_true(tenant_by_name(all, "c") == NULL);
	t_str(tenant_first(all)->row.name, "a");
	t_str(tenant_next(tenant_first(all))->row.name, "b");
	/* "now" is what the store had */
	t_eq(tenant_by_id(all, 7)->told_seq, 10);
	t_true(add(1, "c") == NULL); /* each once */
	t_true(add(2, "a") == NULL);
	clear();
	t_true(tenant_by_name(all, "a") == NULL);
}

/* --- who is in it --- */

static int
set(struct members *all, uint8_t kind, uint32_t id, uint8_t role)
{
	const struct tenant_member m = { .kind = kind, .id = id, .role = role };

	return member_set(all, &m);
}

static void
test_member(void)
{
	static const gid_t gids[] = { 5, 50, 500 };
	const struct creds alice = {
		.uid = 1000, .ngroups = nitems(gids), .groups = gids
	};
	const struct creds bob = { .uid = 1001, .ngroups = 0, .groups = NULL };
	struct members all = { .n = 0 };

	t_eq(member_role(&all, &alice), TENANT_NONE);
	t_eq(set(&all, MEMBER_GROUP, 50, TENANT_VIEWER), 0);
	t_eq(member_role(&all, &alice), TENANT_VIEWER);
	t_eq(member_role(&all, &bob), TENANT_NONE);
	/* a user's number is no group's */
	t_eq(set(&all, MEMBER_USER, 50, TENANT_ADMIN), 0);
	t_eq(set(&all, MEMBER_GROUP, 1001, TENANT_ADMIN), 0);
	t_eq(member_role(&all, &alice), TENANT_VIEWER);
	t_eq(member_role(&all, &bob), TENANT_NONE);
	/* of several, the most */
	t_eq(set(&all, MEMBER_USER, 1000, TENANT_OPERATOR), 0);
	t_eq(set(&all, MEMBER_GROUP, 500, TENANT_ADMIN), 0);
	t_eq(member_role(&all, &alice), TENANT_ADMIN);
	t_eq(set(&all, MEMBER_GROUP, 500, TENANT_NONE), 0);
	t_eq(member_role(&all, &alice), TENANT_OPERATOR);
	t_eq(set(&all, MEMBER_USER, 1000, TENANT_VIEWER), 0);
	t_eq(member_role(&all, &alice), TENANT_VIEWER);
	t_eq(all.n, 4);
	t_eq(set(&all, MEMBER_USER, 9, TENANT_NONE), 0); /* it is not there */
	t_eq(all.n, 4);
}

static void
test_groups(void)
{
	gid_t gids[9];
	struct creds c = { .uid = 1, .ngroups = 0, .groups = gids };
	struct members all = { .n = 0 };
	uint32_t n, i;

	t_eq(set(&all, MEMBER_GROUP, 20, TENANT_VIEWER), 0);
	for (n = 1; n <= nitems(gids); n++) {
		for (i = 0; i < n; i++)
			gids[i] = 100 + i;
		c.ngroups = n;
		t_eq(member_role(&all, &c), TENANT_NONE);
		for (i = 0; i < n; i++) {
			gids[i] = 20; /* those before it are less */
			for (uint32_t k = 0; k < i; k++)
				gids[k] = k;
			t_eq(member_role(&all, &c), TENANT_VIEWER);
			gids[i] = 100;
		}
	}
}

static void
test_full(void)
{
	static struct members all, was;
	struct tenant_member more[2] = {
		{ .kind = MEMBER_USER, .id = 0, .role = TENANT_NONE },
		{ .kind = MEMBER_USER, .id = 5000, .role = TENANT_ADMIN },
	};
	const struct objs list = { more, 2 };
	uint32_t i;

	for (i = 0; i < TENANT_MEMBERS_MAX; i++)
		t_eq(set(&all, MEMBER_USER, i, TENANT_VIEWER), 0);
	t_eq(set(&all, MEMBER_USER, 999, TENANT_VIEWER), -E2BIG);
	t_eq(set(&all, MEMBER_USER, 5, TENANT_ADMIN), 0);
	was = all;
	more[0].id = 99999;
	t_eq(member_set_all(&all, &list), -E2BIG); /* nothing of it */
	t_mem(&all, sizeof(all), &was, sizeof(was));
	more[0].id = 0;
	t_eq(member_set_all(&all, &list), 0);
	t_eq(all.n, TENANT_MEMBERS_MAX);
}

/* What is taken counts at once, what is given when the disk has it. */
static void
test_role(void)
{
	const struct creds alice = {
		.uid = 1000, .ngroups = 0, .groups = NULL
	};
	struct tenant *t;

	tenants_init(&o.tenants);
	if ((t = add(2, "a")) == NULL)
		abort();
	t_eq(set(&t->want.members, MEMBER_USER, 1000, TENANT_ADMIN), 0);
	t_eq(tenant_role_of(t, &alice, TENANT_NONE), TENANT_NONE);
	t->kept = t->want;
	t_eq(tenant_role_of(t, &alice, TENANT_NONE), TENANT_ADMIN);
	t_eq(set(&t->want.members, MEMBER_USER, 1000, TENANT_NONE), 0);
	t_eq(tenant_role_of(t, &alice, TENANT_NONE), TENANT_NONE);
	/* what he is anyway */
	t_eq(tenant_role_of(t, &alice, TENANT_OPERATOR), TENANT_OPERATOR);
	t->want.suspended = true;
	t_eq(tenant_role_of(t, &alice, TENANT_OPERATOR), TENANT_VIEWER);
	t->kept.suspended = true;
	t->want.suspended = false;
	t_eq(tenant_role_of(t, &alice, TENANT_OPERATOR), TENANT_VIEWER);
	t->kept.suspended = false;
	t->want.deleting = true;
	t_eq(tenant_role_of(t, &alice, TENANT_OPERATOR), TENANT_VIEWER);
	clear();
}

/* What takes something in, against what only ends something. */
static void
test_grows(void)
{
	struct tenant *t;

	tenants_init(&o.tenants);
	if ((t = add(2, "a")) == NULL)
		abort();
	t_true(!tenant_grows(t));
	t_eq(set(&t->want.members, MEMBER_USER, 7, TENANT_OPERATOR), 0);
	t_true(tenant_grows(t));
	t->kept = t->want;
	t_true(!tenant_grows(t));
	t_true(tenant_stays(t));
	t_eq(set(&t->want.members, MEMBER_USER, 7, TENANT_ADMIN), 0);
	t_true(!tenant_stays(t));
	t_true(tenant_grows(t));
	t_eq(set(&t->want.members, MEMBER_USER, 7, TENANT_VIEWER), 0);
	t_true(!tenant_grows(t));
	t_eq(set(&t->want.members, MEMBER_GROUP, 7, TENANT_VIEWER), 0);
	t_true(tenant_grows(t));
	t_true(!tenant_stays(t));
	t->want.members = t->kept.members;
	t_true(tenant_stays(t));
	t_eq(set(&t->want.members, MEMBER_USER, 7, TENANT_NONE), 0);
	t_true(!tenant_stays(t)); /* one less */
	t->want.members = t->kept.members;
	t->want.quota.n[TENANT_CPUS] = 4; /* less than none of its own */
	t_true(!tenant_grows(t));
	t_true(!tenant_stays(t));
	t->kept.quota.n[TENANT_CPUS] = 4;
	t->want.quota.n[TENANT_CPUS] = 5;
	t_true(tenant_grows(t));
	t->want.quota.n[TENANT_CPUS] = 0;
	t_true(tenant_grows(t));
	t->want.quota.n[TENANT_CPUS] = 3;
	t->want.quota = t->kept.quota;
	t->want.deleting = true;
	t_true(!tenant_stays(t));
	t->want.deleting = false;
	t_true(tenant_stays(t));
	t->want.suspended = true;
	t_true(!tenant_stays(t));
	t->want.quota.n[TENANT_CPUS] = 3;
	t->want.deleting = true;
	t_true(!tenant_grows(t));
	t->want.weight = 2;
	t_true(tenant_grows(t));
	t->kept.weight = 3;
	t_true(!tenant_grows(t));
	t->kept.suspended = true;
	t->want.suspended = false;
	t_true(tenant_grows(t));
	clear();
}

/* --- what it has --- */

static struct tenant *
begin_quota(void)
{
	struct tenant *t;

	tenants_init(&o.tenants);
	if ((t = add(2, "a")) == NULL)
		abort();
	return t;
}

static void
test_quota(void)
{
	const struct vm_create vm = { .cpu_cores = 2, .memory_mb = 512 };
	struct tenant *t = begin_quota();
	uint64_t *may = t->want.quota.n, *has = t->used.n;
	struct err e = { 0 };

	t_eq(tenant_fits(t, &vm, &e), 0); /* none of its own */
	may[TENANT_VMS] = 2;
	may[TENANT_CPUS] = 4;
	may[TENANT_MEMORY_MB] = 1024;
	tenant_charge(t, &vm);
	t_eq(tenant_fits(t, &vm, &e), 0);
	tenant_charge(t, &vm);
	t_eq(has[TENANT_MEMORY_MB], 1024);
	t_eq(tenant_fits(t, &vm, &e), -EDQUOT);
	t_true(strstr(e.msg, "quota vms of tenant a: it has 2 of 2") != NULL);
	may[TENANT_VMS] = 3;
	t_eq(tenant_fits(t, &vm, &e), -EDQUOT);
	t_true(strstr(e.msg,
		   "quota cpus of tenant a: it has 4 of 4, and this "
		   "takes 2: delete") != NULL);
	may[TENANT_CPUS] = 6;
	t_eq(tenant_fits(t, &vm, &e), -EDQUOT);
	t_true(strstr(e.msg,
		   "quota memory of tenant a: it has 1024 of 1024, "
		   "and this takes 512") != NULL);
	may[TENANT_MEMORY_MB] = 1536;
	t_eq(tenant_fits(t, &vm, &e), 0);
	tenant_discharge(t, &vm);
	tenant_discharge(t, &vm);
	t_eq(has[TENANT_VMS], 0);
	t_eq(has[TENANT_CPUS], 0);
	t_eq(has[TENANT_MEMORY_MB], 0);
	clear();
}

static void
test_running(void)
{
	struct tenant *t = begin_quota();
	struct err e = { 0 };

	t_eq(tenant_take(t, TENANT_STREAMS, &e), 0);
	t->want.quota.n[TENANT_STREAMS] = 2;
	t_eq(tenant_take(t, TENANT_STREAMS, &e), 0);
	t_eq(tenant_take(t, TENANT_STREAMS, &e), -EDQUOT);
	t_true(strstr(e.msg,
		   "quota streams of tenant a: it has 2 of 2, and "
		   "this takes 1: wait") != NULL);
	t_eq(tenant_take(t, TENANT_READERS, &e), 0); /* each by itself */
	tenant_give(t, TENANT_STREAMS);
	t_eq(tenant_take(t, TENANT_STREAMS, &e), 0);
	t->want.quota.n[TENANT_STREAMS] = 1; /* less than there are */
	tenant_give(t, TENANT_STREAMS);
	t_eq(tenant_take(t, TENANT_STREAMS, &e), -EDQUOT);
	tenant_give(t, TENANT_STREAMS);
	tenant_give(t, TENANT_STREAMS);
	t_eq(t->used.n[TENANT_STREAMS], 0); /* no more than there were */
	t_eq(t->used.n[TENANT_READERS], 1);
	clear();
}

/* So many a second, and of two seconds at once. */
static void
test_rate(void)
{
	struct tenant *t = begin_quota();
	struct err e = { 0 };
	int i, n;

	for (i = 0; i < 100; i++)
		t_eq(tenant_ask(t, 5000, &e), 0);
	t->want.quota.n[TENANT_REQUESTS] = 10;
	for (i = 0; i < 20; i++)
		t_eq(tenant_ask(t, 5000, &e), 0);
	t_eq(tenant_ask(t, 5000, &e), -EDQUOT);
	t_true(strstr(e.msg,
		   "quota requests of tenant a: its members have 10 a "
		   "second") != NULL);
	t_eq(tenant_ask(t, 5099, &e), -EDQUOT);
	t_eq(tenant_ask(t, 5100, &e), 0);
	t_eq(tenant_ask(t, 5100, &e), -EDQUOT);
	for (i = n = 0; i < 1000; i++) /* as often as it likes */
		n += tenant_ask(t, 5101 + i * 10, &e) == 0;
	t_eq(n, 99);
	for (i = n = 0; i < 100; i++) /* after an hour no more than that */
		n += tenant_ask(t, 3600000, &e) == 0;
	t_eq(n, 20);
	for (i = 0; i < 10; i++) /* nor after many in which it asked little */
		t_eq(tenant_ask(t, 7200000 + i * 3600000, &e), 0);
	for (i = n = 0; i < 100; i++)
		n += tenant_ask(t, 7200000 + i / 10 + 9 * 3600000, &e) == 0;
	t_eq(n, 19);
	clear();
}

/* What is given to the store is what comes back. */
static void
test_stored(void)
{
	static struct tenant_state s, back;
	struct tenant_spec spec;

	s.suspended = s.deleting = true;
	s.created_ns = 17;
	s.weight = 9;
	s.quota = (struct amounts){ { 1, 2, 3, 4, 5, 6, 7 } };
	t_eq(set(&s.members, MEMBER_USER, 1000, TENANT_ADMIN), 0);
	t_eq(set(&s.members, MEMBER_GROUP, 50, TENANT_VIEWER), 0);
	t_eq(tenant_state_give(&s, &spec), 0);
	t_eq(tenant_state_take(&back, &spec), 0);
	t_mem(&s, sizeof(s), &back, sizeof(back));
	spec.weight = 0; /* of a build that knew none */
	t_eq(tenant_state_take(&back, &spec), 0);
	t_eq(back.weight, TENANT_WEIGHT);
	table_clear(&tenant_spec_table, &spec);
}

const struct t_case t_cases[] = { { "find", test_find },
	{ "members", test_member }, { "groups", test_groups },
	{ "full", test_full }, { "role", test_role }, { "grows", test_grows },
	{ "quota", test_quota }, { "running", test_running },
	{ "rate", test_rate }, { "stored", test_stored }, { NULL, NULL } };
