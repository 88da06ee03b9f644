#include <assert.h>

#include "agent/hold.h"

/* one memory, one count */
static size_t held, max = HOLD_MIN;
static void (*on_full)(void); /* NULL: nobody has any to give */

void
hold_limit(long long own)
{
	max = own / 2 > (long long)HOLD_MIN ? (size_t)own / 2 : HOLD_MIN;
}

void
hold_on_full(void (*fn)(void))
{
	on_full = fn;
}

static bool
fits(size_t len)
{
	const size_t all = len <= HOLD_SHORT_EACH ? max + HOLD_SHORT : max;

	return held <= all && len <= all - held;
}

bool
hold_take(size_t len)
{
	if (!fits(len) && on_full != NULL)
		on_full();
	if (!fits(len))
		return false;
	held += len;
	return true;
}

void
hold_give(size_t len)
{
	assert(len <= held);
	held -= len;
}

size_t
hold_max(void)
{
	return max;
}
