#include <fcntl.h>

#include "apid/apid.h"
#include "common/confine.h"
#include "common/util.h"

/* An empty root, no path, no capability: nothing to open, nothing to be. */
void
apid_confine(const struct boot_common *bc)
{
	const struct confinement c = {
		.root = bc->root,
		.uid = bc->uid,
		.gid = bc->gid,
		.nofile = bc->nofile,
		.nproc = 1, /* it never starts anything */
	};

	proc_confine(&c);
}

/* No socket, accept, connect or open: every descriptor was given. */
static const struct seccomp_rule policy[] = {
	SC_ALLOW(recvfrom), /* client.c, stream.c: what others say */
	SC_ALLOW(sendto), /* outbuf.c: what they are told */
	SC_ALLOW(shutdown), /* client.c: orchd holds a copy of the socket */
	SC_ALLOW(fstat), /* client.c: is it a socket; memfd_read */
	SC_ALLOW(newfstatat), /* fstat, as newer libcs call it */
	SC_ALLOW(memfd_create), /* ask.c: documents longer than a message */
	SC_ALLOW_IF(fcntl, 1, UINT32_MAX, F_ADD_SEALS), /* memfd_sealed */
	SC_ALLOW_IF(fcntl, 1, UINT32_MAX, F_GET_SEALS), /* memfd_read */
	SC_ALLOW(pread64), /* memfd_read: orchd's long documents */
};

void
apid_filter(void)
{
	if (RULE(API_FILTER))
		seccomp_allow(
		    seccomp_loop, seccomp_loop_len, policy, nitems(policy));
}
