#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/fds.h"
#include "spawner/spawner.h"
#include "spawner/vhost.h"
#include "spawner/vsock.h"

void
vsock_find(struct spawner *sp)
{
	char *why = sp->caps.vsock_why;
	size_t len = sizeof(sp->caps.vsock_why);
	int fd;

	if (sp->conf.vsock == VSOCK_OFF) {
		(void)snprintf(why, len, "vsock = off in mews.conf");
		return;
	}
	if ((fd = vhost_open()) < 0) {
		(void)snprintf(
		    why, len, VHOST_VSOCK ": %s", strerrordesc_np(-fd));
		return;
	}
	fd_close(&fd);
	sp->caps.vsock = 1;
}

/*
 * The address is set here and nowhere else: the hypervisor that gets the
 * descriptor believes to set it, and its filter answers in our stead.
 */
int
vsock_make(const struct spawner *sp, uint16_t slot, uint32_t *cid)
{
	uint32_t want = sp->conf.cid_base + slot;
	int fd = vhost_open(), r;

	if (fd < 0)
		return fd;
	if ((r = vhost_set_cid(fd, want)) < 0) {
		fd_close(&fd);
		return r;
	}
	*cid = want;
	return fd;
}
