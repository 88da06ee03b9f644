#ifndef MEWS_AGENT_DETACH_H
#define MEWS_AGENT_DETACH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct conn;
struct err;
struct exec_request;

#define DETACHED_MAX 64 /* that run, or whose output waits for the console */

/*
 * A command that nobody waits for.  It is answered (201, {"pid": N}) when it
 * has begun, or with why it has not; its client may go at any time.  What it
 * says goes line by line to the console, as fast as that takes it: a command
 * that says more waits, as it would for a terminal.  Its end, and how it ended,
 * are in the agent's log.
 */

/* 0: c is answered later; -EBUSY: too many, or nothing is left for one that
 * stays; or as exec_start(), with e. */
int detach_start(struct conn *c, struct exec_request *req, struct err *e);
/* A child was reaped.  False: it is none of these. */
bool detach_reaped(pid_t pid, int status);
/* As exec_signal_all(). */
size_t detach_signal_all(int sig);

#endif
