#include <dlfcn.h>
#include <event2/event.h>
#include <stddef.h>

#include "tests/suite/ev.h"

struct ev ev;

int
event_add(struct event *e, const struct timeval *tv)
{
	int (*real)(struct event *, const struct timeval *);

	*(void **)&real = dlsym(RTLD_NEXT, "event_add");
	if (tv != NULL) {
		ev.added = *tv;
		ev.nadded++;
	}
	return ev.no_add ? -1 : real(e, tv);
}

struct event *
event_new(struct event_base *base, int fd, short what,
    void (*fn)(int, short, void *), void *arg)
{
	struct event *(*real)(struct event_base *, int, short,
	    void (*)(int, short, void *), void *);

	*(void **)&real = dlsym(RTLD_NEXT, "event_new");
	if (ev.fail_new > 0 && --ev.fail_new == 0)
		return NULL;
	return real(base, fd, what, fn, arg);
}

void
ev_expire(struct event_base *base, struct event *timer)
{
	(void)event_del(timer);
	event_active(timer, EV_TIMEOUT, 0);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
}
