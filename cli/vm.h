#ifndef MEWS_CLI_VM_H
#define MEWS_CLI_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/api.h"
#include "proto/objects.h"

struct cli;
struct err;

/*
 * What commands ask about VMs.  Each returns 0, -EINTR after a signal,
 * -EREMOTEIO with e where the API said no, or another negative errno with e:
 * what it said no to is api_status()'s to tell, which a connection that
 * fails leaves at 0.  A struct vm_view owns nothing.
 */
#define VM_REF_MAX 256 /* longer is no name */

/* "/api/v1/vms/NAME" + tail, NAME encoded. */
int vm_target(char target[API_TARGET_MAX], const char *prefix, const char *name,
    const char *tail, struct err *e);

int vm_get(struct cli *c, const char *name, struct vm_view *ret, struct err *e);
/* verb: "start", ... */
int vm_post(struct cli *c, const char *name, const char *verb,
    struct vm_view *ret, struct err *e);
/* name: what it is to be called. */
int vm_rename(struct cli *c, const char *vm, const char *name,
    struct vm_view *ret, struct err *e);
/* timeout: how long its guest has, in seconds; -1: as mews.conf says. */
int vm_stop(struct cli *c, const char *name, int timeout, struct vm_view *ret,
    struct err *e);
/* signal: a number; *reached: how many commands have got it. */
int vm_kill(struct cli *c, const char *name, uint8_t signal, uint32_t *reached,
    struct err *e);
/* *pid: of its process, as the guest's programs see it. */
int vm_exec_detached(struct cli *c, const char *name,
    const struct exec_request *rq, int32_t *pid, struct err *e);
int vm_delete(struct cli *c, const char *name, struct err *e);
/* *taken: it was refused because the name is taken, and nothing was made. */
int vm_create_new(struct cli *c, const struct vm_create *rq,
    struct vm_view *ret, bool *taken, struct err *e);
/* The last call's answer was that there is no such VM. */
bool vm_is_missing(const struct cli *c);
/*
 * All of them, in the order they were made, in as many requests as it takes.
 * query: more of it ("&status=running"), or "".  table_clear_list() frees.
 */
int vm_list(struct cli *c, const char *query, struct objs *ret, struct err *e);

/* How to call it so that no other can be meant: its uid, else its name. */
void vm_ref(const struct vm_view *vm, char ref[VM_REF_MAX]);

/*
 * Asks again and again, 5 to 100 ms apart and after a while up to a second,
 * until done() says so: 1 it is done, 0 not yet, negative with e.
 * -ETIMEDOUT after ms.
 */
int vm_wait(struct cli *c, const char *ref, int ms,
    int (*done)(const struct vm_view *vm, struct err *e), struct vm_view *ret,
    struct err *e);
/* Until it is gone. */
int vm_wait_gone(struct cli *c, const char *ref, int ms, struct err *e);
int vm_is_ready(const struct vm_view *vm, struct err *e);
int vm_is_down(const struct vm_view *vm, struct err *e);

/* Nothing runs in it and nothing is about to. */
bool vm_at_rest(const struct vm_view *vm);

/* An answer that is not what was hoped for, in words.  Negative. */
int vm_refusal(struct cli *c, int status, const char *body, size_t len,
    const char *name, struct err *e);

#endif
