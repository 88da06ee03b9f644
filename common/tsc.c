#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "common/tsc.h"

#define SPAN_NS 20000000LL
#define TRIES 16
#define CLOCKSOURCES                                    \
	"/sys/devices/system/clocksource/clocksource0/" \
	"available_clocksource"

static long long
now_ns(void)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* Clock and counter at one instant: of several pairs, the tightest. */
static void
sample(long long *ns, unsigned long long *tsc)
{
	unsigned long long best = ~0ULL;
	int i;

	for (i = 0; i < TRIES; i++) {
		unsigned long long a = __rdtsc(), b;
		long long t = now_ns();

		b = __rdtsc();
		if (b - a < best) {
			best = b - a;
			*ns = t;
			*tsc = a + (b - a) / 2;
		}
	}
}

/* A kernel that found it unstable takes it off this list.  One without the
 * list has said nothing against it. */
static bool
is_trusted(void)
{
	char text[256];
	int fd = open(CLOCKSOURCES, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		(void)close(fd);
	if (n <= 0)
		return true;
	text[n] = '\0';
	return strncmp(text, "tsc ", 4) == 0 || strstr(text, " tsc ") != NULL ||
	    strcmp(text, "tsc\n") == 0;
}

int
tsc_khz(uint32_t *ret)
{
	unsigned long long tsc0 = 0, tsc1 = 0, khz;
	long long ns0 = 0, ns1 = 0;

	if (!is_trusted())
		return -EIO;
	sample(&ns0, &tsc0);
	do
		sample(&ns1, &tsc1);
	while (ns1 - ns0 < SPAN_NS);
	if (tsc1 <= tsc0)
		return -EIO;
	khz = (tsc1 - tsc0) * 1000000ULL / (unsigned long long)(ns1 - ns0);
	if (khz < 100000 || khz > 100000000) /* no machine of this age */
		return -EIO;
	*ret = (uint32_t)khz;
	return 0;
}
