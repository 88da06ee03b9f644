#ifndef MEWS_CLI_H
#define MEWS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

#define CLI_VERSION "0.1.0"

/* Docker's: our own fault, not executable, not found; the rest is the
 * command's own. */
#define EXIT_OURS 125
#define EXIT_SIGNAL 128

#define CLI_NAMES_MAX 1024 /* VMs named on one command line */

struct api;
struct cmd;

struct cli {
	const char *host; /* -H, else $MEWS_API, else the default */
	bool json;
	struct api *api;
	const struct cmd *cmd; /* what runs, for usage lines */
};

/* argv[0] is the command's own name.  Returns the exit status. */
struct cmd {
	const char *name;
	int (*run)(struct cli *c, int argc, char *argv[]);
	const char *usage; /* what follows "mews NAME " */
	const char *what; /* one line */
	const char *help; /* options and examples, lines */
};

/* One line on stderr, made safe for a terminal; an object with --json. */
void cli_error(const struct cli *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* For whoever got the command line wrong.  Returns EXIT_OURS. */
int cli_usage(const struct cli *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void cli_help(const struct cmd *cmd, FILE *to);

int cmd_run(struct cli *c, int argc, char *argv[]);
int cmd_ps(struct cli *c, int argc, char *argv[]);
int cmd_exec(struct cli *c, int argc, char *argv[]);
int cmd_logs(struct cli *c, int argc, char *argv[]);
int cmd_start(struct cli *c, int argc, char *argv[]);
int cmd_stop(struct cli *c, int argc, char *argv[]);
int cmd_rm(struct cli *c, int argc, char *argv[]);
int cmd_inspect(struct cli *c, int argc, char *argv[]);
int cmd_console(struct cli *c, int argc, char *argv[]);
int cmd_events(struct cli *c, int argc, char *argv[]);
int cmd_doctor(struct cli *c, int argc, char *argv[]);

#endif
