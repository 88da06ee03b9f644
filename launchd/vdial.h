#ifndef MEWS_LAUNCHD_VDIAL_H
#define MEWS_LAUNCHD_VDIAL_H

#include <stdint.h>

struct lvm;
struct ward_dial;

/* Answered now or within seconds, as long as that warden is connected. */
void vdial_ask(struct lvm *v, uint64_t id, const struct ward_dial *ask);
/* Its warden is gone: so is everyone who waited. */
void vdial_clear(struct lvm *v);

/* vsock.c: what vdial.c asks of the kernel; -errno.  Apart, so that a test can
 * have its own. */
int vdial_socket(void);
int vdial_connect(int fd, uint32_t cid, uint32_t port);
int vdial_peer(int fd, uint32_t *cid, uint32_t *port);

#endif
