#include "proto/kill.h"

#ifdef MEWS_TEST
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct kill_at armed;
static uint32_t self, seen;

void
kill_arm(const struct kill_at *k, uint32_t room)
{
	if (k->room != room && k->when != KILL_TRACE)
		return;
	armed = *k;
	self = room;
	seen = 0;
}

/* One write to the log, as the tests that make their table of it expect. */
static void
trace(uint32_t type, enum kill_when when)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "kill point %u 0x%04x %u\n", self,
	    type, (unsigned int)when);

	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

void
kill_point(uint32_t type, enum kill_when when)
{
	if (armed.when == KILL_TRACE)
		trace(type, when);
	if ((armed.when & ~(uint32_t)KILL_HALT) != (uint32_t)when ||
	    armed.type != type)
		return;
	if (++seen == armed.nth)
		(void)kill(getpid(),
		    (armed.when & KILL_HALT) != 0 ? SIGSTOP : SIGKILL);
}
#else
/* An empty translation unit is no C; the declaration is all there is. */

const int kill_points_built = 0;
#endif
