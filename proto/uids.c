#include <errno.h>

#include "proto/uids.h"

int
uids_check(const struct uids *u)
{
	if (u->base < UIDS_MIN || u->base >= UIDS_END ||
	    u->count < UIDS_COUNT_MIN || u->count > UIDS_COUNT_MAX ||
	    u->count > UIDS_END - u->base)
		return -ERANGE;
	return 0;
}

uint32_t
uids_slots(const struct uids *u)
{
	return u->count / UIDS_PLANES;
}

bool
uids_has(const struct uids *u, uint32_t uid)
{
	return uid >= u->base && uid - u->base < u->count;
}

int
uids_at(const struct uids *u, uint32_t plane, uint32_t place, uint32_t *ret)
{
	if (plane >= UIDS_PLANES || place >= uids_slots(u))
		return -ERANGE;
	*ret = u->base + plane * uids_slots(u) + place;
	return 0;
}

uint32_t
uids_oneshots(const struct uids *u)
{
	uint32_t n = uids_slots(u);

	return n < UIDS_ONESHOTS_MAX ? n : UIDS_ONESHOTS_MAX;
}
