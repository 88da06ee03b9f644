#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * Linked into the stand-in hypervisor for `make bench`: says on its log when
 * it was exec'ed.  Before main(), and with write(2): the filter it inherits
 * allows little more.
 */
__attribute__((constructor)) static void
stamp(void)
{
	struct timespec ts = { 0 };
	char line[64];
	int n;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	n = snprintf(line, sizeof(line), "exec at %lld.%09ld\n",
	    (long long)ts.tv_sec, ts.tv_nsec);
	if (n > 0)
		(void)!write(STDERR_FILENO, line, (size_t)n);
}
