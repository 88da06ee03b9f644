#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/size.h"
#include "cli/tenant.h"
#include "common/num.h"
#include "common/util.h"

#define NUMBER_MAX 24

/* What the command line says; its members are on the heap. */
struct said {
	bool suspend, resume, force;
	struct tenant_amounts quotas;
	struct objs members;
	uint32_t weight; /* 0: it does not */
};

/* --- what is shown --- */

/* Prints it unless r < 0; it goes. */
static int
print(struct out_table *t, int r)
{
	if (r == 0)
		r = out_table_print(t);
	out_table_free(t);
	return r;
}

static void
amount(char buf[NUMBER_MAX], uint64_t n, bool is_mib)
{
	if (is_mib && n <= UINT32_MAX)
		size_format_mib((uint32_t)n, buf);
	else
		(void)snprintf(buf, NUMBER_MAX, "%" PRIu64, n);
}

static void
limit(char buf[NUMBER_MAX], uint64_t n, bool is_mib)
{
	if (n == 0)
		(void)snprintf(buf, NUMBER_MAX, "-");
	else
		amount(buf, n, is_mib);
}

static int
show_amounts(const struct tenant_view *t)
{
	static const char *const heads[] = { "OF", "USED", "QUOTA", "" };
	struct tenant_amounts has = t->used, may = t->quotas;
	struct out_table *out = out_table_new(stdout, heads, nitems(heads));
	char used[NUMBER_MAX], quota[NUMBER_MAX], bar[BAR_TEXT_MAX];
	int r = out != NULL ? 0 : -ENOMEM;
	enum tenant_amount i;

	for (i = 0; r == 0 && i < TENANT_AMOUNTS; i++) {
		const uint64_t n = *tenant_amount(&has, i);
		const uint64_t most = *tenant_amount(&may, i);

		amount(used, n, i == TENANT_MEMORY_MB);
		limit(quota, most, i == TENANT_MEMORY_MB);
		tenant_bar(n, most, bar);
		if (i == TENANT_REQUESTS) { /* none is under way */
			(void)snprintf(used, sizeof(used), "a second");
			bar[0] = '\0';
		}
		r = out_table_row(out,
		    (const char *[]){ tenant_amount_text(i), used, quota, bar },
		    nitems(heads));
	}
	return print(out, r);
}

static int
show_members(const struct tenant_view *t)
{
	static const char *const heads[] = { "MEMBER", "ROLE" };
	const struct tenant_member *m = t->members.items;
	struct out_table *out = out_table_new(stdout, heads, nitems(heads));
	char name[MEMBER_TEXT_MAX];
	int r = out != NULL ? 0 : -ENOMEM;
	uint32_t i;

	for (i = 0; r == 0 && i < t->members.count; i++) {
		tenant_member_text(&m[i], name);
		r = out_table_row(out,
		    (const char *[]){ name, tenant_role_names[m[i].role] },
		    nitems(heads));
	}
	return print(out, r);
}

static int
show_one(const struct cli *c, const struct tenant_view *t, struct err *e)
{
	char line[256];
	int r;

	if (c->json)
		return out_obj(stdout, &tenant_table, t, e);
	(void)snprintf(line, sizeof(line), "%s: %s; you: %s; weight %u",
	    t->name,
	    t->status == TENANT_DELETING     ? "being deleted"
		: t->status == TENANT_BROKEN ? "broken, mews doctor says why"
					     : tenant_status_names[t->status],
	    tenant_role_names[t->role], t->weight);
	out_line(stdout, line);
	out_line(stdout, "");
	if ((r = show_amounts(t)) == 0 && t->members.count > 0) {
		out_line(stdout, "");
		r = show_members(t);
	}
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

static int
show_list(const struct cli *c, const struct objs *list, struct err *e)
{
	static const char *const heads[] = { "NAME", "STATUS", "YOU", "VMS",
		"CPUS", "MEMORY", "MEMBERS", "WEIGHT" };
	const struct tenant_view *t = list->items;
	struct out_table *out;
	char vms[NUMBER_MAX], cpus[NUMBER_MAX], mem[NUMBER_MAX],
	    members[NUMBER_MAX], weight[NUMBER_MAX];
	uint32_t i;
	int r;

	if (c->json)
		return out_objs(stdout, &tenant_table, list, e);
	out = out_table_new(stdout, heads, nitems(heads));
	r = out != NULL ? 0 : -ENOMEM;
	for (i = 0; r == 0 && i < list->count; i++) {
		amount(vms, t[i].used.vms, false);
		amount(cpus, t[i].used.cpus, false);
		amount(mem, t[i].used.memory_mb, true);
		amount(members, t[i].members.count, false);
		amount(weight, t[i].weight, false);
		r = out_table_row(out,
		    (const char *[]){ t[i].name,
			tenant_status_names[t[i].status],
			tenant_role_names[t[i].role], vms, cpus, mem, members,
			weight },
		    nitems(heads));
	}
	r = print(out, r);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

/* --- what is done --- */

static int
do_ls(struct cli *c, const char *name, const struct said *s, struct err *e)
{
	struct objs list = { 0 };
	int r;

	(void)name;
	(void)s;
	if ((r = tenant_list(c, &list, e)) == 0)
		r = show_list(c, &list, e);
	table_clear_list(&tenant_table, &list);
	return r;
}

static int
do_show(struct cli *c, const char *name, const struct said *s, struct err *e)
{
	struct tenant_view t = { 0 };
	int r;

	(void)s;
	if (name == NULL)
		name = c->tenant != NULL ? c->tenant : "default";
	if ((r = tenant_get(c, name, &t, e)) == 0)
		r = show_one(c, &t, e);
	table_clear(&tenant_table, &t);
	return r;
}

/* What became of it: its name, or all of it. */
static int
done(const struct cli *c, int r, struct tenant_view *t, struct err *e)
{
	if (r == 0 && c->json)
		r = out_obj(stdout, &tenant_table, t, e);
	else if (r == 0)
		out_line(stdout, t->name);
	table_clear(&tenant_table, t);
	return r;
}

static int
do_create(struct cli *c, const char *name, const struct said *s, struct err *e)
{
	struct tenant_create rq = { .suspended = s->suspend,
		.quotas = s->quotas,
		.members = s->members,
		.weight = s->weight };
	struct tenant_view t = { 0 };

	if (s->weight > 0)
		rq.has |= TABLE_HAS(TENANT_CREATE_WEIGHT);
	if (strlen(name) >= sizeof(rq.name))
		return err_set(
		    e, -EINVAL, "%.64s...: too long for a name", name);
	(void)snprintf(rq.name, sizeof(rq.name), "%s", name);
	return done(c, tenant_create(c, &rq, &t, e), &t, e);
}

static int
do_set(struct cli *c, const char *name, const struct said *s, struct err *e)
{
	struct tenant_change rq = { .suspended = s->suspend,
		.quotas = s->quotas,
		.members = s->members,
		.weight = s->weight };
	struct tenant_view t = { 0 };

	if (s->weight > 0)
		rq.has |= TABLE_HAS(TENANT_CHANGE_WEIGHT);
	if (s->suspend || s->resume)
		rq.has |= TABLE_HAS(TENANT_CHANGE_SUSPENDED);
	if (s->quotas.has != 0)
		rq.has |= TABLE_HAS(TENANT_CHANGE_QUOTAS);
	if (s->members.count > 0)
		rq.has |= TABLE_HAS(TENANT_CHANGE_MEMBERS);
	if (rq.has == 0)
		return err_set(
		    e, -EINVAL, "what is to change? (see `mews help tenant`)");
	return done(c, tenant_change(c, name, &rq, &t, e), &t, e);
}

static int
do_rm(struct cli *c, const char *name, const struct said *s, struct err *e)
{
	int r = tenant_delete(c, name, s->force, e);

	if (r == 0 && c->json)
		out_result(stdout, name, true, NULL);
	else if (r == 0)
		out_line(stdout, name);
	return r;
}

/* --- the command line --- */

enum { O_QUOTA = OPT_FIRST, O_USER, O_GROUP, O_WEIGHT, O_SUSPEND, O_RESUME };

static const struct verb {
	const char *name;
	int (*run)(struct cli *c, const char *name, const struct said *s,
	    struct err *e);
	int least, most; /* names */
	bool sets; /* it takes quotas and members */
} verbs[] = {
	{ "ls", do_ls, 0, 0, false },
	{ "show", do_show, 0, 1, false },
	{ "create", do_create, 1, 1, true },
	{ "set", do_set, 1, 1, true },
	{ "rm", do_rm, 1, 1, false },
};

static const struct verb *
find_verb(const char *name)
{
	const struct verb *v;

	for (v = verbs; v < verbs + nitems(verbs); v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

static int
add_member(struct said *s, const char *text, uint8_t kind, struct err *e)
{
	struct tenant_member *m = s->members.items;

	if (s->members.count == TENANT_MEMBERS_MAX)
		return err_set(e, -E2BIG, "more than %d members at once",
		    TENANT_MEMBERS_MAX);
	m = reallocarray(m, s->members.count + 1, sizeof(*m));
	if (m == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	s->members.items = m;
	return tenant_member(text, kind, &m[s->members.count++], e);
}

static int
set_weight(struct said *s, const char *text, struct err *e)
{
	long long v;

	if (num_parse(text, 1, TENANT_WEIGHT_MAX, &v) < 0)
		return err_set(e, -EINVAL,
		    "--weight %.40s: it is a number, 1 to %d", text,
		    TENANT_WEIGHT_MAX);
	s->weight = (uint32_t)v;
	return 0;
}

/* One option: 0, what opt_next() said, or OPT_BAD. */
static int
take(struct cli *c, struct said *s, int opt)
{
	struct err e = { 0 };
	int r = 0;

	switch (opt) {
	case 'f':
		s->force = opt_flag();
		return 0;
	case O_SUSPEND:
		s->suspend = opt_flag();
		s->resume = !s->suspend;
		return 0;
	case O_RESUME:
		s->resume = opt_flag();
		s->suspend = !s->resume;
		return 0;
	case O_QUOTA:
		r = tenant_quota(optarg, &s->quotas, &e);
		break;
	case O_USER:
		r = add_member(s, optarg, MEMBER_USER, &e);
		break;
	case O_GROUP:
		r = add_member(s, optarg, MEMBER_GROUP, &e);
		break;
	case O_WEIGHT:
		r = set_weight(s, optarg, &e);
		break;
	default:
		return opt;
	}
	if (r < 0)
		(void)cli_usage(c, "%s", e.msg);
	return r < 0 ? OPT_BAD : 0;
}

static int
run(struct cli *c, const struct verb *v, int argc, char *argv[],
    const struct said *s)
{
	const int n = argc - optind;
	struct err e = { 0 };
	int r;

	if (n < v->least || n > v->most)
		return cli_usage(c, "tenant %s: %s", v->name,
		    n < v->least ? "which one?" : "too many names");
	if (!v->sets &&
	    (s->quotas.has != 0 || s->members.count > 0 || s->suspend ||
		s->resume || s->weight > 0))
		return cli_usage(c,
		    "tenant %s changes nothing: `mews tenant set` does",
		    v->name);
	r = v->run(c, n > 0 ? argv[optind] : NULL, s, &e);
	return r < 0 ? cli_fail(c, r, &e) : 0;
}

int
cmd_tenant(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "quota", required_argument, NULL, O_QUOTA },
		{ "user", required_argument, NULL, O_USER },
		{ "group", required_argument, NULL, O_GROUP },
		{ "weight", required_argument, NULL, O_WEIGHT },
		{ "suspend", no_argument, NULL, O_SUSPEND },
		{ "resume", no_argument, NULL, O_RESUME },
		OPT_COMMON,
		OPT_LAST,
	};
	const struct verb *v;
	struct said s = { 0 };
	int o, r = 0, status;

	while ((o = opt_next(c, argc, argv, ":f", longs)) != OPT_END)
		if ((r = take(c, &s, o)) != 0)
			break;
	if (r != 0)
		status = r == OPT_HELP ? 0 : EXIT_OURS;
	else if (optind == argc)
		status = cli_usage(c, "tenant: ls, show, create, set or rm?");
	else if ((v = find_verb(argv[optind])) == NULL)
		status = cli_usage(c,
		    "tenant %.32s: it is ls, show, create, set or rm",
		    argv[optind]);
	else {
		optind++;
		status = run(c, v, argc, argv, &s);
	}
	free(s.members.items);
	return status;
}
