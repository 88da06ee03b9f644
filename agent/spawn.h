#ifndef MEWS_AGENT_SPAWN_H
#define MEWS_AGENT_SPAWN_H

#include <sys/types.h>

#include "agent/execgroup.h"

struct child;
struct exec_request;
struct strs;
struct work;
struct err;

/* The agent's ends; with a terminal in and out are one descriptor each of
 * it and err is -1; so is that of a detached command, whose out has both.  All
 * nonblocking. */
struct spawned {
	pid_t pid; /* also its process group */
	int in, out, err;
	int keep; /* given: the child has it open until it executes; -1 */
	struct execgroup group; /* the caller releases it when pid has ended */
	struct child *child; /* for spawn_free, once it is away */
};

/* What req holds may be taken, whatever comes of it.  0; -EBUSY: too much is
 * under way; as user_find(), or another -errno; with e. */
int spawn(struct work *w, const struct strs *boot_env, struct exec_request *req,
    struct spawned *ret, struct err *e);
/* Why a command could not be executed, for a person; code: -errno. */
const char *spawn_error(int code);
/* Only once child_is_away().  NULL is fine. */
void spawn_free(struct child *ch);

#endif
