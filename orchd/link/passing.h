#ifndef MEWS_PASSING_H
#define MEWS_PASSING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/share.h"
#include "proto/chan.h"

/*
 * Streams on their way to the launcher: said to it, and not answered.  A caller
 * who goes gives back his part of a VM's streams, and what was said of them is
 * still in the channel; so what is there is shared out for itself.
 *
 * At most one half of the channel's queue is theirs, the other for what orchd
 * asks by itself: neither is refused for the number of the other.  What the
 * socket does not take stays a descriptor of orchd's, of which mewsd gives it
 * some for each connection: so there are more where there may be more callers.
 */
#define PASSING_MAX 512
#define PASSING_SOCKET 256 /* fewer than a socket takes */
_Static_assert(2 * PASSING_MAX <= CHAN_QUEUE_MAX, "a half is orchd's own");

struct passing_one;
STAILQ_HEAD(passing_list, passing_one);
struct passing {
	struct share share;
	struct passing_list list; /* in the order of their ids */
	unsigned int n;
};

/* listed: how many callers of each kind there can be. */
void passing_init(
    struct passing *p, uint32_t max_conns, const uint32_t listed[SHARE_LISTED]);
/* One more of his, with that id.  0, -EBUSY, -ENOMEM. */
int passing_add(struct passing *p, struct share_who who, uint64_t id);
/* It was answered, or never said.  False: it is none of these. */
bool passing_end(struct passing *p, uint64_t id);
/* The launcher is gone, with all that was on its way. */
void passing_clear(struct passing *p);

#endif
