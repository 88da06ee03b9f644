#include <stdio.h>

#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/vm.h"

int
cmd_rename(struct cli *c, int argc, char *argv[])
{
	struct vm_view vm;
	struct err e = { 0 };
	int r;

	if ((r = opt_none(c, argc, argv)) != 0)
		return r == OPT_HELP ? 0 : EXIT_OURS;
	if (argc - optind != 2)
		return cli_usage(c, "which VM, and what is it to be called?");
	r = vm_rename(c, argv[optind], argv[optind + 1], &vm, &e);
	if (r < 0)
		return cli_fail(c, r, &e);
	if (c->json)
		out_result(stdout, vm.name, true, NULL);
	else
		out_line(stdout, vm.name);
	return 0;
}
