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
	return fd_role_from(v.role) == FD_ORCHD && v.role != FDR_SPEC &&
		v.index < fd_role_max(v.role)
	    ? 0
	    : -EINVAL;
}

int
keep_state_check(const void *p)
{
	struct keep_state v;

	LOAD(v, p);
	return v.version == 1 && v.phase >= KEEP_WAIT && v.phase <= KEEP_ENDED
	    ? 0
	    : -EINVAL;
}

int
keep_state2_check(const void *p)
{
	struct keep_state2 v;

	LOAD(v, p);
	return v.version > 1 && v.head_len >= sizeof(v) &&
		v.phase >= KEEP_WAIT && v.phase <= KEEP_ENDED
	    ? 0
	    : -EINVAL;
}

/* What version 1 could say, as a machine. */
static int
spec_get(const struct keep_spec *s, struct machine *ret)
{
	struct machine m = machine_new(s->vcpus, s->mem_mib);

	if (s->vm == 0 || s->nics > 1 || (s->flags & ~KEEP_PROBE) != 0)
		return -EINVAL;
	m.accel = s->accel;
	m.tsc_khz = s->tsc_khz;
	m.flags = s->flags & KEEP_PROBE ? MACHINE_PROBE : 0;
	if (s->nics > 0 && machine_add(&m, DEV_NIC, machine_mac(s->mac)) < 0)
		return -EINVAL;
	if (machine_check(&m) < 0)
		return -EINVAL;
	*ret = m;
	return 0;
}

static int
state1_get(const void *buf, struct keep_state2 *ret, struct machine *m)
{
	struct keep_state v;

	LOAD(v, buf);
	if (v.phase != KEEP_WAIT && spec_get(&v.spec, m) < 0)
		return -EINVAL;
	*ret = (struct keep_state2){ .version = v.version,
		.head_len = sizeof(*ret),
		.phase = (uint16_t)v.phase,
		.warden_starts = v.warden_starts,
		.vmm_status = v.vmm_status };
	return 0;
}

int
keep_state_get(uint32_t type, const void *buf, size_t len,
    struct keep_state2 *ret, struct machine *m)
{
	const uint8_t *p = buf;
	struct keep_state2 v;

	if (type == KEEP_STATE)
		return state1_get(buf, ret, m);
	LOAD(v, p);
	if (v.head_len > len)
		return -EINVAL;
	if (v.phase == KEEP_WAIT && len > v.head_len)
		return -EINVAL;
	if (v.phase != KEEP_WAIT &&
	    machine_get(p + v.head_len, len - v.head_len, m) < 0)
		return -EINVAL;
	*ret = v;
	return 0;
}
