#include <errno.h>
#include <string.h>

#include "proto/keep.h"

#define LOAD(v, p) memcpy(&(v), (p), sizeof(v))

int
keep_hello_check(const void *p)
{
	struct keep_hello v;

	LOAD(v, p);
	return v.version >= 1 && v.pad == 0 ? 0 : -EINVAL;
}

int
keep_attach_check(const void *p)
{
	struct keep_attach v;

	LOAD(v, p);
	return (v.kind == LAUNCH_FD_TAP || v.kind == LAUNCH_FD_ARGS) &&
		v.pad == 0
	    ? 0
	    : -EINVAL;
}

int
keep_spec_check(const void *p)
{
	struct keep_spec v;

	LOAD(v, p);
	if (v.vm == 0 || v.vcpus < 1 || v.vcpus > LAUNCH_VCPUS_MAX)
		return -EINVAL;
	if (v.mem_mib < LAUNCH_MEM_MIN_MIB || v.mem_mib > LAUNCH_MEM_MAX_MIB)
		return -EINVAL;
	if (v.accel != ACCEL_TCG && v.accel != ACCEL_KVM)
		return -EINVAL;
	return v.nics <= 1 && (v.flags & ~KEEP_PROBE) == 0 ? 0 : -EINVAL;
}

int
keep_state_check(const void *p)
{
	struct keep_state v;

	LOAD(v, p);
	return v.version >= 1 && v.phase >= KEEP_WAIT && v.phase <= KEEP_ENDED
	    ? 0
	    : -EINVAL;
}
