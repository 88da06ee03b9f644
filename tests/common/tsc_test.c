#include <stdlib.h>

#include "common/tsc.h"
#include "tests/suite/t.h"

/* Two measurements of one counter agree; the best of a few pairs counts,
 * for the machine may be busy. */
static void
test_agrees(void)
{
	long best = 1000000;
	int i;

	for (i = 0; i < 5 && best > 500; i++) {
		uint32_t a = 0, b = 0;
		long diff;

		t_eq(tsc_khz(&a), 0);
		t_eq(tsc_khz(&b), 0);
		t_true(a > 100000);
		/* in millionths */
		diff = labs((long)a - (long)b) * 1000 / (long)(a / 1000);
		best = diff < best ? diff : best;
	}
	t_true(best <= 500);
}

const struct t_case t_cases[] = { { "two measurements agree", test_agrees },
	{ NULL, NULL } };
