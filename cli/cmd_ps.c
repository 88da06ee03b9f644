#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/column.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/vm.h"
#include "common/clock.h"
#include "common/num.h"

#define LAST_MAX 1000000

struct ps {
	bool all, quiet;
	bool has_last;
	uint32_t last;
	const char *format;
	struct filters filters;
	int64_t now; /* ns since 1970 */
};

/* Leaves out what was not asked for. */
static void
narrow(const struct ps *ps, struct objs *list)
{
	/* who asks for a state wants it */
	const bool all = ps->all || ps->has_last ||
	    column_filter_has(&ps->filters, "status") ||
	    column_filter_has(&ps->filters, "state");
	struct vm_view *vms = list->items;
	uint32_t i, n = 0, skip;

	for (i = 0; i < list->count; i++) {
		if ((all || !vm_at_rest(&vms[i])) &&
		    column_filter_fits(&ps->filters, &vms[i], ps->now))
			vms[n++] = vms[i];
	}
	/* the list is in the order they were made */
	skip = ps->has_last && n > ps->last ? n - ps->last : 0;
	for (i = 0; i + skip < n && skip > 0; i++)
		vms[i] = vms[i + skip];
	list->count = n - skip;
}

static int
show(const struct cli *c, const struct ps *ps, const struct objs *list,
    struct err *e)
{
	const struct vm_view *vms = list->items;
	char ref[VM_REF_MAX];
	uint32_t i;

	if (c->json)
		return out_objs(stdout, &vm_table, list, e);
	if (!ps->quiet && ps->format == NULL)
		return out_ps(stdout, vms, list->count, ps->now) < 0
		    ? err_set(e, -ENOMEM, "out of memory")
		    : 0;
	for (i = 0; i < list->count; i++) {
		if (ps->format != NULL) {
			column_print(stdout, ps->format, &vms[i], ps->now);
			continue;
		}
		vm_ref(&vms[i], ref);
		out_line(stdout, ref);
	}
	return 0;
}

static int
list(struct cli *c, struct ps *ps, struct err *e)
{
	struct objs vms = { 0 };
	int r;

	if ((r = vm_list(c, "", &vms, e)) < 0)
		return r;
	ps->now = clock_wall_ns();
	narrow(ps, &vms);
	r = show(c, ps, &vms, e);
	table_clear_list(&vm_table, &vms);
	return r;
}

enum { O_FORMAT = OPT_FIRST, O_FILTER };

/* One option: 0, what opt_next() said, or OPT_BAD. */
static int
take(struct cli *c, struct ps *ps, int opt)
{
	struct err e = { 0 };
	long long v;

	switch (opt) {
	case 'a':
		ps->all = opt_flag();
		return 0;
	case 'q':
		ps->quiet = opt_flag();
		return 0;
	case 'n':
		if (num_parse(optarg, 0, LAST_MAX, &v) < 0) {
			(void)cli_usage(c, "-n %.32s: it is a number, 0 to %d",
			    optarg, LAST_MAX);
			return OPT_BAD;
		}
		ps->has_last = true;
		ps->last = (uint32_t)v;
		return 0;
	case O_FORMAT:
		ps->format = optarg;
		if (column_check(optarg, &e) == 0)
			return 0;
		(void)cli_usage(c, "--format: %s", e.msg);
		return OPT_BAD;
	case O_FILTER:
		if (column_filter_add(&ps->filters, optarg, &e) == 0)
			return 0;
		(void)cli_usage(c, "--filter: %s", e.msg);
		return OPT_BAD;
	default:
		return opt;
	}
}

int
cmd_ps(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "last", required_argument, NULL, 'n' },
		{ "format", required_argument, NULL, O_FORMAT },
		{ "filter", required_argument, NULL, O_FILTER },
		OPT_COMMON,
		OPT_LAST,
	};
	struct ps ps = { 0 };
	struct err e = { 0 };
	int o, r;

	while ((o = opt_next(c, argc, argv, ":aqn:", longs)) != OPT_END) {
		if ((r = take(c, &ps, o)) != 0)
			return r == OPT_HELP ? 0 : EXIT_OURS;
	}
	if (ps.format != NULL && (ps.quiet || c->json))
		return cli_usage(
		    c, "--format does not go together with -q and --json");
	if (optind != argc)
		return cli_usage(
		    c, "ps takes no names: `mews inspect VM` does");
	r = list(c, &ps, &e);
	return r < 0 ? cli_fail(c, r, &e) : 0;
}
