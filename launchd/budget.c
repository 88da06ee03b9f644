#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "common/clock.h"
#include "common/util.h"
#include "launchd/budget.h"
#include "launchd/launchd.h"
#include "launchd/vm.h"
#include "proto/chan.h"

/* What the kernel counts for the smallest packet, at least. */
#define PACKET_BYTES 512

void
budget_heard(struct link *l, unsigned int part, unsigned int cost)
{
	const long long now = clock_ms();

	if (now - l->heard_ms >= BUDGET_MS) {
		l->heard_ms = now;
		l->heard = 0;
	}
	l->heard += cost;
	if (l->heard >= part && RULE(WARD_NEWS))
		link_hold(l, l->heard_ms + BUDGET_MS - now);
}

static void
set_fds(struct vm *v, unsigned int n)
{
	v->ld->nfds_unread -= v->budget.fds;
	v->ld->nfds_unread += n;
	v->budget.fds = n;
}

void
budget_fds_clear(struct vm *v)
{
	set_fds(v, 0);
}

/* How many at most its warden has not read. */
static void
look(struct vm *v)
{
	int bytes = 0;
	size_t n;

	if (v->ward.chan == NULL) {
		set_fds(v, 0);
		return;
	}
	if (ioctl(chan_sock(v->ward.chan), SIOCOUTQ, &bytes) < 0)
		return; /* as many as it was */
	n = (size_t)bytes / PACKET_BYTES + chan_queued(v->ward.chan);
	if (bytes > 0 && n == 0)
		n = 1;
	if (n < v->budget.fds || n == 0) {
		set_fds(v, (unsigned int)n);
		v->budget.read_ms = clock_ms();
	}
}

bool
budget_is_stalled(struct vm *v)
{
	look(v);
	return v->budget.fds > 0 &&
	    clock_ms() - v->budget.read_ms >= BUDGET_STALL_MS;
}

/* All wardens together have at most a quarter of what we may have in flight,
 * and one each: mewsd gives us eight descriptors a VM. */
static bool
is_scarce(struct launchd *ld)
{
	const unsigned int max = ld->boot.nofile / 4;
	struct vm *v;

	if (ld->nfds_unread < max)
		return false;
	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (v->budget.fds > 0)
			look(v);
	}
	return ld->nfds_unread >= max;
}

bool
budget_fd(struct vm *v)
{
	if (RULE(STREAM_BACKLOG) &&
	    (budget_is_stalled(v) || v->budget.fds >= BUDGET_FDS ||
		(v->budget.fds > 0 && is_scarce(v->ld))))
		return false;
	if (v->budget.fds == 0)
		v->budget.read_ms = clock_ms();
	set_fds(v, v->budget.fds + 1);
	return true;
}
