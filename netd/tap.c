#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/err.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "netd/netd.h"

#define TUN_NODE "tun"
#define TUN_MAJOR 10 /* Documentation/admin-guide/devices.txt */
#define TUN_MINOR 200

int
tap_create(int devfd, uint16_t slot, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd, r;

	/* every tap needs its own open of the device */
	fd = openat(devfd, TUN_NODE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "open the tun device");
	tap_name(slot, ifr.ifr_name);
	/* not persistent: the link dies with the hypervisor's descriptor */
	ifr.ifr_flags |= (short)IFF_TUN_EXCL; /* never attach to another's */
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		r = -errno;
		fd_close(&fd);
		return err_errno(e, r, "make tap %s", ifr.ifr_name);
	}
	return fd;
}

/*
 * An own mount namespace whose only mount is a read-only tmpfs with the one
 * node: neither a held directory nor a way out of a chroot leads anywhere.
 * It needs no directory of the host's, and ends with the process.
 */
void
tap_room(uint32_t uid, uint32_t gid)
{
	static const char on[] = "/tmp"; /* any directory that is there */
	const unsigned long flags = MS_NOSUID | MS_NOEXEC;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		fatal("mount namespace: %m");
	if (mount("netd", on, "tmpfs", flags, "size=4k,nr_inodes=4,mode=0755") <
		0 ||
	    chdir(on) < 0)
		fatal("private /dev/net: %m");
	if (mknod(TUN_NODE, S_IFCHR | 0600, makedev(TUN_MAJOR, TUN_MINOR)) <
		0 ||
	    chown(TUN_NODE, uid, gid) < 0)
		fatal("private tun node: %m");
	if (syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		fatal("private root: %m");
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | flags, NULL) < 0)
		fatal("private root, read-only: %m");
}
