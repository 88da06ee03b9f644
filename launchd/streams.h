#ifndef MEWS_LAUNCHD_STREAMS_H
#define MEWS_LAUNCHD_STREAMS_H

#include "proto/launch.h"

struct launch_stream;
struct vm;

/*
 * Streams on their way to a warden that is a little behind: many execs come at
 * once.  One that does not read (budget_is_stalled) gets none, and what waits
 * for it is closed.  One whose caller has gone takes no place: what does is
 * what orchd counts, so that nobody's calls keep another's from waiting.
 */
#define STREAMS_MAX (VM_STREAMS_MAX + VM_SIGNALS_MAX)

/* Gives fd away.  0: sent, or it waits; -EAGAIN: closed. */
int streams_add(struct vm *v, const struct launch_stream *s, int fd);
/* All that wait are closed. */
void streams_clear(struct vm *v);

#endif
