#include <linux/if_tun.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/confine.h"
#include "common/util.h"
#include "netd/confine.h"
#include "proto/boot.h"

#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15) /* since Linux 6.10 */
#endif
#define TUN_ACCESS                                                      \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
	    LANDLOCK_ACCESS_FS_IOCTL_DEV)

void
netd_confine(const struct boot_common *bc)
{
	const struct confinement c = {
		.root = NULL, /* tap_room() has made a better one */
		.uid = bc->uid,
		.gid = bc->gid,
		/* links, addresses, rules and taps are all behind this one */
		.caps = CAP_BIT(CAP_NET_ADMIN),
		.paths =
		    (const struct landlock_path[]){
			/* the tun node, which is all there is */
			{ .path = "/", .access = TUN_ACCESS },
		    },
		.npaths = 1,
		.nofile = bc->nofile,
		.nproc = 1, /* nothing here forks */
	};

	proc_confine(&c);
}

static const struct seccomp_rule netd_policy[] = {
	SC_ALLOW_IF(openat, 0, UINT32_MAX, NETD_DEV_FD), /* tap.c */
	SC_ALLOW_IF(ioctl, 1, UINT32_MAX, TUNSETIFF), /* tap.c */
	/* libnftables opens a socket per command for names of links */
	SC_ALLOW_IF(socket, 0, UINT32_MAX, AF_NETLINK),
	SC_ALLOW(bind), /* the same: netlink's autobind */
	SC_ALLOW(getsockname), /* the same: its port id */
	SC_ALLOW(getsockopt), /* libmnl: buffer sizes */
	SC_ALLOW(setsockopt), /* libmnl: buffer sizes, ext acks */
	SC_ALLOW(sendto), /* libmnl */
	SC_ALLOW(pselect6), /* libnftables: answers of a transaction */
	SC_ALLOW(newfstatat), /* stdio in libnftables */
};

void
netd_filter(void)
{
	if (RULE(NET_FILTER))
		seccomp_allow(seccomp_loop, seccomp_loop_len, netd_policy,
		    nitems(netd_policy));
}
