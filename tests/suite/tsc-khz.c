#include <stdio.h>

#include "common/tsc.h"

/* Prints the host's TSC rate for tests that start a hypervisor themselves. */
int
main(void)
{
	uint32_t khz;

	if (tsc_khz(&khz) < 0)
		return 1;
	(void)printf("%u\n", khz);
	return 0;
}
