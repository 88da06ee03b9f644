#ifndef MEWS_AGENT_CHILD_H
#define MEWS_AGENT_CHILD_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/execgroup.h"
#include "agent/user.h"
#include "proto/objects.h"

struct work;

#define CHILD_STACK 16384

/*
 * What an exec's process needs between its birth and execve(2).  It is born
 * sharing the agent's memory, so that nothing is copied, and beside it: the
 * agent does not wait (as vfork(2) would), or the workload, in whose pid
 * namespace the child already is, could stop both with one SIGSTOP.  It has
 * descriptors, signals and directory of its own; of the agent's it keeps none
 * by the time a user of the workload may stop it.  That memory is closed to
 * the workload as the agent's always is: it is not dumpable, and
 * CAP_SYS_PTRACE is not among what the workload has.
 *
 * So all of this stays until child_is_away().
 */
struct child {
	const struct work *work;
	struct exec_request req;
	size_t held; /* bytes of all this (agent/hold.h) */
	char **argv; /* [-1] is free, for a script without an interpreter */
	char **envp;
	bool has_user; /* else it runs as root, as it is born */
	struct user user;
	char home[sizeof("HOME=") + USER_HOME_MAX]; /* of that user, in envp */
	int std[3]; /* become its 0, 1 and 2 */
	int keep; /* goes when it executes, or ends; -1: none */
	struct execgroup group;
	bool joins; /* it was not born in its cgroup */
	_Atomic(pid_t) tid; /* 0: it executes another program, or has ended */
	int fail; /* then: -errno of what kept it from executing, or 0 */
	alignas(16) uint8_t stack[CHILD_STACK];
};

/* The pid, or -errno. */
pid_t child_start(struct child *ch);
/* True when it uses the struct no more. */
bool child_is_away(const struct child *ch);

#endif
