#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "launchd/launchd.h"

void
link_arm(struct link *l, long long ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	if (ms < 0)
		(void)event_del(l->timer);
	else
		(void)event_add(l->timer, &tv);
}

void
link_close(struct link *l)
{
	chan_free(l->chan);
	l->chan = NULL;
	l->phase = LINK_OFF;
	if (l->timer != NULL)
		link_arm(l, -1);
}

/*
 * Connects to run/vm/<uid>/<sock>, which is bound by root.  The kernel says
 * who called listen(2): the VM's uid, and for the keeper (pid > 0) the very
 * process of the record.  -ECONNREFUSED: nobody listens yet.
 */
int
link_open(const struct lvm *v, const char *sock, pid_t pid, int *ret)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct ucred uc = { .pid = -1 };
	socklen_t len = sizeof(uc);
	int fd, r = 0;

	(void)snprintf(
	    sa.sun_path, sizeof(sa.sun_path), "/%s/%s", v->name, sock);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &uc, &len) < 0)
		r = -errno;
	else if (RULE(LINK_PEER) &&
	    (uc.uid != v->host_uid || (pid > 0 && uc.pid != pid)))
		r = -EPERM;
	if (r < 0)
		close_fd(&fd);
	*ret = fd;
	return r;
}
