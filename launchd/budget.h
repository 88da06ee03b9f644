#ifndef MEWS_LAUNCHD_BUDGET_H
#define MEWS_LAUNCHD_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

struct link;
struct vm;

/*
 * What one VM's jail may cost the others (I9, I13): one budget over all that
 * its keeper and its warden say, a part of it each, so that neither keeps us
 * from hearing the other; one over all descriptors that go to its warden.
 *
 * A descriptor that was sent and not received counts as its sender's, whose
 * limit all VMs share.  The kernel says how much of what was sent a warden has
 * not read (SIOCOUTQ), so no warden can lie about it.
 */
#define BUDGET_MS 500
/* in that time; a start has three states of the keeper, seven of the warden */
#define BUDGET_KEEPER 32
#define BUDGET_WARDEN 128
#define BUDGET_NEWS 4 /* what a state costs of it */
#define BUDGET_DIAL 1 /* one for each exec */
#define BUDGET_FDS 16 /* unread ones */
#define BUDGET_STALL_MS 1000 /* without reading any: it gets no more */

/* It said something: past its part of the budget it is not read until the time
 * is over. */
void budget_heard(struct link *l, unsigned int part, unsigned int cost);
/* Whether one more descriptor may go to its warden, and counts it. */
bool budget_fd(struct vm *v);
/* Its warden has not read for a while what was sent. */
bool budget_is_stalled(struct vm *v);
/* Its warden's channel was closed: nothing of that is unread any more. */
void budget_fds_clear(struct vm *v);

#endif
