#ifndef MEWS_WARDEN_QMP_H
#define MEWS_WARDEN_QMP_H

#include "warden/backend.h"

/* QEMU's control socket, as struct vmm_backend wants it. */
struct vmm *qmp_open(
    struct event_base *base, const struct vmm_ops *ops, void *arg);
void qmp_close(struct vmm *v);
void qmp_retry(struct vmm *v);
void qmp_resume(struct vmm *v);
int qmp_stop(struct vmm *v, enum stop_rung rung);

#endif
