#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/confine.h"
#include "common/util.h"
#include "launchd/launchd.h"

/* launchd holds nothing: its root is run/vm, where each VM's folder has the
 * two sockets that it may connect to and the two FIFOs that it reads; and one
 * folder outside, log/vm, for what comes out of those. */
static const struct seccomp_rule policy[] = {
	/* link.c: keepers and wardens */
	SC_ALLOW_IF(socket, 0, UINT32_MAX, AF_UNIX),
	SC_ALLOW(connect), /* link.c, guestsock.c */
	SC_ALLOW(getsockopt), /* link.c: SO_PEERCRED; dial.c: SO_ERROR */
	SC_ALLOW_IF(ioctl, 1, UINT32_MAX, SIOCOUTQ), /* budget.c */
	SC_ALLOW(clock_getres), /* probe.c: clock_getcpuclockid(3) */
	/* wardlink.c: the spec is sent and kept */
	SC_ALLOW_IF(fcntl, 1, UINT32_MAX, F_DUPFD_CLOEXEC),
	/* jaillog.c, history.c, logfile.c, logmarks.c: FIFOs, files; Landlock
	   says which */
	SC_ALLOW(openat), SC_ALLOW(newfstatat), /* what is there; fstat */
	SC_ALLOW(fstat), /* likewise */
	SC_ALLOW(pread64), /* history.c, logmarks.c */
	SC_ALLOW(pwrite64), /* logmarks.c: when it came */
	SC_ALLOW(renameat), /* logfile.c: a full one becomes the older */
	SC_ALLOW(unlinkat), /* jaillog.c: of VMs that are deleted */
	SC_ALLOW(getdents64), /* jaillog.c: of which VMs files are kept */
	SC_ALLOW_IF(fcntl, 1, UINT32_MAX, F_GETFL), /* fdopendir(3) */
	SC_ALLOW_IF(fcntl, 1, UINT32_MAX, F_SETFD), /* likewise */
	/* history.c */
	SC_ALLOW(sendto), /* send(2), to who reads a console's log */
	SC_ALLOW(recvfrom), /* recv(2): what that one says is dropped */
};

/* In the folders of the jails, and in the one for what they say. */
#define READS LANDLOCK_ACCESS_FS_READ_FILE
#define KEEPS                                                             \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |     \
	    LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | \
	    LANDLOCK_ACCESS_FS_REMOVE_FILE)

/* Where mews.conf allows it.  It connects; it never binds or listens. */
static const struct seccomp_rule vsock_policy[] = {
	SC_ALLOW_IF(socket, 0, UINT32_MAX, AF_VSOCK), /* guestsock.c: guests */
	SC_ALLOW(getpeername), /* guestsock.c: which guest answered */
};

void
launchd_confine(const struct launchd *ld)
{
	const struct landlock_path paths[] = { { .path = "/", .access = READS },
		{ .fd = ld->logs.dir, .access = KEEPS } };
	struct confinement c = { .root = ld->boot.root,
		.uid = ld->boot.uid,
		.gid = ld->boot.gid,
		.nofile = ld->boot.nofile,
		.paths = paths,
		.npaths = ld->logs.dir < 0 ? 1 : nitems(paths) };

	proc_confine(&c);
}

void
launchd_filter(const struct launchd *ld)
{
	struct seccomp_rule rows[nitems(policy) + nitems(vsock_policy)];
	size_t n = nitems(policy);

	memcpy(rows, policy, sizeof(policy));
	if (ld->conf.vsock != VSOCK_OFF) {
		memcpy(rows + n, vsock_policy, sizeof(vsock_policy));
		n += nitems(vsock_policy);
	}
	if (RULE(LAUNCH_FILTER))
		seccomp_allow(seccomp_loop, seccomp_loop_len, rows, n);
}
