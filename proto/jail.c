#include <errno.h>

#include "proto/jail.h"
#include "proto/ward.h"

#define IN(kind) (1U << (kind))

const struct jail_prog jail_progs[JAIL_ROLES] = {
	[JAIL_KEEPER] = { "keeper", STAGE_KEEPER, IN(JAIL_VM), 0,
	    1, /* its own */
	    1, false, false },
	[JAIL_WARDEN] = { "warden", STAGE_WARDEN, IN(JAIL_VM), 0,
	    2, /* keeper's, warden's */
	    2, false, true },
	[JAIL_VMM] = { "hypervisor", STAGE_VMM, IN(JAIL_VM), 0,
	    3, /* keeper's, ours beneath it (mews-warden -x), its sandbox */
	    3, false, false },
};

bool
jail_holds(uint32_t kind, unsigned int role)
{
	return kind < JAIL_KINDS && role < JAIL_ROLES &&
	    (jail_progs[role].kinds & IN(kind)) != 0;
}

int
jail_id_check(const struct jail_id *j)
{
	return j->kind >= JAIL_VM && j->kind < JAIL_KINDS && j->pad == 0 &&
		j->id != 0
	    ? 0
	    : -EINVAL;
}
