#include <errno.h>
#include <event2/event.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "warden/dial.h"

#define FIRST_PAUSE_MS 1 /* the hypervisor is just starting */
#define LOST_PAUSE_MS 25
#define PAUSE_SHIFT_MAX 5

static int
connect_abstract(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd, r;

	memcpy(sun.sun_path + 1, name, len); /* ours: a few bytes */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sun,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) <
	    0) {
		r = -errno;
		fd_close(&fd);
		return r;
	}
	return fd;
}

static void
arm(struct dial *d)
{
	unsigned int shift =
	    d->fails < PAUSE_SHIFT_MAX ? d->fails : PAUSE_SHIFT_MAX;
	long ms = (long)(d->was_up ? LOST_PAUSE_MS : FIRST_PAUSE_MS) << shift;
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	if (d->fails++ == 0)
		d->since_ms = clock_ms();
	if (clock_ms() - d->since_ms > DIAL_GIVE_UP_MS) {
		log_warn("%s: given up", d->name);
		return;
	}
	(void)evtimer_add(d->timer, &tv);
}

static void
try(struct dial *d)
{
	int fd = connect_abstract(d->name);

	if (fd < 0) {
		arm(d);
		return;
	}
	d->was_up = true;
	d->up(d->arg, fd);
}

static void
on_timer(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	try(arg);
}

int
dial_open(struct dial *d, struct event_base *base, const char *name,
    void (*up)(void *arg, int fd), void *arg)
{
	d->name = name;
	d->up = up;
	d->arg = arg;
	d->timer = evtimer_new(base, on_timer, d);
	if (d->timer == NULL)
		return -ENOMEM;
	/* from the loop: up() may need what the caller has yet to set up */
	event_active(d->timer, EV_TIMEOUT, 0);
	return 0;
}

void
dial_close(struct dial *d)
{
	if (d->timer != NULL)
		event_free(d->timer);
	d->timer = NULL;
}

void
dial_again(struct dial *d)
{
	arm(d);
}

void
dial_ok(struct dial *d)
{
	d->fails = 0;
}

void
dial_retry(struct dial *d)
{
	d->fails = 0;
	event_active(d->timer, EV_TIMEOUT, 0);
}
