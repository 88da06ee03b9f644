#ifndef MEWS_WARDEN_COMPOSE_H
#define MEWS_WARDEN_COMPOSE_H

#include <stddef.h>

struct err;
struct vmm_backend;

/*
 * mews-warden -x: reads what the keeper left (proto/ward.h), composes the
 * hypervisor's arguments, lowers the limits, installs the hypervisor's filter
 * and becomes it.  Every fault ends the process with a line in the VM's log.
 */
_Noreturn void compose_exec(const struct vmm_backend *be);

/* Extra kernel arguments: printable ASCII, bounded.  0 or -errno and e. */
int compose_args_check(const char *s, size_t len, struct err *e);

#endif
