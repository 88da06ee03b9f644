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

static void
gives(void)
{
	hold_limit(0);
	hold_on_full(on_full);
	t_true(hold_take(HOLD_MIN - 10));
	t_eq(asked, 0);
	t_true(!hold_take(11));
	t_eq(asked, 1);
	spare = 5;
	t_true(hold_take(11));
	t_eq(asked, 2);
	t_true(hold_take(4));
	t_eq(asked, 2);
	hold_give(HOLD_MIN);
	hold_on_full(NULL);
}

const struct t_case t_cases[] = { { "limits", limits }, { "gives", gives },
	{ NULL, NULL } };
