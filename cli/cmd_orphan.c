#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/size.h"
#include "cli/vm.h"
#include "common/clock.h"
#include "common/util.h"

#define ORPHANS "/api/v1/orphans"
#define NS_PER_S INT64_C(1000000000)

/* --- what is asked --- */

/* Its answer in *rp, if it is want; api_reply_free() in any case. */
static int
ask(struct cli *c, const struct api_request *rq, int want, struct api_reply *rp,
    struct err *e)
{
	int r = api_call(c->api, rq, rp, e);

	return r == 0 && rp->status != want
	    ? vm_refusal(c, rp->status, rp->body.p, rp->body.len, NULL, e)
	    : r;
}

static int
list(struct cli *c, struct objs *ret, struct err *e)
{
	const struct api_request rq = { .method = "GET", .target = ORPHANS };
	struct api_reply rp = { 0 };
	struct err de = { 0 };
	int r = ask(c, &rq, 200, &rp, e);

	if (r == 0 &&
	    table_decode_list(
		&orphan_table, 0, rp.body.p, rp.body.len, ret, &de) < 0)
		r = err_set(e, -EPROTO,
		    "the list of orphans makes no sense: %.160s", de.msg);
	api_reply_free(&rp);
	return r;
}

static int
adopt(struct cli *c, const char *uid, const struct orphan_adopt *want,
    struct vm_view *ret, struct err *e)
{
	char target[API_TARGET_MAX];
	struct api_request rq = {
		.method = "POST", .target = target, .keyed = true
	};
	struct api_reply rp = { 0 };
	struct err de = { 0 };
	struct jbuf b;
	int r;

	jbuf_init(&b, TABLE_JSON_MAX);
	table_encode(&orphan_adopt_table, 0, want, &b);
	jbuf_raw(&b, "", 1);
	rq.body = b.p;
	r = b.r < 0 ? err_set(e, b.r, "out of memory")
		    : vm_target(target, ORPHANS "/", uid, "/adopt", e);
	if (r == 0)
		r = ask(c, &rq, 200, &rp, e);
	if (r == 0 &&
	    table_decode(&vm_table, 0, rp.body.p, rp.body.len, ret, &de) < 0)
		r = err_set(e, -EPROTO,
		    "what the API says of the VM makes no sense: %.120s",
		    de.msg);
	api_reply_free(&rp);
	jbuf_free(&b);
	return r;
}

static int
drop(struct cli *c, const char *uid, struct err *e)
{
	char target[API_TARGET_MAX];
	const struct api_request rq = {
		.method = "DELETE", .target = target, .keyed = true
	};
	struct api_reply rp = { 0 };
	int r = vm_target(target, ORPHANS "/", uid, "", e);

	if (r == 0)
		r = ask(c, &rq, 204, &rp, e);
	api_reply_free(&rp);
	return r;
}

/* --- what is done --- */

static void
put_row(struct out_table *t, const struct orphan_view *o, int64_t now, int *r)
{
	char uid[20], pid[16], cpus[16], mem[SIZE_TEXT_MAX], age[AGE_TEXT_MAX],
	    ends[AGE_TEXT_MAX + 8];

	(void)snprintf(uid, sizeof(uid), "%016" PRIx64, o->uid);
	(void)snprintf(pid, sizeof(pid), "%" PRId32, o->pid);
	(void)snprintf(cpus, sizeof(cpus), "%" PRIu32, o->cpu_cores);
	size_format_mib(o->memory_mb, mem);
	size_format_age(
	    o->ends_at > now ? (o->ends_at - now) / NS_PER_S : 0, age);
	(void)snprintf(ends, sizeof(ends), "in %s", age);
	*r = out_table_row(t,
	    (const char *[]){ uid, vm_status_names[o->status],
		o->pid != 0 ? pid : "-", o->cpu_cores != 0 ? cpus : "-",
		o->memory_mb != 0 ? mem : "-",
		o->ip_address[0] != '\0' ? o->ip_address : "-", ends,
		o->reason[0] != '\0' ? o->reason : "can be adopted" },
	    8);
}

static int
show(const struct objs *all, struct err *e)
{
	static const char *const heads[] = { "UID", "STATUS", "PID", "CPUS",
		"MEMORY", "IP", "ENDS", "ADOPTION" };
	const struct orphan_view *o = all->items;
	struct out_table *t = out_table_new(stdout, heads, nitems(heads));
	const int64_t now = clock_wall_ns();
	int r = t != NULL ? 0 : -ENOMEM;
	uint32_t i;

	for (i = 0; r == 0 && i < all->count; i++)
		put_row(t, &o[i], now, &r);
	if (r == 0)
		r = out_table_print(t);
	out_table_free(t);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

static int
do_ls(struct cli *c)
{
	struct objs all = { 0 };
	struct err e = { 0 };
	int r;

	if ((r = list(c, &all, &e)) == 0)
		r = c->json ? out_objs(stdout, &orphan_table, &all, &e)
			    : show(&all, &e);
	table_clear_list(&orphan_table, &all);
	return r < 0 ? cli_fail(c, r, &e) : 0;
}

static int
do_adopt(struct cli *c, const char *uid, const char *name)
{
	struct orphan_adopt want = { 0 };
	struct vm_view vm;
	struct err e = { 0 };
	int r;

	if (name == NULL)
		return cli_usage(c, "what is it to be called? (--name)");
	if (strlen(name) >= sizeof(want.name))
		return cli_usage(c, "%.64s...: too long for a name", name);
	(void)snprintf(want.name, sizeof(want.name), "%s", name);
	if ((r = adopt(c, uid, &want, &vm, &e)) < 0)
		return cli_fail(c, r, &e);
	if (c->json)
		return (r = out_obj(stdout, &vm_table, &vm, &e)) < 0
		    ? cli_fail(c, r, &e)
		    : 0;
	out_line(stdout, vm.name);
	return 0;
}

static int
do_rm(struct cli *c, int n, char *uids[])
{
	int i, r, status = 0;

	for (i = 0; i < n; i++) {
		struct err e = { 0 };

		if ((r = drop(c, uids[i], &e)) < 0)
			status = cli_fail(c, r, &e);
		else if (c->json)
			out_result(stdout, uids[i], true, NULL);
		else
			out_line(stdout, uids[i]);
		if (r == -EINTR)
			break;
	}
	return status;
}

/* --- the command line --- */

static int
run(struct cli *c, const char *name, int n, char *args[])
{
	const char *verb = n > 0 ? args[0] : "";

	if (strcmp(verb, "adopt") == 0)
		return n == 2 ? do_adopt(c, args[1], name)
			      : cli_usage(c, "orphan adopt: which one?");
	if (name != NULL)
		return cli_usage(c, "--name is for orphan adopt");
	if (strcmp(verb, "ls") == 0)
		return n == 1 ? do_ls(c)
			      : cli_usage(c, "orphan ls takes no arguments");
	if (strcmp(verb, "rm") == 0)
		return n > 1 && n - 1 <= CLI_NAMES_MAX
		    ? do_rm(c, n - 1, args + 1)
		    : cli_usage(c, "orphan rm: which one?");
	return cli_usage(c, "orphan %.32s: it is ls, adopt or rm", verb);
}

int
cmd_orphan(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "name", required_argument, NULL, OPT_FIRST },
		OPT_COMMON,
		OPT_LAST,
	};
	const char *name = NULL;
	int o;

	while ((o = opt_next(c, argc, argv, ":", longs)) != OPT_END) {
		if (o != OPT_FIRST)
			return o == OPT_HELP ? 0 : EXIT_OURS;
		name = optarg;
	}
	return run(c, name, argc - optind, argv + optind);
}
