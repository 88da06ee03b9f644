#include <asm/ioctls.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "proto/chan.h"
#include "proto/machine.h"
#include "warden/vmm_seccomp.h"

/*
 * Sandboxing that does not depend on the hypervisor: its own -sandbox is a
 * deny-list and installed late.  Not here means the process dies, above all
 * socket, bind, connect, kill, ptrace, process_vm_*, pidfd_*, mount, bpf,
 * userfaultfd, perf_event_open, keyctl, io_uring.
 */
#define THREAD_FLAGS (CLONE_VM | CLONE_THREAD)
#define NEW_FLAGS                                                      \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
	    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define U32 UINT32_MAX

static const struct seccomp_rule common_rows[] = {
	/* threads and their end; a process of its own is none */
	SC_ALLOW_IF(clone, 0, RULE(VMM_CLONE) ? THREAD_FLAGS | NEW_FLAGS : 0,
	    RULE(VMM_CLONE) ? THREAD_FLAGS : 0),
	SC_FAIL(clone3, ENOSYS), /* its flags are behind a pointer */
	SC_ALLOW(set_robust_list), /* libc: each new thread */
	SC_ALLOW(rseq), /* likewise */
	SC_ALLOW(set_tid_address), /* libc's start */
	SC_ALLOW(gettid), /* qemu_get_thread_id */
	SC_ALLOW(sched_getaffinity), /* libc: how many CPUs */
	SC_ALLOW(futex), /* locks, condition variables */
	SC_ALLOW(exit), /* threads */
	SC_ALLOW(exit_group), /* the end */
	/* start: the loader, options */
	SC_ALLOW(access), /* ld.so */
	SC_ALLOW(arch_prctl), /* ld.so: thread pointer */
	/* libc: stack size, its own alone: the warden has the same uid */
	SC_ALLOW_IF(prlimit64, 0, RULE(VMM_PRLIMIT) ? U32 : 0, 0),
	SC_ALLOW_IF(prctl, 0, U32, PR_SET_NO_NEW_PRIVS), /* -sandbox */
	SC_ALLOW_IF(prctl, 0, U32, PR_SET_SECCOMP), /* older libseccomp */
	SC_ALLOW_IF(prctl, 0, U32, PR_SET_NAME), /* thread names */
	SC_ALLOW_IF(prctl, 0, U32, PR_SET_TIMERSLACK), /* main loop */
	SC_ALLOW_IF(prctl, 0, U32, PR_MCE_KILL), /* bad memory: told early */
	SC_ALLOW(seccomp), /* its own filter: only ever narrower */
	SC_ALLOW(sysinfo), /* glib, memory size */
	SC_ALLOW(uname), /* ld.so, glib */
	SC_ALLOW(getrandom), /* virtio-rng, hash seeds */
	/* files: the jail's read-only tree is all there is to open */
	SC_ALLOW(openat), /* libraries, firmware, kernel */
	SC_ALLOW(close), SC_ALLOW(newfstatat), /* libc's stat and fstat */
	SC_ALLOW(fstat), /* likewise, older */
	SC_ALLOW(fstatfs), /* block size of its memory */
	SC_ALLOW(statfs), /* likewise */
	SC_ALLOW(lseek), /* file sizes */
	SC_ALLOW(readlink), /* where the binary is */
	SC_ALLOW(getdents64), /* module directories */
	SC_ALLOW(read), SC_ALLOW(readv), /* tap */
	SC_ALLOW(pread64), /* ELF headers */
	SC_ALLOW(write), SC_ALLOW(writev), /* tap, chardevs, its log */
	/* at exit it unlinks its listeners' names, abstract ones too */
	SC_FAIL(unlink, EROFS),
	/* descriptors and their events */
	/* by command: F_SETOWN and F_SETSIG with O_ASYNC would make the
	 * kernel send any signal to the warden, whose uid is the same */
	SC_ALLOW_IF(fcntl, 1, U32, F_GETFL), /* non-blocking */
	SC_ALLOW_IF(fcntl, 1, U32, F_SETFL), /* likewise */
	SC_ALLOW_IF(fcntl, 1, U32, F_GETFD), /* close-on-exec */
	SC_ALLOW_IF(fcntl, 1, U32, F_SETFD), /* likewise */
	SC_ALLOW_IF(fcntl, 1, U32, F_DUPFD_CLOEXEC), /* qemu_dup */
	SC_ALLOW(eventfd2), /* main loop, notifiers */
	SC_ALLOW(signalfd4), /* main loop */
	SC_ALLOW(epoll_create1), /* aio contexts */
	SC_ALLOW(epoll_ctl), SC_ALLOW(epoll_wait),
	SC_ALLOW(epoll_pwait), /* where libc maps it so */
	SC_ALLOW(poll), SC_ALLOW(ppoll), /* main loop */
	SC_ALLOW(pipe2), /* glib's wake-ups */
	/* the three listeners it is given; no socket(2), bind, connect */
	SC_ALLOW(listen), /* socket_get_fd: again on a listener */
	SC_ALLOW(accept4), /* the warden's connections */
	SC_ALLOW(getsockname), /* what kind of socket it was given */
	SC_ALLOW(getpeername), SC_ALLOW(getsockopt),
	SC_ALLOW(recvmsg), /* chardevs */
	SC_ALLOW(sendmsg), /* chardevs */
	SC_ALLOW(shutdown), /* a chardev's peer went */
	SC_ALLOW_IF(ioctl, 1, U32, TCGETS), /* isatty: log */
	/* memory */
	SC_ALLOW(brk), SC_ALLOW(munmap), SC_ALLOW(mremap), /* realloc */
	SC_ALLOW(madvise), /* no huge pages, no fork, no dump */
	SC_FAIL(get_mempolicy, ENOSYS), /* NUMA: it can do without */
	SC_FAIL(set_mempolicy, ENOSYS), SC_FAIL(mbind, ENOSYS),
	SC_FAIL(memfd_create, ENOSYS), /* no memory that can be a program */
	SC_FAIL(io_uring_setup, ENOSYS), /* a second system call table */
	/* time and signals */
	SC_ALLOW(clock_gettime), /* where the vDSO cannot answer */
	SC_ALLOW(gettimeofday), /* likewise */
	SC_ALLOW(time), /* likewise */
	SC_ALLOW(clock_nanosleep), SC_ALLOW(rt_sigaction),
	SC_ALLOW(rt_sigprocmask), SC_ALLOW(rt_sigreturn),
	SC_ALLOW(sigaltstack), /* coroutines */
	SC_ALLOW(restart_syscall),
	SC_ALLOW(getpid), /* tgkill's first argument */
};

/*
 * What only the full program asks for, and older releases of it: the other one
 * has no modules, no libcap, and none of these among the symbols it wants.
 */
static const struct seccomp_rule full_rows[] = {
	SC_ALLOW(sched_yield), /* its locks */
	SC_ALLOW_IF(prctl, 0, U32, PR_CAPBSET_READ), /* libcap, as it loads */
	SC_ALLOW(stat), /* glib's module search */
	SC_ALLOW(getcwd), /* where the binary is */
	SC_ALLOW(fchdir), /* -daemonize's path, at exit */
};

static const struct seccomp_rule nic_rows[] = {
	SC_ALLOW_IF(ioctl, 1, U32, TUNGETIFF), /* tap: what it can do */
	SC_ALLOW_IF(ioctl, 1, U32, TUNGETFEATURES),
	SC_ALLOW_IF(ioctl, 1, U32, TUNSETOFFLOAD),
	SC_ALLOW_IF(ioctl, 1, U32, TUNGETVNETHDRSZ),
	SC_ALLOW_IF(ioctl, 1, U32, TUNSETVNETHDRSZ),
	SC_ALLOW_IF(ioctl, 1, U32, TUNSETVNETLE),
	SC_ALLOW_IF(ioctl, 1, U32, TUNSETSNDBUF),
	SC_ALLOW_IF(ioctl, 1, U32, TUNSETSTEERINGEBPF), /* asked, refused */
};

/* Translated code must be mapped executable. */
static const struct seccomp_rule tcg_rows[] = {
	SC_ALLOW(mmap),
	SC_ALLOW(mprotect),
};

/*
 * Nothing is both writable and executable, or becomes executable later: the
 * loader maps code read-only from files, which the jail cannot write.
 */
static const struct seccomp_rule kvm_rows[] = {
	SC_ALLOW_IF(mmap, 2, PROT_EXEC, 0),
	SC_ALLOW_IF(mmap, 2, PROT_WRITE, 0),
	SC_ALLOW_IF(mprotect, 2, PROT_EXEC, 0),
	SC_ALLOW(rt_sigtimedwait), /* eats the kick */
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_API_VERSION),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_CREATE_VM),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_CHECK_EXTENSION),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_VCPU_MMAP_SIZE),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_SUPPORTED_CPUID),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_EMULATED_CPUID),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_MSR_INDEX_LIST),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_MSR_FEATURE_INDEX_LIST),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_X86_GET_MCE_CAP_SUPPORTED),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_CREATE_VCPU),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_USER_MEMORY_REGION),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_DIRTY_LOG),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_CLEAR_DIRTY_LOG),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_TSS_ADDR),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_IDENTITY_MAP_ADDR),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_CREATE_IRQCHIP),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_IRQ_LINE),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_IRQ_LINE_STATUS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_IRQCHIP),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_IRQCHIP),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_CREATE_PIT2),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_PIT2),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_PIT2),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_REINJECT_CONTROL),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_GSI_ROUTING),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SIGNAL_MSI),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_IRQFD),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_IOEVENTFD),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_BOOT_CPU_ID),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_CLOCK),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_CLOCK),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_CREATE_DEVICE),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_ENABLE_CAP),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_REGISTER_COALESCED_MMIO),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_UNREGISTER_COALESCED_MMIO),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_RUN),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_REGS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_REGS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_SREGS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_SREGS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_SREGS2),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_SREGS2),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_MSRS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_MSRS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_X86_SET_MSR_FILTER), /* -cpu max */
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_CPUID2),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_SIGNAL_MASK),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_FPU),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_FPU),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_LAPIC),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_LAPIC),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_XSAVE),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_XSAVE2),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_XSAVE),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_XCRS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_XCRS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_DEBUGREGS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_DEBUGREGS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_VCPU_EVENTS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_VCPU_EVENTS),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_MP_STATE),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_MP_STATE),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_NESTED_STATE),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_NESTED_STATE),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_TSC_KHZ),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_TSC_KHZ),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_X86_SETUP_MCE),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_TPR_ACCESS_REPORTING),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_VAPIC_ADDR),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_KVMCLOCK_CTRL),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_GUEST_DEBUG),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SMI),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_HAS_DEVICE_ATTR),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_SET_DEVICE_ATTR),
	SC_ALLOW_IF(ioctl, 1, U32, KVM_GET_DEVICE_ATTR),
	/* counters of a vCPU for query-stats, which nobody asks: QEMU 10
	 * goes on without */
	{ SCMP_SYS(ioctl), 1, U32, KVM_GET_STATS_FD, ENOTTY },
};

/*
 * vhost: the device's rings and the guest's memory, and when to begin.  The
 * address is what the spawner set (spawner/vsock.c): whoever sits
 * here could otherwise take another VM's and be dialled in its place.
 */
static const struct seccomp_rule vsock_rows[] = {
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_SET_OWNER), /* its kernel thread */
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_GET_FEATURES),
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_SET_FEATURES), /* as negotiated */
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_GET_BACKEND_FEATURES),
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_SET_BACKEND_FEATURES),
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_SET_MEM_TABLE), /* of the guest */
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_SET_VRING_NUM), /* each ring */
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_SET_VRING_BASE),
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_GET_VRING_BASE), /* when it stops */
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_SET_VRING_ADDR),
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_SET_VRING_KICK),
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_SET_VRING_CALL),
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_SET_VRING_ERR),
	SC_ALLOW_IF(ioctl, 1, U32, VHOST_VSOCK_SET_RUNNING),
	{ SCMP_SYS(ioctl), 1, U32, VHOST_VSOCK_SET_GUEST_CID,
	    RULE(VMM_CID) ? SC_FAKED : 0 },
};

/* The parts of the list, and what each is there for. */
static const struct {
	uint16_t backend; /* enum machine_backend; 0: any */
	uint16_t accel; /* enum machine_accel; ACCEL_UNKNOWN: any */
	uint16_t kind; /* enum dev_kind; 0: any machine */
	const struct seccomp_rule *rows;
	size_t n;
} parts[] = {
	{ 0, ACCEL_UNKNOWN, 0, common_rows, nitems(common_rows) },
	{ BACKEND_QEMU, ACCEL_UNKNOWN, 0, full_rows, nitems(full_rows) },
	{ 0, ACCEL_TCG, 0, tcg_rows, nitems(tcg_rows) },
	{ 0, ACCEL_KVM, 0, kvm_rows, nitems(kvm_rows) },
	{ 0, ACCEL_UNKNOWN, DEV_NIC, nic_rows, nitems(nic_rows) },
	{ 0, ACCEL_UNKNOWN, DEV_VSOCK, vsock_rows, nitems(vsock_rows) },
};

static size_t
add(struct seccomp_rule *rows, size_t n, const struct seccomp_rule *src,
    size_t nsrc)
{
	assert(n + nsrc <= VMM_RULES_MAX);
	memcpy(rows + n, src, nsrc * sizeof(*src));
	return n + nsrc;
}

size_t
vmm_rules(const struct machine *m, const char *path,
    struct seccomp_rule rows[VMM_RULES_MAX])
{
	/*
	 * One exec must pass: the filter is there first, so that no byte of
	 * the hypervisor runs without it.  It passes for this very pointer;
	 * the program it starts has another, random layout, and the jail has
	 * nothing to execute but what is staged, none of it set-id.
	 */
	const struct seccomp_rule one_exec[] = {
		SC_ALLOW_IF(execve, 0, UINT64_MAX, (uint64_t)(uintptr_t)path),
		/* abort(3), kicks of vCPUs: its own threads, nobody else's */
		SC_ALLOW_IF(tgkill, 0, U32, (uint64_t)getpid()),
	};
	size_t n = 0, i;

	for (i = 0; i < nitems(parts); i++) {
		if ((parts[i].backend == 0 || parts[i].backend == m->backend) &&
		    (parts[i].accel == ACCEL_UNKNOWN ||
			parts[i].accel == m->accel) &&
		    (parts[i].kind == 0 ||
			machine_dev(m, parts[i].kind, 0) != NULL))
			n = add(rows, n, parts[i].rows, parts[i].n);
	}
	return add(rows, n, one_exec, nitems(one_exec));
}

void
vmm_seccomp(const struct machine *m, const char *path, int watch)
{
	struct seccomp_rule rows[VMM_RULES_MAX];
	size_t n = vmm_rules(m, path, rows);

#ifdef SECCOMP_DEBUG
	if (watch >= 0) {
		int fd = seccomp_watched(rows, n);

		/* the list has sendmsg(2) and close(2) for its own sake */
		if (fd < 0 || msg_send(watch, 0, 0, NULL, 0, fd) < 0)
			fatal("seccomp listener");
		(void)close(fd);
		(void)close(watch);
		return;
	}
#else
	(void)watch;
#endif
	seccomp_allow(rows, n, NULL, 0);
}
