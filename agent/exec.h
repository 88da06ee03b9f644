#ifndef MEWS_AGENT_EXEC_H
#define MEWS_AGENT_EXEC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct conn;
struct err;
struct exec;
struct exec_request;

/*
 * A process in the workload, its streams carried by one conn in frames
 * (common/frame.h).  The struct lives until the process was reaped, the
 * conn may go before: then all that it started is killed.
 */

/* 0 and *ret, or -errno with e.  Limits are the caller's; what req holds
 * may be taken. */
int exec_start(
    struct conn *c, struct exec_request *req, struct exec **ret, struct err *e);
/* Bytes from the host; *used may be less than len: stdin is full.
 * Negative: what it says is no frame, the stream is to be reset. */
int exec_input(struct exec *ex, const uint8_t *p, size_t len, size_t *used);
/* The host will send nothing more. */
void exec_stdin_end(struct exec *ex);
/* There may be room for output again.  May free the conn. */
void exec_pump(struct exec *ex);
/* The conn is gone.  NULL is fine. */
void exec_abandon(struct exec *ex);
/* A child was reaped.  May free a conn. */
void exec_reaped(pid_t pid, int status);
/* SIGTERM to every exec's process group. */
void exec_term_all(void);

#endif
