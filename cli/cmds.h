#ifndef MEWS_CLI_CMDS_H
#define MEWS_CLI_CMDS_H

#include "cli/cli.h"

/* Every command; the last has no name. help and version have no run. */
extern const struct cmd cmds[];
extern const char cmds_head[], cmds_tail[];

const struct cmd *cmds_find(const char *name); /* NULL: there is none */

#endif
