#ifndef MEWS_WARDEN_VMM_SECCOMP_H
#define MEWS_WARDEN_VMM_SECCOMP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/confine.h"

#define VMM_RULES_MAX 224

/*
 * The allow-list that every thread of the hypervisor lives under, beneath
 * its own.  Fills rows; returns how many.  vsock: it has a vhost descriptor;
 * path: of the one execve.
 */
size_t vmm_rules(unsigned int accel, bool vsock, const char *path,
    struct seccomp_rule rows[VMM_RULES_MAX]);
/* Installs it, or dies. */
void vmm_seccomp(unsigned int accel, bool vsock, const char *path);

#endif
