#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/fds.h"
#include "common/log.h"
#include "mewsd/notify.h"

static struct sockaddr_un manager;
static socklen_t manager_len; /* 0: nobody wants to know */

void
notify_init(void)
{
	const char *path = secure_getenv("NOTIFY_SOCKET");
	size_t len = path == NULL ? 0 : strlen(path);

	if (len == 0)
		return;
	if ((path[0] != '/' && path[0] != '@') ||
	    len >= sizeof(manager.sun_path)) {
		log_warn("NOTIFY_SOCKET names no Unix socket: not told");
	} else {
		manager.sun_family = AF_UNIX;
		memcpy(manager.sun_path, path, len);
		/* "@" stands for the NUL of an abstract name: unix(7) */
		if (path[0] == '@')
			manager.sun_path[0] = '\0';
		manager_len =
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	}
	(void)unsetenv("NOTIFY_SOCKET");
}

void
notify_send(const char *state)
{
	int fd;

	if (manager_len == 0)
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 ||
	    sendto(fd, state, strlen(state), MSG_NOSIGNAL,
		(struct sockaddr *)&manager, manager_len) < 0)
		log_warn("service manager not told \"%s\": %m", state);
	fd_close(&fd);
}
