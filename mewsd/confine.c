#include <errno.h>

#include "common/confine.h"
#include "common/util.h"
#include "mewsd/mewsd.h"

/*
 * mewsd starts what needs capabilities, so it cannot have an allow-list:
 * what it denies is denied to every room and VM for good.  All of these
 * reach past any one process: into the kernel, its clock, its keys, or
 * another process's memory; nothing in the suite uses them.
 */
static const struct seccomp_rule denied[] = {
	SC_ALLOW(acct), /* host-wide */
	SC_ALLOW(add_key), /* keyrings */
	SC_ALLOW(adjtimex), /* the clock */
	SC_ALLOW(bpf), /* programs in the kernel */
	SC_ALLOW(clock_adjtime), /* the clock */
	SC_ALLOW(clock_settime), /* the clock */
	SC_ALLOW(delete_module), /* the kernel's code */
	SC_ALLOW(fanotify_init), /* watches other processes' files */
	SC_ALLOW(finit_module), /* the kernel's code */
	SC_ALLOW(init_module), /* the kernel's code */
	/* a ring does calls that no filter sees; QEMU lives without one */
	SC_FAIL(io_uring_setup, ENOSYS),
	SC_ALLOW(io_uring_enter), /* likewise */
	SC_ALLOW(io_uring_register), /* likewise */
	SC_ALLOW(ioperm), /* hardware ports */
	SC_ALLOW(iopl), /* hardware ports */
	SC_ALLOW(kcmp), /* other processes' pointers */
	SC_ALLOW(kexec_file_load), /* another kernel */
	SC_ALLOW(kexec_load), /* another kernel */
	SC_ALLOW(keyctl), /* keyrings */
	SC_ALLOW(lookup_dcookie), /* profiling */
	SC_ALLOW(open_by_handle_at), /* files past any jail */
	SC_ALLOW(perf_event_open), /* other processes' registers */
	SC_ALLOW(pidfd_getfd), /* other processes' descriptors */
	SC_ALLOW(process_madvise), /* other processes' memory */
	SC_ALLOW(process_vm_readv), /* other processes' memory */
	SC_ALLOW(process_vm_writev), /* other processes' memory */
	SC_ALLOW(ptrace), /* other processes' everything */
	SC_ALLOW(quotactl), /* host-wide */
	SC_ALLOW(reboot), /* the host */
	SC_ALLOW(request_key), /* keyrings */
	SC_ALLOW(settimeofday), /* the clock */
	SC_ALLOW(swapoff), /* host-wide */
	SC_ALLOW(swapon), /* host-wide */
	SC_ALLOW(syslog), /* the kernel's log */
	SC_ALLOW(userfaultfd), /* stops the kernel in mid-copy */
};

void
mewsd_confine(void)
{
	if (RULE(MEWSD_FILTER))
		seccomp_deny(denied, nitems(denied));
}
