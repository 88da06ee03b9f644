#include <stdint.h>

#include "agent/hold.h"
#include "tests/suite/t.h"

#define MIB (1LL << 20)

static unsigned int asked;
static size_t spare; /* what who is asked gives */

static void
on_full(void)
{
	asked++;
	hold_give(spare);
	spare = 0;
}

static void
limits(void)
{
	hold_limit(0);
	t_eq(hold_max(), HOLD_MIN);
	hold_limit(64 * MIB);
	t_eq(hold_max(), 32 * MIB);
	t_true(!hold_take((size_t)32 * MIB + 1));
	t_true(hold_take((size_t)31 * MIB));
	t_true(!hold_take((size_t)2 * MIB));
	t_true(!hold_take(SIZE_MAX));
	/* less than what is held */
	hold_limit(0);
	t_true(!hold_take(1));
	hold_give((size_t)31 * MIB);
	t_true(hold_take(HOLD_MIN));
	hold_give(HOLD_MIN);
}

/* Short ones have some that long ones do not get, and not more. */
static void
short_ones(void)
{
	const size_t n = HOLD_SHORT / HOLD_SHORT_EACH;
	size_t i;

	hold_limit(0);
	t_true(hold_take(HOLD_MIN));
	t_true(!hold_take(HOLD_SHORT_EACH + 1));
	for (i = 0; i < n; i++)
		t_true(hold_take(HOLD_SHORT_EACH));
	t_true(hold_take(HOLD_SHORT - n * HOLD_SHORT_EACH));
	t_true(!hold_take(1));
	hold_give(HOLD_MIN);
	/* what they have is not there for long ones */
	t_true(!hold_take(HOLD_MIN - HOLD_SHORT + 1));
	t_true(hold_take(HOLD_MIN - HOLD_SHORT));
	hold_give(HOLD_MIN);
}

#define LONG (HOLD_SHORT_EACH + 1)

static void
gives(void)
{
	hold_limit(0);
	hold_on_full(on_full);
	t_true(hold_take(HOLD_MIN - LONG));
	t_eq(asked, 0);
	t_true(!hold_take(LONG + 1));
	t_eq(asked, 1);
	spare = 1;
	t_true(hold_take(LONG + 1));
	t_eq(asked, 2);
	t_true(hold_take(1));
	t_eq(asked, 2);
	hold_give(HOLD_MIN + 1);
	hold_on_full(NULL);
}

const struct t_case t_cases[] = { { "limits", limits },
	{ "short ones", short_ones }, { "gives", gives }, { NULL, NULL } };
