#include <errno.h>
#include <string.h>

#include "proto/spawn.h"

#define LOAD(v, p) memcpy(&(v), (p), sizeof(v))

int
spawn_jail_check(const void *p)
{
	struct spawn_jail v;

	LOAD(v, p);
	return jail_id_check(&v.jail);
}

int
spawn_prepare_check(const void *p)
{
	struct spawn_prepare v;

	LOAD(v, p);
	return jail_id_check(&v.jail) == 0 &&
		(v.pad[0] | v.pad[1] | v.pad[2]) == 0
	    ? 0
	    : -EINVAL;
}

int
spawn_accel_check(const void *p)
{
	struct spawn_accel v;

	LOAD(v, p);
	return (v.accel == ACCEL_TCG || v.accel == ACCEL_KVM) && v.pad == 0
	    ? 0
	    : -EINVAL;
}

int
spawn_verify_check(const void *p)
{
	struct spawn_verify v;

	LOAD(v, p);
	return jail_id_check(&v.jail) == 0 && v.what != 0 &&
		(v.what & ~jail_roles(v.jail.kind)) == 0 && v.pad == 0
	    ? 0
	    : -EINVAL;
}

int
spawn_held_check(const void *p)
{
	struct spawn_held v;

	LOAD(v, p);
	return jail_id_check(&v.jail) == 0 && v.alive <= 1 ? 0 : -EINVAL;
}

int
spawn_verified_check(const void *p)
{
	struct spawn_verified v;

	LOAD(v, p);
	return jail_id_check(&v.jail) == 0 && v.confined.verified == 1
	    ? 0
	    : -EINVAL;
}

int
spawn_counted_check(const void *p)
{
	struct spawn_counted v;

	LOAD(v, p);
	return jail_id_check(&v.jail) == 0 && v.pad == 0 ? 0 : -EINVAL;
}
