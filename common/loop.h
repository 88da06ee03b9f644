#ifndef MEWS_LOOP_H
#define MEWS_LOOP_H

struct event_base;

/* A room's event loop: no locks and nothing from the environment, which both
 * want system calls that no room gets.  Start-up: dies where it cannot. */
struct event_base *loop_new(void);

#endif
