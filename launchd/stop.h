#ifndef MEWS_LAUNCHD_STOP_H
#define MEWS_LAUNCHD_STOP_H

#include <stdint.h>

struct vm;

/* The stop ladder: each rung asks once, waits its time, gives way to the
 * next; the last one needs nobody's consent. */
/* What a STOP means that has come: before there is a guest, the end; on the
 * ladder, a later rung; after it, nothing.  Running VMs keep it for EV_STOP. */
void stop_look(struct vm *v);
/* The rung the STOP wanted: VM_STOPPING begins. */
void stop_begin(struct vm *v);
/* The rung's time is over. */
void stop_next(struct vm *v);
/* Says the current rung to whom it concerns, if that one is there: once more,
 * with the time that is left. */
void stop_say(struct vm *v);
/* What is left of the time that its guest was given; 0: it has none. */
uint32_t stop_grace_ms(const struct vm *v);

#endif
