#ifndef MEWS_CLI_ADDR_H
#define MEWS_CLI_ADDR_H

#include <stddef.h>

struct err;

#define ADDR_DEFAULT "unix:///run/mews/api.sock"
#define ADDR_PATH_MAX 108 /* sun_path, with its NUL */

/* The socket's path of unix:///PATH.  0 or -EINVAL with e. */
int addr_parse(const char *host, char path[ADDR_PATH_MAX], struct err *e);

#endif
