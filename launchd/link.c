#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/util.h"
#include "launchd/link.h"
#include "proto/chan.h"

static void
on_timer(int fd, short what, void *arg)
{
	struct link *l = arg;

	(void)fd;
	(void)what;
	l->due = true;
	l->wake(l->arg);
}

static void
on_calm(int fd, short what, void *arg)
{
	struct link *l = arg;

	(void)fd;
	(void)what;
	if (l->chan != NULL)
		chan_hold(l->chan, false);
}

int
link_init(
    struct link *l, struct event_base *base, void (*wake)(void *arg), void *arg)
{
	*l = (struct link){ .wake = wake, .arg = arg };
	l->timer = event_new(base, -1, 0, on_timer, l);
	l->calm = event_new(base, -1, 0, on_calm, l);
	return l->timer == NULL || l->calm == NULL ? -ENOMEM : 0;
}

void
link_arm(struct link *l, long long ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	l->due = false;
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

void
link_clear(struct link *l)
{
	link_close(l);
	if (l->timer != NULL)
		event_free(l->timer);
	if (l->calm != NULL)
		event_free(l->calm);
	l->timer = l->calm = NULL;
}

void
link_hold(struct link *l, long long ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	if (event_add(l->calm, &tv) == 0)
		chan_hold(l->chan, true);
}

void
link_patience(struct link *l, long long ms)
{
	l->until_ms = clock_ms() + ms;
}

/* A peer that hangs up again and again, or never comes, must not keep us and
 * the spawner busy (I9). */
long long
link_backoff(struct link *l, long long first_ms)
{
	const long long now = clock_ms();

	if (l->backoff_ms == 0 || now - l->lost_ms > LINK_HEALTHY_MS)
		l->backoff_ms = first_ms;
	else if (l->backoff_ms < LINK_BACKOFF_MAX_MS)
		l->backoff_ms *= 2;
	if (l->backoff_ms > LINK_BACKOFF_MAX_MS)
		l->backoff_ms = LINK_BACKOFF_MAX_MS;
	l->lost_ms = now;
	return l->backoff_ms;
}

bool
link_is_lost(const struct link *l)
{
	return clock_ms() >= l->until_ms;
}

int
link_open(const char *name, const char *sock, uint32_t uid, pid_t pid, int *ret)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct ucred uc = { .pid = -1 };
	socklen_t len = sizeof(uc);
	int fd, r = 0;

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "/%s/%s", name, sock);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &uc, &len) < 0)
		r = -errno;
	else if (RULE(LINK_PEER) &&
	    (uc.uid != uid || (pid > 0 && uc.pid != pid)))
		r = -EPERM;
	if (r < 0)
		fd_close(&fd);
	else
		*ret = fd;
	return r;
}
