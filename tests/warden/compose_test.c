#include <errno.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/util.h"
#include "tests/suite/t.h"
#include "warden/argv.h"
#include "warden/backend.h"
#include "warden/compose.h"
#include "warden/vmm_seccomp.h"

#define HEAD \
	"-M|microvm,acpi=on,rtc=on,usb=off,graphics=off,mem-merge=off|-accel|"
#define MIDDLE                                                               \
	"|-nodefaults|-no-user-config|-no-reboot|-display|none|-sandbox|on," \
	"obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol="   \
	"deny|-S|-chardev|socket,id=qmp,fd=4,server=on,wait=off|-mon|"       \
	"chardev=qmp,mode=control|-chardev|socket,id=serial,fd=5,server=on," \
	"wait=off|-serial|chardev:serial|-chardev|socket,id=agent,fd=6,"     \
	"server=on,wait=off|-device|virtio-serial-device|-device|"           \
	"virtserialport,chardev=agent,name=mews.agent|-device|"              \
	"virtio-rng-device"
#define PANIC "|-device|pvpanic"
#define QEMU "/usr/bin/qemu-system-x86_64|"
#define MICROVM "/usr/bin/qemu-system-x86_64-microvm|"
#define NIC                                                              \
	"|-netdev|tap,id=net0,fd=7,vhost=off|-device|virtio-net-device," \
	"netdev=net0,mac=02:00:0a:ff:00:01"
#define VSOCK "|-device|vhost-vsock-device,guest-cid=4294967294,vhostfd=9"
#define TAIL \
	"|-bios|/boot/firmware|-kernel|/boot/vmlinuz|-initrd|/boot/initramfs|-append|"
#define LINE "console=ttyS0 reboot=t panic=-1 quiet"

static const struct {
	const char *name;
	struct machine m;
	const char *extra;
	const char *want;
} rows[] = {
	{ "emulated, no network",
	    { .mem_mib = 128, .vcpus = 1, .accel = ACCEL_TCG }, "",
	    QEMU HEAD
	    "tcg,tb-size=32|-cpu|max|-smp|1|-m|128M" MIDDLE PANIC TAIL LINE },
	{ "emulated, all of it",
	    { .mem_mib = 96,
		.vcpus = 2,
		.accel = ACCEL_TCG,
		.ndevs = 1,
		.dev = { { .kind = DEV_NIC, .num = { 0x02000aff0001 } } },
		.tsc_khz = 2100000 },
	    "a=b",
	    QEMU HEAD
	    "tcg,tb-size=32|-cpu|max|-smp|2|-m|96M" MIDDLE PANIC NIC TAIL LINE
	    " tsc_early_khz=2100000 tsc=reliable a=b" },
	{ "AF_VSOCK, by descriptor",
	    { .mem_mib = 128,
		.vcpus = 1,
		.accel = ACCEL_TCG,
		.ndevs = 1,
		.dev = { { .kind = DEV_VSOCK, .num = { 4294967294U } } } },
	    "",
	    QEMU HEAD "tcg,tb-size=32|-cpu|max|-smp|1|-m|128M" MIDDLE PANIC
		VSOCK TAIL LINE },
	{ "KVM calibrates by itself",
	    { .mem_mib = 1048576,
		.vcpus = 64,
		.accel = ACCEL_KVM,
		.tsc_khz = 5 },
	    "",
	    QEMU HEAD
	    "kvm|-cpu|max|-smp|64|-m|1048576M" MIDDLE PANIC TAIL LINE },
	{ "the smaller one",
	    { .backend = BACKEND_QEMU_MICROVM,
		.mem_mib = 128,
		.vcpus = 1,
		.accel = ACCEL_KVM,
		.ndevs = 1,
		.dev = { { .kind = DEV_NIC, .num = { 0x02000aff0001 } } } },
	    "",
	    MICROVM HEAD "kvm|-cpu|max|-smp|1|-m|128M" MIDDLE NIC TAIL LINE },
	{ "arguments that look like ours stay one",
	    { .mem_mib = 128, .vcpus = 1, .accel = ACCEL_TCG },
	    "-incoming exec:id,file=/x %s %n ,,fd=9 \"'\\",
	    QEMU HEAD
	    "tcg,tb-size=32|-cpu|max|-smp|1|-m|128M" MIDDLE PANIC TAIL LINE
	    " -incoming exec:id,file=/x %s %n ,,fd=9 \"'\\" },
};

/* What the keeper leaves, in this order; of 8 the composer makes the line. */
static struct ward_exec
exec_of(const struct machine *m)
{
	static const uint16_t roles[] = { FDR_QMP, FDR_SERIAL, FDR_AGENT,
		FDR_TAP, FDR_ARGS, FDR_VSOCK };
	struct ward_exec x = { .machine = *m, .nfds = nitems(roles) };
	size_t i;

	if (m->backend == 0)
		x.machine.backend = BACKEND_QEMU;
	x.machine.vcpus_max = m->vcpus;
	x.machine.mem_max_mib = m->mem_mib;
	for (i = 0; i < nitems(roles); i++)
		x.fd[i].role = roles[i];
	return x;
}

static void
test_golden(void)
{
	static struct argv a;
	char got[4096];
	size_t i, k, n;

	for (i = 0; i < nitems(rows); i++) {
		const struct ward_exec x = exec_of(&rows[i].m);

		t_row(rows[i].name);
		t_eq(qemu_backend.compose(&x, rows[i].extra, &a, NULL), 0);
		for (k = n = 0; k < a.n; k++)
			n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%s",
			    k > 0 ? "|" : "", a.v[k]);
		t_str(got, rows[i].want);
		t_true(a.v[a.n] == NULL);
	}
}

/* What it cannot make is said, not left out. */
static void
test_cannot(void)
{
	static struct argv a;
	struct ward_exec x = exec_of(&rows[1].m);
	struct err e;

	x.machine.vcpus_max++;
	t_eq(qemu_backend.compose(&x, "", &a, &e), -ENOTSUP);
	x = exec_of(&rows[1].m);
	x.machine.mem_max_mib++;
	t_eq(qemu_backend.compose(&x, "", &a, &e), -ENOTSUP);
	x = exec_of(&rows[1].m);
	x.fd[3].role = FDR_ARGS;
	t_eq(qemu_backend.compose(&x, "", &a, &e), -EINVAL);
	t_str(e.msg, "nic 0: no descriptor");
}

static void
test_too_long(void)
{
	static struct argv a;
	static char extra[MACHINE_CMDLINE_MAX + 2];
	const struct ward_exec x = exec_of(&rows[0].m);
	size_t room = MACHINE_CMDLINE_MAX - strlen(LINE) - 1;
	struct err e;

	memset(extra, 'x', room);
	t_eq(qemu_backend.compose(&x, extra, &a, &e), 0);
	t_eq(strlen(a.v[a.n - 1]), MACHINE_CMDLINE_MAX);
	extra[room] = 'x';
	t_eq(qemu_backend.compose(&x, extra, &a, &e), -E2BIG);
}

/* The lists hold what they should and, above all, not what they must not. */
static void
test_filter(void)
{
	static const int never[] = { SCMP_SYS(socket), SCMP_SYS(connect),
		SCMP_SYS(bind), SCMP_SYS(kill), SCMP_SYS(ptrace),
		SCMP_SYS(fork), SCMP_SYS(execveat), SCMP_SYS(mount),
		SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(bpf),
		SCMP_SYS(pidfd_getfd), SCMP_SYS(process_vm_writev),
		SCMP_SYS(setuid), SCMP_SYS(userfaultfd), SCMP_SYS(keyctl) };
	static const int bounded[] = { SCMP_SYS(ioctl), SCMP_SYS(clone),
		SCMP_SYS(execve), SCMP_SYS(tgkill) };
	struct seccomp_rule r[VMM_RULES_MAX];
	unsigned int accel;

	for (accel = ACCEL_TCG; accel <= ACCEL_KVM; accel++) {
		struct machine m = machine_new(1, 64);
		size_t n, i, k;

		m.accel = (uint16_t)accel;
		t_eq(machine_add(&m, DEV_NIC, 0x020000000001), 0);
		if (accel == ACCEL_KVM)
			t_eq(machine_add(&m, DEV_VSOCK, 5), 0);
		n = vmm_rules(&m, "x", r);

		for (i = 0; i < n; i++) {
			for (k = 0; k < nitems(never); k++)
				t_true(r[i].nr != never[k] || r[i].err > 0);
			for (k = 0; k < nitems(bounded); k++)
				t_true(r[i].nr != bounded[k] || r[i].arg >= 0);
			if (accel == ACCEL_KVM &&
			    (r[i].nr == SCMP_SYS(mmap) ||
				r[i].nr == SCMP_SYS(mprotect)))
				t_true(r[i].arg == 2);
		}
	}
}

/* The rows for one ioctl of a machine with that device, or none; *err: what
 * the last of them does. */
static int
rows_for(enum dev_kind kind, uint64_t cmd, int *err)
{
	struct machine m = machine_new(1, 64);
	struct seccomp_rule r[VMM_RULES_MAX];
	size_t n, i;
	int found = 0;

	m.accel = ACCEL_TCG;
	if (kind != 0)
		t_eq(machine_add(&m, kind, 5), 0);
	n = vmm_rules(&m, "x", r);

	for (i = 0; i < n; i++) {
		if (r[i].nr != SCMP_SYS(ioctl) || r[i].val != cmd)
			continue;
		found++;
		*err = r[i].err;
	}
	return found;
}

/* Its own address is not the hypervisor's to choose. */
static void
test_cid(void)
{
	int err = 0;

	t_eq(rows_for(0, VHOST_VSOCK_SET_GUEST_CID, &err), 0);
	t_eq(rows_for(0, VHOST_SET_OWNER, &err), 0);
	t_eq(rows_for(DEV_VSOCK, VHOST_SET_OWNER, &err), 1);
	t_eq(err, 0);
	t_eq(rows_for(DEV_VSOCK, VHOST_VSOCK_SET_GUEST_CID, &err), 1);
	t_eq(err, SC_FAKED);
}

static bool
allows(const struct machine *m, int nr)
{
	struct seccomp_rule r[VMM_RULES_MAX];
	size_t i, n = vmm_rules(m, "x", r);

	for (i = 0; i < n; i++) {
		if (r[i].nr == nr)
			return true;
	}
	return false;
}

/* Of two programs the smaller has the shorter list. */
static void
test_smaller(void)
{
	static const int less[] = { SCMP_SYS(stat), SCMP_SYS(getcwd),
		SCMP_SYS(fchdir), SCMP_SYS(sched_yield) };
	struct machine m = machine_new(1, 64);
	size_t i;

	m.accel = ACCEL_KVM;
	for (i = 0; i < nitems(less); i++)
		t_true(allows(&m, less[i]));
	m.backend = BACKEND_QEMU_MICROVM;
	for (i = 0; i < nitems(less); i++)
		t_true(!allows(&m, less[i]));
	t_true(allows(&m, SCMP_SYS(mmap)));
}

/* Nor is a tap's ioctl there for who has none. */
static void
test_nic_rows(void)
{
	int err = 0;

	t_eq(rows_for(0, TUNSETOFFLOAD, &err), 0);
	t_eq(rows_for(DEV_VSOCK, TUNSETOFFLOAD, &err), 0);
	t_eq(rows_for(DEV_NIC, TUNSETOFFLOAD, &err), 1);
	t_eq(err, 0);
}

const struct t_case t_cases[] = { { "compose", test_golden },
	{ "compose: bounds", test_too_long },
	{ "the hypervisor's filter", test_filter },
	{ "the hypervisor's filter: vsock", test_cid },
	{ "the hypervisor's filter: nic", test_nic_rows },
	{ "the hypervisor's filter: the smaller", test_smaller },
	{ "compose: refusals", test_cannot }, { NULL, NULL } };
