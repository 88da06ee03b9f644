#include <errno.h>
#include <linux/capability.h>
#include <sys/capability.h>
#include <sys/socket.h>

#include "common/confine.h"
#include "common/util.h"
#include "spawner/spawner.h"

/*
 * What the spawner keeps of root.  DAC_OVERRIDE is not among it: all it
 * touches is root's own.  The child half of clone gives the rest away.
 */
#define SPAWNER_CAPS                                                        \
	(CAP_BIT(CAP_SYS_ADMIN) /* namespaces, mounts, pivot_root */        \
	    | CAP_BIT(CAP_SETUID) /* the child becomes the VM's uid */      \
	    | CAP_BIT(CAP_SETGID) /* and gid, without groups */             \
	    | CAP_BIT(CAP_SETPCAP) /* the child empties its bounding set */ \
	    | CAP_BIT(CAP_CHOWN) /* sockets to launchd, kvm to the VM */    \
	    | CAP_BIT(CAP_KILL) /* keepers have another uid */              \
	    | CAP_BIT(CAP_SYS_PTRACE) /* read-back of /proc/PID of others */)
/* only where jails get a /dev/kvm */
#define SPAWNER_CAPS_KVM CAP_BIT(CAP_MKNOD)

#define DENY(sc) SC_ALLOW(sc) /* in a deny-list the rows are what kills */
/* every family but AF_UNIX has one of the bits 1-5 */
#define DENY_FAMILY(bit)                                                  \
	{                                                                 \
		SCMP_SYS(socket), 0, (1U << (bit)), (1U << (bit)), EACCES \
	}

/*
 * A deny-list, because keeper, warden and hypervisor inherit it (I4 names
 * this exception); they narrow it down by filters of their own.
 */
static const struct seccomp_rule denied[] = {
	/* read-back reads /proc; nothing here may reach into a process */
	DENY(ptrace),
	DENY(process_vm_readv),
	DENY(process_vm_writev),
	DENY(process_madvise),
	DENY(pidfd_getfd),
	DENY(kcmp),
	/* files by handle would pass every directory we hold */
	DENY(open_by_handle_at),
	DENY(name_to_handle_at),
	/* CAP_SYS_ADMIN opens more than mounts: not these */
	DENY(bpf),
	DENY(perf_event_open),
	DENY(fanotify_init),
	DENY(quotactl),
	DENY(quotactl_fd),
	DENY(swapon),
	DENY(swapoff),
	DENY(setns),
	DENY(chroot),
	DENY(setdomainname),
	DENY(syslog),
	DENY(lookup_dcookie),
	DENY(fsopen),
	DENY(fspick),
	DENY(fsconfig),
	DENY(fsmount),
	/* the machine itself */
	DENY(init_module),
	DENY(finit_module),
	DENY(delete_module),
	DENY(kexec_load),
	DENY(kexec_file_load),
	DENY(reboot),
	DENY(acct),
	DENY(settimeofday),
	DENY(clock_settime),
	DENY(clock_adjtime),
	DENY(adjtimex),
	DENY(iopl),
	DENY(ioperm),
	DENY(modify_ldt),
	DENY(vhangup),
	/* wide and not needed */
	DENY(userfaultfd),
	/* a ring whose kernel thread polls needs no io_uring_enter, and does
	 * what no filter sees */
	SC_FAIL(io_uring_setup, ENOSYS),
	DENY(io_uring_enter),
	DENY(io_uring_register),
	DENY(add_key),
	DENY(request_key),
	DENY(keyctl),
	DENY(personality),
	DENY(execveat),
	/* messages to launchd are all the talk there is */
	DENY_FAMILY(1),
	DENY_FAMILY(2),
	DENY_FAMILY(3),
	DENY_FAMILY(4),
	DENY_FAMILY(5),
};

void
spawner_confine(const struct spawner *sp)
{
	struct confinement c = {
		.caps = SPAWNER_CAPS, .nofile = sp->boot.nofile, .mounts = 1
	};

	if (sp->conf.accel != ACCEL_TCG)
		c.caps |= SPAWNER_CAPS_KVM;
	/* the host's root is kept: jails are made from its staged tree */
	proc_confine(&c);
	if (RULE(SPAWNER_FILTER))
		seccomp_deny(denied, nitems(denied));
}
