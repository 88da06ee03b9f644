#ifndef MEWS_AGENT_HOLD_H
#define MEWS_AGENT_HOLD_H

#include <stdbool.h>
#include <stddef.h>

/*
 * How many bytes of requests the agent holds, all of them together: bodies that
 * arrive, and what a process needs of its request until it executes.  The
 * memory is the guest's, and the workload may have taken all of its own.
 */
#define HOLD_MIN ((size_t)5 << 19) /* one request of any size fits in it */
/* Beyond that, for short ones alone: so that long ones, however many, keep no
 * ordinary command out.  Nearly as many as a VM has streams. */
#define HOLD_SHORT_EACH ((size_t)24 << 10)
#define HOLD_SHORT ((size_t)1 << 20)

/* What one beyond is told, with hold_max() in KiB. */
#define HOLD_FULL                                                           \
	"the vm's agent holds as much of requests as it may, %zu KiB: try " \
	"again, or give the vm more memory"

/* own: bytes that are the agent's and the kernel's (agent/limits.h); half of
 * that is for requests, and HOLD_MIN at least. */
void hold_limit(long long own);
/* fn gives what nobody needs any more; called when no more would fit. */
void hold_on_full(void (*fn)(void));
/* False: no more fits. */
bool hold_take(size_t len);
/* len of what was taken. */
void hold_give(size_t len);
/* How much may be held, but for short ones. */
size_t hold_max(void);

#endif
