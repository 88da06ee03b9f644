#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "proto/jread.h"
#include "warden/agent.h"
#include "warden/call.h"
#include "warden/gclock.h"

#define ROUND_MS 30000
#define FIRST_MS 1000 /* a step may have been measured in a hurry: again */
#define FIRST_ROUNDS 2
#define RTT_MAX_US 40000 /* slower says too little */
#define TRIES 8
#define HINT_MS 1000
#define TRY_MS 200
#define SURE_US 1000 /* less is not worth a word */
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
	return off > half + SURE_US * 1000 || off < -half - SURE_US * 1000;
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
	if (call_mux(agent_mux(g->agent), HTTP_PUT, "/v1/clock", g->body,
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
	int64_t guest_ns, off;

	g->call = NULL;
	if (ans->status != 200 || !time_of(ans, &guest_ns))
		next_round(g); /* one of an older build, or a liar */
	else if (rtt_us > RTT_MAX_US && ++g->tries < TRIES)
		arm(g, TRY_MS);
	else if (gclock_offset(g->asked_wall_ns, rtt_us, guest_ns, &off))
		set(g, off);
	else
		next_round(g);
	if (ans->status == 200)
		g->health(g->arg, ans);
	call_free(c);
	agent_kick(g->agent);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct gclock *g = arg;
	struct yamux *y = agent_mux(g->agent);

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
	agent_kick(g->agent);
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
gclock_open(struct gclock *g, struct event_base *base, struct agent *agent,
    void (*health)(void *arg, const struct call_answer *ans), void *arg)
{
	g->agent = agent;
	g->health = health;
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
