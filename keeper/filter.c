#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/util.h"
#include "keeper/keeper.h"

/*
 * The keeper starts others, so its filter is a deny-list (I4 names it as an
 * exception); warden and hypervisor add their allow-lists on top.  Written
 * out in BPF: a library would be most of this program's memory.
 */
#define NEW_NAMESPACES                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | \
	    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define X32_BIT 0x40000000U

static const uint16_t denied[] = {
	/* reaching into a sibling of the same uid */
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_process_madvise,
	SYS_pidfd_open,
	SYS_pidfd_getfd,
	SYS_pidfd_send_signal,
	SYS_kcmp,
	/* another view of the file system */
	SYS_mount,
	SYS_umount2,
	SYS_pivot_root,
	SYS_chroot,
	SYS_open_tree,
	SYS_move_mount,
	SYS_fsopen,
	SYS_fsconfig,
	SYS_fsmount,
	SYS_fspick,
	SYS_mount_setattr,
	SYS_name_to_handle_at,
	SYS_open_by_handle_at,
	SYS_mknod,
	SYS_mknodat,
	SYS_quotactl,
	SYS_swapon,
	SYS_swapoff,
	/* other namespaces and identities */
	SYS_unshare,
	SYS_setns,
	SYS_setuid,
	SYS_setgid,
	SYS_setreuid,
	SYS_setregid,
	SYS_setresuid,
	SYS_setresgid,
	SYS_setgroups,
	SYS_capset,
	SYS_personality,
	/* wide parts of the kernel that no jail needs */
	SYS_bpf,
	SYS_perf_event_open,
	SYS_io_uring_enter,
	SYS_io_uring_register,
	SYS_userfaultfd,
	SYS_add_key,
	SYS_request_key,
	SYS_keyctl,
	SYS_fanotify_init,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_kexec_load,
	SYS_kexec_file_load,
	SYS_modify_ldt,
	SYS_iopl,
	SYS_ioperm,
	SYS_acct,
	SYS_reboot,
	SYS_syslog,
	SYS_settimeofday,
	SYS_clock_settime,
	SYS_adjtimex,
	SYS_clock_adjtime,
	SYS_sethostname,
	SYS_setdomainname,
	SYS_vhangup,
};

#define STMT(code, k) ((struct sock_filter)BPF_STMT((code), (k)))
#define JUMP(code, k, t, f) \
	((struct sock_filter)BPF_JUMP((code), (k), (t), (f)))
#define LOAD(field)                    \
	STMT(BPF_LD | BPF_W | BPF_ABS, \
	    (uint32_t)offsetof(struct seccomp_data, field))
#define RET(v) STMT(BPF_RET | BPF_K, (v))
#ifdef SECCOMP_DEBUG
#define KILL RET(SECCOMP_RET_TRAP)
#else
#define KILL RET(SECCOMP_RET_KILL_PROCESS)
#endif
#define FAIL(e) RET(SECCOMP_RET_ERRNO | (e))
#define ALLOW RET(SECCOMP_RET_ALLOW)
/* the next statement runs if the number is nr, else it is skipped */
#define IF_NR(nr) JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1)

int
filter_install(void)
{
	struct sock_filter f[2 * nitems(denied) + 32];
	struct sock_fprog prog = { .filter = f };
	size_t n = 0, i;

	f[n++] = LOAD(arch);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	f[n++] = KILL;
	f[n++] = LOAD(nr);
	f[n++] = JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
	f[n++] = KILL;
	for (i = 0; i < nitems(denied); i++) {
		f[n++] = IF_NR(denied[i]);
		f[n++] = KILL;
	}
	/* libraries ask for these and live without them; clone3's flags lie
	 * behind a pointer, clone's do not */
	f[n++] = IF_NR(SYS_clone3);
	f[n++] = FAIL(ENOSYS);
	f[n++] = IF_NR(SYS_io_uring_setup);
	f[n++] = FAIL(ENOSYS);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4);
	f[n++] = LOAD(args[0]);
	f[n++] = JUMP(BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACES, 0, 1);
	f[n++] = KILL;
	f[n++] = ALLOW;
	/* AF_VSOCK knows neither namespaces nor uids (I5) */
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3);
	f[n++] = LOAD(args[0]);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 1, 0);
	f[n++] = FAIL(EACCES);
	f[n++] = ALLOW;
	prog.len = (unsigned short)n;
#ifdef SECCOMP_DEBUG
	seccomp_debug_arm();
#endif
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0)
		return -errno;
	return 0;
}
