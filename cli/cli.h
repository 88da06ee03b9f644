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
#define EXIT_LOST 1 /* what was to be written could not be */
#define EXIT_OURS 125
#define EXIT_SIGNAL 128

#define CLI_NAMES_MAX 1024 /* VMs named on one command line */

struct api;
struct cmd;

struct cli {
	const char *host; /* -H, else $MEWS_API, else the default */
	const char *tenant; /* --tenant, else $MEWS_TENANT, else NULL */
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

/*
 * One line on stderr, made safe for a terminal; an object with --json.  One
 * without words, which is a fault of ours, says that.
 */
void cli_error(const struct cli *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* For whoever got the command line wrong.  Returns EXIT_OURS. */
int cli_usage(const struct cli *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void cli_help(const struct cmd *cmd, FILE *to);

/* What the negative errno means, to go on a sentence. */
void cli_errno_text(int code, char *buf, size_t cap);

/*
 * The exit status for r < 0, said with the words of e: -EINTR and what
 * became of a write have words, or none, of their own.
 */
int cli_fail(const struct cli *c, int r, const struct err *e);
/* The last thing of all: flushes, and says what was not written. */
int cli_end(const struct cli *c, int status);

int cmd_run(struct cli *c, int argc, char *argv[]);
int cmd_ps(struct cli *c, int argc, char *argv[]);
int cmd_exec(struct cli *c, int argc, char *argv[]);
int cmd_logs(struct cli *c, int argc, char *argv[]);
int cmd_start(struct cli *c, int argc, char *argv[]);
int cmd_stop(struct cli *c, int argc, char *argv[]);
int cmd_restart(struct cli *c, int argc, char *argv[]);
int cmd_kill(struct cli *c, int argc, char *argv[]);
int cmd_wait(struct cli *c, int argc, char *argv[]);
int cmd_rename(struct cli *c, int argc, char *argv[]);
int cmd_rm(struct cli *c, int argc, char *argv[]);
int cmd_inspect(struct cli *c, int argc, char *argv[]);
int cmd_console(struct cli *c, int argc, char *argv[]);
int cmd_events(struct cli *c, int argc, char *argv[]);
int cmd_tenant(struct cli *c, int argc, char *argv[]);
int cmd_audit(struct cli *c, int argc, char *argv[]);
int cmd_orphan(struct cli *c, int argc, char *argv[]);
int cmd_store(struct cli *c, int argc, char *argv[]);
int cmd_doctor(struct cli *c, int argc, char *argv[]);

#endif
