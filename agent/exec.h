#ifndef MEWS_AGENT_EXEC_H
#define MEWS_AGENT_EXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct agent;
struct conn;
struct conn_taker;
struct err;
struct exec;
struct exec_request;

/*
 * A process in the workload, its streams carried by one conn in frames
 * (common/frame.h).  The struct lives until the process was reaped, the
 * conn may go before: then it and all that it started hear SIGHUP (with a
 * terminal) or SIGTERM, and are killed when it has ended, or after a grace.
 */

/* True: one more may start.  Where EXECS_MAX run, the one that began first of
 * those whose clients are gone is killed for it before its time. */
bool exec_has_room(const struct agent *a);
/* 0 and *ret, or -errno with e.  Limits are the caller's; what req holds
 * may be taken. */
int exec_start(
    struct conn *c, struct exec_request *req, struct exec **ret, struct err *e);
/* What it does with the stream it was given: of a conn_upgrade with the
 * struct exec. */
extern const struct conn_taker exec_taker;
/* A child was reaped.  May free a conn. */
void exec_reaped(pid_t pid, int status);
/* A signal to every exec's process group; SIGKILL to all that it started.  To
 * how many. */
size_t exec_signal_all(int sig);

#endif
