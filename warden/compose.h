#ifndef MEWS_WARDEN_COMPOSE_H
#define MEWS_WARDEN_COMPOSE_H

#include <stddef.h>

struct vmm_backend;

/*
 * mews-warden -x: reads what the keeper left (proto/ward.h), composes the
 * hypervisor's arguments, lowers the limits, installs the hypervisor's filter
 * and becomes it.  Every fault ends the process with a line in the VM's log.
 */
_Noreturn void compose_exec(const struct vmm_backend *be);

#endif
