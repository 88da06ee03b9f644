#ifndef MEWS_WARDEN_EXEC_H
#define MEWS_WARDEN_EXEC_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct vmm_backend;

/*
 * mews-warden -x CID: reads the spec, composes the hypervisor's arguments,
 * lowers the limits, installs the hypervisor's filter and becomes it.  Every
 * fault ends the process with a line in the VM's log.
 */
_Noreturn void exec_vmm(const struct vmm_backend *be, uint32_t cid);

/* Extra kernel arguments: printable ASCII, bounded.  0 or -errno and e. */
int exec_args_check(const char *s, size_t len, struct err *e);

#endif
