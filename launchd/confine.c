#include <fcntl.h>
#include <seccomp.h>
#include <sys/socket.h>

#include "common/confine.h"
#include "common/util.h"
#include "launchd/launchd.h"

/* launchd holds nothing: its root is run/vm, where each VM's folder has the
 * two sockets that it may connect to. */
static const struct seccomp_rule policy[] = {
	/* link.c: keepers and wardens, nothing but AF_UNIX */
	SC_ALLOW_IF(socket, 0, UINT32_MAX, AF_UNIX),
	SC_ALLOW(connect), /* link.c */
	SC_ALLOW(getsockopt), /* link.c: SO_PEERCRED */
	/* wardlink.c: the spec is sent and kept */
	SC_ALLOW_IF(fcntl, 1, UINT32_MAX, F_DUPFD_CLOEXEC),
};

void
launchd_confine(const struct launchd *ld)
{
	struct confinement c = { .root = ld->boot.root,
		.uid = ld->boot.uid,
		.gid = ld->boot.gid,
		.nofile = ld->boot.nofile };

	proc_confine(&c);
}

void
launchd_filter(void)
{
	if (RULE(LAUNCH_FILTER))
		seccomp_allow(
		    seccomp_loop, seccomp_loop_len, policy, nitems(policy));
}
