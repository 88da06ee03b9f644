#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "warden/call.h"
#include "warden/gclock.h"
#include "warden/health.h"

#define FIRST_MS 1000 /* a step may have been measured in a hurry: again */
#define FIRST_ROUNDS 2
#define RTT_MAX_US 40000 /* slower says too little */
#define TRIES 8
#define TRY_MS 200
#define SURE_NS 1000000LL /* less is not worth a word */
#define SAID_NS (500 * 1000000LL) /* is said in the log */

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
	if (g->rounds < FIRST_ROUNDS) {
		g->rounds++;
		g->ops->soon(g->arg, FIRST_MS);
	}
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
	struct yamux *y = g->ops->mux(g->arg);

	if (off > SAID_NS || off < -SAID_NS)
		log_info("guest clock: %" PRId64 " ms off", -off / 1000000);
	(void)snprintf(
	    g->body, sizeof(g->body), "{\"offset_ns\":%" PRId64 "}", off);
	if (y == NULL ||
	    call_mux(y, HTTP_PUT, "/v1/clock", g->body, strlen(g->body), on_set,
		g, &g->call) < 0)
		next_round(g);
	else
		g->ops->kick(g->arg);
}

void
gclock_heard(struct gclock *g, const struct call_answer *ans, int64_t asked_ns,
    int64_t rtt_us)
{
	long long guest_ns;
	int64_t off = 0;

	if (g->call != NULL)
		return; /* what is said now may be of before it was set */
	/* else one of an older build, or a liar */
	if (health_number(ans, "time_ns", &guest_ns)) {
		if (rtt_us > RTT_MAX_US && ++g->tries < TRIES) {
			g->ops->soon(g->arg, TRY_MS);
			return;
		}
		if (gclock_offset(asked_ns, rtt_us, guest_ns, &off)) {
			set(g, off);
			return;
		}
	}
	next_round(g);
}

void
gclock_start(struct gclock *g)
{
	g->tries = g->rounds = 0;
	g->ops->soon(g->arg, 0);
}

void
gclock_stop(struct gclock *g)
{
	call_free(g->call);
	g->call = NULL;
}
