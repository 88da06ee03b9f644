#ifndef MEWS_KILL_H
#define MEWS_KILL_H

#include <stdint.h>

/*
 * Kill points: a test build dies by SIGKILL at the nth time this process
 * handles or sends a message of one type, before or after it did.  The
 * point comes with the boot config.  Other builds carry none of it.
 */
enum kill_when {
	KILL_NEVER,
	KILL_BEFORE,
	KILL_AFTER,
	KILL_TRACE, /* kills nobody: every point of every room is logged */
	KILL_HALT = 8, /* flag: halts there instead (SIGSTOP), so that a test
			  can kill everybody at that instant */
};

struct kill_at {
	uint32_t room; /* enum room; whose boot config carries it */
	uint32_t type; /* message type */
	uint32_t nth; /* 1 is the first */
	uint32_t when; /* enum kill_when */
};

#ifdef MEWS_TEST
/* room: whose process this is.  A point of another room is not armed. */
void kill_arm(const struct kill_at *k, uint32_t room);
void kill_point(uint32_t type, enum kill_when when);
#else
static inline void
kill_arm(const struct kill_at *k, uint32_t room)
{
	(void)k;
	(void)room;
}
static inline void
kill_point(uint32_t type, enum kill_when when)
{
	(void)type;
	(void)when;
}
#endif

#endif
