#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/vm.h"

/* Appends the object as the API sent it: a newer suite may say more. */
static int
inspect_one(struct cli *c, const char *name, struct jbuf *all, struct err *e)
{
	struct api_reply rp = { 0 };
	char target[API_TARGET_MAX];
	struct api_request rq = { .method = "GET", .target = target };
	struct err de = { 0 };
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
	r = table_decode(&vm_table, 0, rp.body.p, rp.body.len, &vm, &de);
	if (r < 0) {
		err_set(e, r,
		    "what the API says of VM %.60s makes no sense: %.120s",
		    name, de.msg);
		goto out;
	}
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
	struct err e;
	struct jbuf all;

	r = opt_none(c, argc, argv);
	if (r != 0)
		return r == OPT_HELP ? 0 : EXIT_OURS;
	if (optind == argc)
		return cli_usage(c, "which VM?");
	if (argc - optind > CLI_NAMES_MAX)
		return cli_usage(c,
		    "more than %d names at once: name them in several commands",
		    CLI_NAMES_MAX);
	jbuf_init(&all, 2 * API_BODY_MAX);
	jbuf_text(&all, "[");
	for (i = optind; i < argc; i++) {
		e = (struct err){ 0 };
		r = inspect_one(c, argv[i], &all, &e);
		if (r < 0)
			status = cli_fail(c, r, &e);
	}
	jbuf_text(&all, "]");
	e = (struct err){ 0 };
	r = all.r < 0 ? err_set(&e, all.r, "too much to show")
		      : out_json(stdout, all.p, all.len, &e);
	if (r < 0)
		status = cli_fail(c, r, &e);
	jbuf_free(&all);
	return status;
}
