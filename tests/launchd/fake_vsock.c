#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "launchd/guestsock.h"
#include "tests/launchd/fake_vsock.h"

/* The dialling half of fake_vsock.h, in launchd. */

int __wrap_guestsock_open(void);
int __wrap_guestsock_connect(int fd, uint32_t cid, uint32_t port);
int __wrap_guestsock_peer(int fd, uint32_t *cid, uint32_t *port);

int
__wrap_guestsock_open(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

int
__wrap_guestsock_connect(int fd, uint32_t cid, uint32_t port)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	(void)snprintf(
	    sun.sun_path, sizeof(sun.sun_path), "/vsock-%u-%u", cid, port);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return errno == ENOENT ? -ECONNREFUSED : -errno;
	/* not writable before somebody reads: as if it were not connected */
	while (ODDITY(cid) == HANGS && write(fd, &sun, sizeof(sun)) > 0)
		;
	return 0;
}

int
__wrap_guestsock_peer(int fd, uint32_t *cid, uint32_t *port)
{
	struct sockaddr_un sun = { 0 };
	socklen_t len = sizeof(sun);
	char *at;

	if (getpeername(fd, (struct sockaddr *)&sun, &len) < 0)
		return -errno;
	at = strstr(sun.sun_path, "vsock-");
	if (at == NULL)
		return -EAFNOSUPPORT;
	*cid = (uint32_t)strtoul(at + strlen("vsock-"), &at, 10);
	*port = (uint32_t)strtoul(at + 1, NULL, 10);
	if (ODDITY(*cid) == LIES)
		(*cid)++;
	return 0;
}
