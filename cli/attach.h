#ifndef MEWS_CLI_ATTACH_H
#define MEWS_CLI_ATTACH_H

#include "proto/objects.h"

struct cli;
struct err;

/* What run, exec and console share. */

/* Adds the words of a command to rq->cmd.  0 or a negative errno with e. */
int attach_words(
    struct exec_request *rq, int argc, char *const argv[], struct err *e);

/* A directory for a command to start in: 0, or -EINVAL with e. */
int attach_cwd(const char *dir, struct err *e);
/* Standard output is a terminal, and standard input where it is sent. */
bool attach_on_terminal(bool in);
/* Moves optind behind a "--" that stands before the command. */
void attach_skip(int argc, char *const argv[]);

#endif
