#include <errno.h>
#include <string.h>

#include "proto/ward.h"

#define LOAD(v, p) memcpy(&(v), (p), sizeof(v))

int
ward_hello_check(const void *p)
{
	struct ward_hello v;

	LOAD(v, p);
	return v.version >= 1 && v.pad == 0 ? 0 : -EINVAL;
}

int
ward_rung_check(const void *p)
{
	struct ward_rung v;

	LOAD(v, p);
	return v.rung <= STOP_QUIT && (v.grace_ms == 0 || v.rung == STOP_AGENT)
	    ? 0
	    : -EINVAL;
}

int
ward_state_check(const void *p)
{
	struct ward_state v;

	LOAD(v, p);
	if (v.version < 1 || v.qmp > 1 || v.running > 1 || v.agent > 1 ||
	    v.ready > 1 || v.need_spec > 1 || v.halted > 1 ||
	    v.guest_event >= EXIT_MAX)
		return -EINVAL;
	return memchr(v.detail, '\0', sizeof(v.detail)) != NULL ? 0 : -EINVAL;
}

int
ward_dial_check(const void *p)
{
	struct ward_dial v;

	LOAD(v, p);
	return v.port > 0 ? 0 : -EINVAL;
}

int
ward_dialled_check(const void *p)
{
	struct ward_dialled v;

	LOAD(v, p);
	return v.code <= 0 ? 0 : -EINVAL;
}

int
ward_exec_get(const void *buf, size_t len, struct ward_exec *ret)
{
	struct ward_exec x;
	size_t i;

	if (len != sizeof(x))
		return -EINVAL;
	memcpy(&x, buf, len);
	if (x.version != WARD_EXEC_VERSION || x.nfds > MACHINE_FDS_MAX ||
	    machine_get(&x.machine, machine_len(&x.machine), &x.machine) < 0 ||
	    x.machine.accel == ACCEL_UNKNOWN)
		return -EINVAL;
	for (i = 0; i < x.nfds; i++) {
		if (x.fd[i].index >= fd_role_max(x.fd[i].role))
			return -EINVAL;
	}
	*ret = x;
	return 0;
}

int
ward_exec_fd(const struct ward_exec *x, unsigned int role, unsigned int index)
{
	unsigned int i;

	for (i = 0; i < x->nfds; i++) {
		if (x->fd[i].role == role && x->fd[i].index == index)
			return WARD_EXEC_FD_FIRST + (int)i;
	}
	return -1;
}
