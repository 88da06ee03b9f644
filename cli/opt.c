#include <stdio.h>

#include "cli/cli.h"
#include "cli/opt.h"

int
opt_next(struct cli *c, int argc, char *argv[], const char *shorts,
    const struct option *longs)
{
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, shorts, longs, NULL)) == OPT_JSON)
		c->json = true;
	if (o == OPT_HELP) {
		cli_help(c->cmd, stdout);
		return OPT_HELP;
	}
	if (o == ':') {
		(void)cli_usage(c, "%s needs a value", argv[optind - 1]);
		return OPT_BAD;
	}
	if (o != '?')
		return o;
	if (optopt > 0 && optopt < 0x80)
		(void)cli_usage(c, "there is no option -%c", optopt);
	else
		(void)cli_usage(
		    c, "there is no option %s, or not so", argv[optind - 1]);
	return OPT_BAD;
}

int
opt_none(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = { OPT_COMMON, OPT_LAST };
	int o = opt_next(c, argc, argv, ":", longs);

	return o == OPT_END ? 0 : o;
}
