#ifndef MEWS_LAUNCHD_BUDGET_H
#define MEWS_LAUNCHD_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

struct launchd;
struct vm;

/*
 * What one VM's jail may cost the others (I9, I13): one budget over keeper and
 * warden and all they say, one over all descriptors that go to its warden.
 *
 * A descriptor that was sent and not received counts as its sender's, whose
 * limit all VMs share.  The kernel says how much of what was sent a warden has
 * not read (SIOCOUTQ), so no warden can lie about it.
 */
#define BUDGET_MS 500
#define BUDGET_HEARD 128 /* in that time */
#define BUDGET_NEWS \
	4 /* what a state costs of it: 32 of them, a start has ten */
#define BUDGET_DIAL 1 /* one for each exec */
#define BUDGET_FDS 16 /* unread ones */
#define BUDGET_STALL_MS 1000 /* without reading any: it gets no more */

/* It said something: past the budget neither is read until its time is over. */
void budget_heard(struct vm *v, unsigned int cost);
/* Whether one more descriptor may go to its warden, and counts it. */
bool budget_fd(struct vm *v);
/* Its warden has not read for a while what was sent. */
bool budget_is_stalled(struct vm *v);
/* Its warden's channel was closed: nothing of that is unread any more. */
void budget_fds_clear(struct vm *v);

#endif
