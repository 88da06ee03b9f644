#ifndef MEWS_WARDEN_VMM_SECCOMP_H
#define MEWS_WARDEN_VMM_SECCOMP_H

#include <stddef.h>

#include "common/confine.h"

#define VMM_RULES_MAX 224

struct machine;

/*
 * The allow-list that every thread of the hypervisor lives under, beneath
 * its own: what any needs, what its accelerator and its devices do.  Fills
 * rows; returns how many.  path: of the one execve.
 */
size_t vmm_rules(const struct machine *m, const char *path,
    struct seccomp_rule rows[VMM_RULES_MAX]);
/* Installs it, or dies.  watch: where a SECCOMP_DEBUG build's keeper takes
 * the list's listener; -1: nowhere. */
void vmm_seccomp(const struct machine *m, const char *path, int watch);

#endif
