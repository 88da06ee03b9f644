#include "common/util.h"
#include "proto/jail.h"
#include "proto/uids.h"
#include "proto/ward.h"

#define IN(kind) (1U << (kind))

static const struct jail_kind_row kinds[] = {
	[JAIL_VM] = { .name = "vm",
	    .prefix = "", /* as those before there were kinds */
	    .first = JAIL_KEEPER,
	    .plane = UIDS_VM,
	    .kvm = true },
};
_Static_assert(nitems(kinds) <= JAIL_KINDS_MAX, "bits of jail_prog.kinds");

static const struct jail_prog progs[] = {
	/* its descriptors stay: it may be of an older staged tree than the
	 * spawner, and of more it closes what it does not know */
	[JAIL_KEEPER] = { .name = "keeper",
	    .path = STAGE_KEEPER,
	    .kinds = IN(JAIL_VM),
	    .fds = { JAIL_FD_KEEPER, JAIL_FD_WARDEN, JAIL_FD_CONSOLE,
		JAIL_FD_VSOCK, JAIL_FD_VMM_LOG },
	    .filters_min = 1, /* its own */
	    .filters_max = 1 },
	[JAIL_WARDEN] = { .name = "warden",
	    .path = STAGE_WARDEN,
	    .kinds = IN(JAIL_VM),
	    .fds = { JAIL_FD_WARDEN, JAIL_FD_CONSOLE },
	    .filters_min = 2, /* keeper's, warden's */
	    .filters_max = 2,
	    .restarts = true },
	[JAIL_VMM] = { .name = "hypervisor",
	    .path = STAGE_VMM,
	    .kinds = IN(JAIL_VM),
	    /* keeper's, ours beneath it (mews-warden -x), its sandbox */
	    .filters_min = 3,
	    .filters_max = 3 },
};
_Static_assert(nitems(progs) <= JAIL_ROLES_MAX, "bits of a set of roles");

const struct jail_kind_row *
jail_kind(unsigned int kind)
{
	return kind < nitems(kinds) && kinds[kind].name != NULL ? &kinds[kind]
								: NULL;
}

const struct jail_prog *
jail_prog(unsigned int role)
{
	return role < nitems(progs) && progs[role].name != NULL ? &progs[role]
								: NULL;
}
