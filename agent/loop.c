#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

#include "agent/loop.h"
#include "common/log.h"

/* pid 1 has one loop, and everything in it hangs on that */
static int loop_fd = -1;

void
loop_init(void)
{
	loop_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop_fd < 0)
		fatal("epoll_create1: %m");
}

void
loop_turn(void)
{
	struct epoll_event ev;
	struct watch *w;
	int n;

	n = epoll_wait(loop_fd, &ev, 1, -1);
	if (n < 0 && errno != EINTR)
		fatal("epoll_wait: %m");
	if (n <= 0)
		return;
	w = ev.data.ptr;
	w->fn(w->arg, ev.events);
}

/*
 * A watch that sleeps leaves the set: epoll reports hang-ups whether asked
 * or not, and a source that waits for its sink must not spin.
 */
int
loop_watch(struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (events == 0) {
		loop_unwatch(w);
		return 0;
	}
	if (w->is_on && w->events == events)
		return 0;
	if (epoll_ctl(loop_fd, w->is_on ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd,
		&ev) < 0)
		return -errno;
	w->is_on = true;
	w->events = events;
	return 0;
}

void
loop_unwatch(struct watch *w)
{
	if (w->is_on)
		(void)epoll_ctl(loop_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->is_on = false;
	w->events = 0;
}
