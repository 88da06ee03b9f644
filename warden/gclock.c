#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "proto/jread.h"
#include "warden/call.h"
#include "warden/gclock.h"

#define ROUND_MS 30000
#define FIRST_MS 1000 /* a step may have been measured in a hurry: again */
#define FIRST_ROUNDS 2
#define RTT_MAX_US 40000 /* slower says too little */
#define TRIES 8
#define HINT_MS 1000
#define TRY_MS 200
#define SURE_NS 1000000LL /* less is not worth a word */
#define SAID_NS (500 * 1000000LL) /* is said in the log */

static void
arm(struct gclock *g, long ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	(void)evtimer_add(g->timer, &tv);
}

bool
gclock_offset(
    int64_t asked_ns, int64_t rtt_us, int64_t guest_ns, int64_t *off_ns)
{
	const int64_t half = rtt_us * 500;
	int64_t off;

	/* of a stranger's number */
	if (__builtin_sub_overflow(asked_ns + half, guest_ns, &off))
		return false;
	*off_ns = off;
	return off > half + SURE_NS || off < -half - SURE_NS;
}

static void
next_round(struct gclock *g)
{
	g->tries = 0;
	g->is_hinted = false;
	arm(g, g->rounds++ < FIRST_ROUNDS ? FIRST_MS : ROUND_MS);
}

static void
on_set(void *arg, const struct call_answer *ans)
{
	struct gclock *g = arg;
	struct call *c = g->call;

	g->call = NULL;
	if (ans->status != 200)
		log_warn("guest clock: not set: %d", ans->status);
	next_round(g);
	call_free(c);
}

static void
set(struct gclock *g, int64_t off)
{
	if (off > SAID_NS || off < -SAID_NS)
		log_info("guest clock: %" PRId64 " ms off", -off / 1000000);
	(void)snprintf(
	    g->body, sizeof(g->body), "{\"offset_ns\":%" PRId64 "}", off);
	if (call_mux(g->ops->mux(g->arg), HTTP_PUT, "/v1/clock", g->body,
		strlen(g->body), on_set, g, &g->call) < 0)
		next_round(g);
}

static bool
time_of(const struct call_answer *ans, int64_t *ret)
{
	struct jread j, at;
	long long v;

	if (jread_open(&j, (const char *)ans->body, ans->len) < 0 ||
	    jread_find(&j, "time_ns", &at) < 0 ||
	    jread_peek(&at) != JREAD_NUMBER || jread_int(&at, &v) < 0)
		return false;
	*ret = v;
	return true;
}

static void
on_time(void *arg, const struct call_answer *ans)
{
	struct gclock *g = arg;
	struct call *c = g->call;
	const int64_t rtt_us = clock_us() - g->asked_us;
	bool is_slow = false, is_off = false;
	int64_t guest_ns, off = 0;

	g->call = NULL;
	/* else one of an older build, or a liar */
	if (ans->status == 200 && time_of(ans, &guest_ns)) {
		is_slow = rtt_us > RTT_MAX_US;
		is_off =
		    gclock_offset(g->asked_wall_ns, rtt_us, guest_ns, &off);
	}
	if (is_slow && ++g->tries < TRIES)
		arm(g, TRY_MS);
	else if (is_off)
		set(g, off);
	else
		next_round(g);
	if (ans->status == 200)
		g->ops->health(g->arg, ans);
	call_free(c);
	g->ops->kick(g->arg);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct gclock *g = arg;
	struct yamux *y = g->ops->mux(g->arg);

	(void)fd;
	(void)what;
	/* no answer yet: it is paused, or hangs */
	if (!g->is_on || g->call != NULL || y == NULL)
		return;
	g->asked_us = clock_us();
	g->asked_wall_ns = clock_wall_ns();
	if (call_mux(y, HTTP_GET, "/healthz", NULL, 0, on_time, g, &g->call) <
	    0)
		next_round(g);
	g->ops->kick(g->arg);
}

void
gclock_start(struct gclock *g)
{
	g->is_on = true;
	g->is_hinted = false;
	g->tries = g->rounds = 0;
	/* what was asked before a pause is answered after it, and then it is
	 * seen that this took long */
	if (g->call == NULL)
		arm(g, 0);
}

void
gclock_hint(struct gclock *g)
{
	if (!g->is_on || g->is_hinted || g->call != NULL)
		return;
	g->is_hinted = true;
	arm(g, HINT_MS);
}

void
gclock_stop(struct gclock *g)
{
	g->is_on = false;
	call_free(g->call);
	g->call = NULL;
	if (g->timer != NULL)
		(void)evtimer_del(g->timer);
}

int
gclock_open(struct gclock *g, struct event_base *base,
    const struct gclock_ops *ops, void *arg)
{
	g->ops = ops;
	g->arg = arg;
	g->timer = evtimer_new(base, on_timer, g);
	return g->timer == NULL ? -ENOMEM : 0;
}

void
gclock_close(struct gclock *g)
{
	gclock_stop(g);
	if (g->timer != NULL)
		event_free(g->timer);
	g->timer = NULL;
}
