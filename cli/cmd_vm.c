#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/vm.h"
#include "common/util.h"

/* start, stop, rm, inspect: what takes several names. */

#define READY_MS 120000
#define DOWN_MS 120000 /* the whole stop ladder */

struct names {
	bool force; /* rm -f */
	bool no_wait;
	int (*one)(struct cli *c, const struct names *n, const char *name,
	    struct err *e);
};

/* A line for each that worked, an error for each that did not. */
static int
each(struct cli *c, const struct names *n, int argc, char *argv[])
{
	int i, r, status = 0;

	if (argc < 1)
		return cli_usage(c, "which VM?");
	if (argc > CLI_NAMES_MAX)
		return cli_usage(
		    c, "more than %d names at once", CLI_NAMES_MAX);
	for (i = 0; i < argc; i++) {
		struct err e = { 0 };

		r = n->one(c, n, argv[i], &e);
		if (r < 0) {
			cli_error(c, "%s", e.msg);
			status = EXIT_OURS;
		}
		if (c->json)
			out_result(
			    stdout, argv[i], r == 0, r < 0 ? e.msg : NULL);
		else if (r == 0)
			out_line(stdout, argv[i]);
		(void)fflush(stdout);
	}
	return status;
}

static int
start_one(struct cli *c, const struct names *n, const char *name, struct err *e)
{
	char ref[VM_REF_MAX];
	struct vm_view vm;
	int r;

	if ((r = vm_post(c, name, "start", &vm, e)) < 0 || n->no_wait)
		return r;
	vm_ref(&vm, ref);
	return vm_wait(c, ref, READY_MS, vm_is_ready, &vm, e);
}

static int
stop_one(struct cli *c, const struct names *n, const char *name, struct err *e)
{
	char ref[VM_REF_MAX];
	struct vm_view vm;
	int r;

	if ((r = vm_post(c, name, "stop", &vm, e)) < 0 || n->no_wait)
		return r;
	vm_ref(&vm, ref);
	return vm_wait(c, ref, DOWN_MS, vm_is_down, &vm, e);
}

static int
rm_one(struct cli *c, const struct names *n, const char *name, struct err *e)
{
	char ref[VM_REF_MAX];
	struct vm_view vm;
	int r;

	r = vm_get(c, name, &vm, e);
	if (r == -ENOENT && n->force)
		return 0; /* as rm(1): it is not there, which is the aim */
	if (r < 0)
		return r;
	if (!n->force && !vm_at_rest(&vm))
		return err_set(e, -EBUSY,
		    "VM %s is %s: stop it first (`mews stop %s`), or use "
		    "`mews rm -f %s`",
		    vm.name, vm_status_names[vm.status], vm.name, vm.name);
	/* by uid: a prefix may mean another VM once this one is gone */
	vm_ref(&vm, ref);
	r = vm_delete(c, ref, e);
	if (r < 0 || n->no_wait)
		return r == -ENOENT ? 0 : r;
	return vm_wait_gone(c, ref, DOWN_MS, e);
}

static int
names_run(struct cli *c, struct names *n, const char *shorts,
    const struct option *longs, int argc, char *argv[])
{
	int o;

	while ((o = opt_next(c, argc, argv, shorts, longs)) != OPT_END) {
		switch (o) {
		case 'f':
			n->force = true;
			break;
		case OPT_FIRST:
			n->no_wait = true;
			break;
		default:
			return o == OPT_HELP ? 0 : EXIT_OURS;
		}
	}
	return each(c, n, argc - optind, argv + optind);
}

static const struct option longs_wait[] = {
	{ "no-wait", no_argument, NULL, OPT_FIRST },
	OPT_COMMON,
	OPT_LAST,
};

int
cmd_start(struct cli *c, int argc, char *argv[])
{
	struct names n = { .one = start_one };

	return names_run(c, &n, ":", longs_wait, argc, argv);
}

int
cmd_stop(struct cli *c, int argc, char *argv[])
{
	struct names n = { .one = stop_one };

	return names_run(c, &n, ":", longs_wait, argc, argv);
}

int
cmd_rm(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "no-wait", no_argument, NULL, OPT_FIRST },
		OPT_COMMON,
		OPT_LAST,
	};
	struct names n = { .one = rm_one };

	return names_run(c, &n, ":f", longs, argc, argv);
}

/* Appends the object as the API sent it: a newer suite may say more. */
static int
inspect_one(struct cli *c, const char *name, struct jbuf *all, struct err *e)
{
	struct api_reply rp = { 0 };
	char target[API_TARGET_MAX];
	struct api_request rq = { .method = "GET", .target = target };
	struct vm_view vm;
	int r;

	if ((r = vm_target(target, "/api/v1/vms/", name, "", e)) < 0)
		return r;
	if ((r = api_call(c->api, &rq, &rp, e)) < 0)
		goto out;
	if (rp.status != 200) {
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, name, e);
		goto out;
	}
	r = table_decode(&vm_table, 0, rp.body.p, rp.body.len, &vm, e);
	if (r < 0)
		goto out;
	jbuf_text(all, all->len > 1 ? "," : "");
	jbuf_raw(all, rp.body.p, rp.body.len);
out:
	api_reply_free(&rp);
	return r;
}

int
cmd_inspect(struct cli *c, int argc, char *argv[])
{
	int i, r, status = 0;
	struct err e = { 0 };
	struct jbuf all;

	r = opt_none(c, argc, argv);
	if (r != 0)
		return r == OPT_HELP ? 0 : EXIT_OURS;
	if (optind == argc)
		return cli_usage(c, "which VM?");
	if (argc - optind > CLI_NAMES_MAX)
		return cli_usage(
		    c, "more than %d names at once", CLI_NAMES_MAX);
	jbuf_init(&all, 2 * API_BODY_MAX);
	jbuf_text(&all, "[");
	for (i = optind; i < argc; i++) {
		if (inspect_one(c, argv[i], &all, &e) < 0) {
			cli_error(c, "%s", e.msg);
			status = EXIT_OURS;
		}
	}
	jbuf_text(&all, "]");
	r = all.r < 0 ? err_set(&e, all.r, "too much to show")
		      : out_json(stdout, all.p, all.len, &e);
	if (r < 0) {
		cli_error(c, "%s", e.msg);
		status = EXIT_OURS;
	}
	jbuf_free(&all);
	return status;
}
