#ifndef MEWS_CLI_ATTACH_H
#define MEWS_CLI_ATTACH_H

#include "proto/objects.h"

struct cli;
struct err;

/* What run, exec and console share. */

/* Adds the words of a command to rq->cmd.  0 or a negative errno with e. */
int attach_words(
    struct exec_request *rq, int argc, char *const argv[], struct err *e);
/* The exit status for what a session came to; says what went wrong. */
int attach_end(struct cli *c, int r, int code, const struct err *e);

#endif
