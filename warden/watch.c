#include <errno.h>
#include <event2/event.h>

#include "common/clock.h"
#include "warden/call.h"
#include "warden/health.h"
#include "warden/watch.h"

static void
set_timer(struct watch *w, long ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	w->due_us = clock_us() + ms * 1000;
	(void)evtimer_add(w->timer, &tv);
}

static void
on_answer(void *arg, const struct call_answer *ans)
{
	struct watch *w = arg;
	struct call *c = w->call;
	const int64_t rtt_us = clock_us() - w->asked_us;
	enum ward_mute mute = WARD_HEARD;

	w->call = NULL;
	if (ans->status == 0)
		mute = WARD_MUTE_SILENT;
	else if (ans->status != 200 || !health_says(ans, "ready"))
		mute = WARD_MUTE_NOT_READY;
	set_timer(w, mute == WARD_HEARD ? WATCH_MS : WATCH_LATE_MS);
	if (ans->status == 200)
		w->ops->health(w->arg, ans, w->asked_wall_ns, rtt_us);
	call_free(c);
	w->ops->said(w->arg, mute);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd;
	(void)what;
	if (w->mux == NULL)
		return;
	if (w->call != NULL) {
		/* its answer may come yet, and is waited for */
		w->ops->said(w->arg, WARD_MUTE_SILENT);
		return;
	}
	set_timer(w, WATCH_LATE_MS);
	w->asked_us = clock_us();
	w->asked_wall_ns = clock_wall_ns();
	if (call_mux(w->mux, HTTP_GET, "/healthz", NULL, 0, on_answer, w,
		&w->call) < 0)
		w->ops->said(w->arg, WARD_MUTE_SILENT); /* and asked again */
	else
		w->ops->kick(w->arg);
}

int
watch_init(struct watch *w, struct event_base *base,
    const struct watch_ops *ops, void *arg)
{
	*w = (struct watch){ .ops = ops, .arg = arg };
	w->timer = evtimer_new(base, on_timer, w);
	return w->timer == NULL ? -ENOMEM : 0;
}

void
watch_start(struct watch *w, struct yamux *mux)
{
	w->mux = mux;
	set_timer(w, WATCH_MS);
}

void
watch_soon(struct watch *w, long ms)
{
	if (w->mux != NULL && w->call == NULL &&
	    clock_us() + ms * 1000 < w->due_us)
		set_timer(w, ms);
}

void
watch_stop(struct watch *w)
{
	call_free(w->call);
	w->call = NULL;
	w->mux = NULL;
	if (w->timer != NULL)
		(void)evtimer_del(w->timer);
}

void
watch_clear(struct watch *w)
{
	watch_stop(w);
	if (w->timer != NULL)
		event_free(w->timer);
	w->timer = NULL;
}
