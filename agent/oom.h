#ifndef MEWS_AGENT_OOM_H
#define MEWS_AGENT_OOM_H

#include <stdbool.h>

#include "agent/loop.h"

/*
 * Which processes the guest's kernel ended for want of memory, by its own log:
 * the workload's at its limit, or any at the guest's.
 */
struct oom {
	struct watch w;
	unsigned long kills;
	/* "dd, process 93", as the guest's kernel numbers it; printable, no
	 * quote and no backslash */
	char last[52];
};

/* One record of /dev/kmsg.  True when it is such an end: it is counted. */
bool oom_read(struct oom *o, const char *record);
void oom_open(struct oom *o);

#endif
