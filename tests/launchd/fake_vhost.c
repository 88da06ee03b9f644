#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "spawner/vhost.h"
#include "tests/launchd/fake_vsock.h"

/* The device's half of fake_vsock.h, in the spawner. */

int __wrap_vhost_open(void);
int __wrap_vhost_set_cid(int fd, uint64_t cid);

int
__wrap_vhost_open(void)
{
	int fd = memfd_create("vhost-vsock", MFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int
__wrap_vhost_set_cid(int fd, uint64_t cid)
{
	if (ODDITY(cid) == TAKEN)
		return -EADDRINUSE;
	return ftruncate(fd, (off_t)cid) < 0 ? -errno : 0;
}
