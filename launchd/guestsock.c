#include <errno.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "launchd/guestsock.h"

int
guestsock_open(void)
{
	int fd =
	    socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

int
guestsock_connect(int fd, uint32_t cid, uint32_t port)
{
	const struct sockaddr_vm to = {
		.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port
	};

	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		return errno == EINPROGRESS ? 0 : -errno;
	return 0;
}

int
guestsock_peer(int fd, uint32_t *cid, uint32_t *port)
{
	struct sockaddr_vm at = { 0 };
	socklen_t len = sizeof(at);

	if (getpeername(fd, (struct sockaddr *)&at, &len) < 0)
		return -errno;
	if (at.svm_family != AF_VSOCK)
		return -EAFNOSUPPORT;
	*cid = at.svm_cid;
	*port = at.svm_port;
	return 0;
}
