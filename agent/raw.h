#ifndef MEWS_AGENT_RAW_H
#define MEWS_AGENT_RAW_H

#include <sys/syscall.h>

/*
 * System calls past the C library: 0 or more, or -errno, and errno is not
 * touched.  For a child that shares its parent's memory until it executes
 * (agent/child.h): errno is one of the things they share.
 */
static inline long
raw_call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return r;
}

#define RAW_5(nr, a, b, c, d, e, ...) \
	raw_call((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))
/* RAW(dup2, 3, 4): at least one argument, five at most. */
#define RAW(name, ...) RAW_5(SYS_##name, __VA_ARGS__, 0, 0, 0, 0, 0)

#endif
