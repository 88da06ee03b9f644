#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/vm.h"
#include "common/num.h"

struct ps {
	bool all, quiet;
};

/* Leaves out what is at rest, unless -a. */
static void
narrow(struct objs *list)
{
	struct vm_view *vms = list->items;
	uint32_t i, n = 0;

	for (i = 0; i < list->count; i++) {
		if (!vm_at_rest(&vms[i]))
			vms[n++] = vms[i];
	}
	list->count = n;
}

static int
show_json(const struct objs *list, struct err *e)
{
	const struct vm_view *vms = list->items;
	struct jbuf b;
	uint32_t i;
	int r;

	jbuf_init(&b, API_BODY_MAX);
	jbuf_text(&b, "[");
	for (i = 0; i < list->count; i++) {
		jbuf_text(&b, i > 0 ? "," : "");
		table_encode(&vm_table, 0, &vms[i], &b);
	}
	jbuf_text(&b, "]");
	r = b.r < 0 ? err_set(e, b.r, "too many VMs to show")
		    : out_json(stdout, b.p, b.len, e);
	jbuf_free(&b);
	return r;
}

static int
show(const struct cli *c, const struct ps *ps, const struct objs *list,
    struct err *e)
{
	const struct vm_view *vms = list->items;
	char ref[VM_REF_MAX];
	struct timespec now;
	uint32_t i;

	if (c->json)
		return show_json(list, e);
	if (ps->quiet) {
		for (i = 0; i < list->count; i++) {
			vm_ref(&vms[i], ref);
			out_line(stdout, ref);
		}
		return 0;
	}
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (out_ps(stdout, vms, list->count,
		now.tv_sec * INT64_C(1000000000) + now.tv_nsec) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

static int
list(struct cli *c, const struct ps *ps, struct err *e)
{
	struct api_request rq = { .method = "GET", .target = "/api/v1/vms" };
	struct api_reply rp = { 0 };
	struct objs vms = { 0 };
	struct err de = { 0 };
	int r;

	if ((r = api_call(c->api, &rq, &rp, e)) < 0)
		goto out;
	if (rp.status != 200) {
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, NULL, e);
		goto out;
	}
	r = table_decode_list(&vm_table, 0, rp.body.p, rp.body.len, &vms, &de);
	if (r < 0) {
		err_set(e, r, "the list of VMs makes no sense: %.160s", de.msg);
		goto out;
	}
	if (!ps->all)
		narrow(&vms);
	r = show(c, ps, &vms, e);
out:
	table_clear_list(&vm_table, &vms);
	api_reply_free(&rp);
	return r;
}

int
cmd_ps(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "quiet", no_argument, NULL, 'q' },
		OPT_COMMON,
		OPT_LAST,
	};
	struct ps ps = { 0 };
	struct err e = { 0 };
	int o;

	while ((o = opt_next(c, argc, argv, ":aq", longs)) != OPT_END) {
		switch (o) {
		case 'a':
			ps.all = true;
			break;
		case 'q':
			ps.quiet = true;
			break;
		default:
			return o == OPT_HELP ? 0 : EXIT_OURS;
		}
	}
	if (optind != argc)
		return cli_usage(
		    c, "ps takes no names: `mews inspect VM` does");
	if (list(c, &ps, &e) < 0) {
		cli_error(c, "%s", e.msg);
		return EXIT_OURS;
	}
	return 0;
}
