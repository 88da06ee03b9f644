#ifndef MEWS_CLI_OPT_H
#define MEWS_CLI_OPT_H

#include <getopt.h>
#include <stdbool.h>

struct cli;

/* getopt_long(3) with what every command knows: --json, --help, -h. */
#define OPT_END (-1)
#define OPT_HELP 0x101 /* shown: return 0 */
#define OPT_BAD 0x102 /* said so: return EXIT_OURS */
#define OPT_JSON 0x103
#define OPT_FIRST 0x110 /* a command's own long options */
#define OPTS_MAX 24 /* of one command */

#define OPT_COMMON                                  \
	{ "help", no_argument, NULL, OPT_HELP },    \
	{                                           \
		"json", no_argument, NULL, OPT_JSON \
	}
#define OPT_LAST                 \
	{                        \
		NULL, 0, NULL, 0 \
	}

/*
 * shorts begins with ':' or "+:"; optind is where the arguments begin.  An
 * option without a value may be written --NAME=true or --NAME=false: that is
 * what opt_flag() says of the last one.
 */
int opt_next(struct cli *c, int argc, char *argv[], const char *shorts,
    const struct option *longs);
bool opt_flag(void);

/* A --since, taken as the suite will read it: 0, or OPT_BAD. */
int opt_since(struct cli *c, const char **ret);

/* Says what is wrong with the option at which getopt_long(3) said `o`. */
void opt_refuse(struct cli *c, int o, char *argv[], const struct option *longs);

/* Runs a command without options of its own; 0 or OPT_HELP, OPT_BAD. */
int opt_none(struct cli *c, int argc, char *argv[]);

#endif
