#ifndef MEWS_AGENT_SPAWN_H
#define MEWS_AGENT_SPAWN_H

#include <sys/types.h>

#include "agent/excg.h"

struct exec_request;
struct strs;
struct work;
struct err;

/* The agent's ends; with a terminal in and out are one descriptor each of
 * it and err is -1.  All nonblocking. */
struct spawned {
	pid_t pid; /* also its process group */
	int in, out, err;
	struct excg group; /* the caller releases it when pid has ended */
	int fail; /* what exec(2) said, if it said anything: an int */
};

int spawn(const struct work *w, const struct strs *boot_env,
    const struct exec_request *req, struct spawned *ret, struct err *e);

#endif
