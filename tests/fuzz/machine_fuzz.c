#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "proto/keep.h"
#include "proto/machine.h"
#include "proto/ward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken for a machine passes every check, and is taken again. */
static void
must_be_good(const struct machine *m)
{
	struct machine again;

	assert(machine_check(m) == 0);
	assert(machine_get(m, machine_len(m), &again) == 0);
	assert(memcmp(m, &again, sizeof(again)) == 0);
}

static bool
takes(uint8_t how, const uint8_t *data, size_t size, struct machine *m)
{
	struct keep_state2 s = { .phase = KEEP_WAIT };
	struct ward_exec x;

	switch (how) {
	case 0:
		return machine_get(data, size, m) == 0;
	case 1:
		return size == sizeof(struct keep_state) &&
		    keep_state_check(data) == 0 &&
		    keep_state_get(KEEP_STATE, data, size, &s, m) == 0 &&
		    s.phase != KEEP_WAIT;
	case 2:
		return size >= sizeof(s) && keep_state2_check(data) == 0 &&
		    keep_state_get(KEEP_STATE2, data, size, &s, m) == 0 &&
		    s.phase != KEEP_WAIT;
	case 3:
		if (ward_exec_get(data, size, &x) < 0)
			return false;
		*m = x.machine;
		return true;
	default:
		return false;
	}
}

/* A machine alone, a keeper's state of either version, what the composer is
 * given: the first byte chooses. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine m;

	if (size > 0 && takes(data[0], data + 1, size - 1, &m))
		must_be_good(&m);
	return 0;
}
