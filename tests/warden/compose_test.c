#include <errno.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/util.h"
#include "tests/suite/t.h"
#include "warden/argv.h"
#include "warden/backend.h"
#include "warden/exec.h"
#include "warden/vmm_seccomp.h"

#define HEAD \
	"/usr/bin/qemu-system-x86_64|-M|microvm,acpi=on,rtc=on,usb=off,graphics=off|-accel|"
#define MIDDLE                                                               \
	"|-nodefaults|-no-user-config|-no-reboot|-display|none|-sandbox|on," \
	"obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol="   \
	"deny|-S|-chardev|socket,id=qmp,fd=4,server=on,wait=off|-mon|"       \
	"chardev=qmp,mode=control|-chardev|socket,id=serial,fd=5,server=on," \
	"wait=off|-serial|chardev:serial|-chardev|socket,id=agent,fd=6,"     \
	"server=on,wait=off|-device|virtio-serial-device|-device|"           \
	"virtserialport,chardev=agent,name=mews.agent|-device|"              \
	"virtio-rng-device|-device|pvpanic"
#define NIC                                                              \
	"|-netdev|tap,id=net0,fd=7,vhost=off|-device|virtio-net-device," \
	"netdev=net0,mac=02:00:0a:ff:00:01"
#define VSOCK "|-device|vhost-vsock-device,guest-cid=4294967294,vhostfd=9"
#define TAIL "|-kernel|/boot/vmlinuz|-initrd|/boot/initramfs|-append|"
#define LINE "console=ttyS0 reboot=t panic=-1 quiet"

static const struct {
	const char *name;
	struct keep_spec spec;
	const char *extra;
	const char *want;
	uint32_t cid;
} rows[] = {
	{ "emulated, no network",
	    { .vm = 1, .mem_mib = 128, .vcpus = 1, .accel = ACCEL_TCG }, "",
	    HEAD "tcg,tb-size=32|-cpu|max|-smp|1|-m|128M" MIDDLE TAIL LINE, 0 },
	{ "emulated, all of it",
	    { .vm = 1,
		.mem_mib = 96,
		.vcpus = 2,
		.accel = ACCEL_TCG,
		.nics = 1,
		.mac = { 2, 0, 10, 255, 0, 1 },
		.tsc_khz = 2100000 },
	    "a=b",
	    HEAD "tcg,tb-size=32|-cpu|max|-smp|2|-m|96M" MIDDLE NIC TAIL LINE
		 " tsc_early_khz=2100000 a=b",
	    0 },
	{ "AF_VSOCK, by descriptor",
	    { .vm = 1, .mem_mib = 128, .vcpus = 1, .accel = ACCEL_TCG }, "",
	    HEAD
	    "tcg,tb-size=32|-cpu|max|-smp|1|-m|128M" MIDDLE VSOCK TAIL LINE,
	    4294967294U },
	{ "KVM calibrates by itself",
	    { .vm = 1,
		.mem_mib = 1048576,
		.vcpus = 64,
		.accel = ACCEL_KVM,
		.tsc_khz = 5 },
	    "", HEAD "kvm|-cpu|max|-smp|64|-m|1048576M" MIDDLE TAIL LINE, 0 },
	{ "arguments that look like ours stay one",
	    { .vm = 1, .mem_mib = 128, .vcpus = 1, .accel = ACCEL_TCG },
	    "-incoming exec:id,file=/x %s %n ,,fd=9 \"'\\",
	    HEAD "tcg,tb-size=32|-cpu|max|-smp|1|-m|128M" MIDDLE TAIL LINE
		 " -incoming exec:id,file=/x %s %n ,,fd=9 \"'\\",
	    0 },
};

static void
test_golden(void)
{
	static struct argv a;
	char got[4096];
	size_t i, k, n;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		t_eq(qemu_backend.compose(
			 &rows[i].spec, rows[i].cid, rows[i].extra, &a, NULL),
		    0);
		for (k = n = 0; k < a.n; k++)
			n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%s",
			    k > 0 ? "|" : "", a.v[k]);
		t_str(got, rows[i].want);
		t_true(a.v[a.n] == NULL);
	}
}

static void
test_too_long(void)
{
	static struct argv a;
	static char extra[GUEST_CMDLINE_MAX + 2];
	const struct keep_spec spec = {
		.vm = 1, .mem_mib = 128, .vcpus = 1, .accel = ACCEL_TCG
	};
	size_t room = GUEST_CMDLINE_MAX - strlen(LINE) - 1;
	struct err e;

	memset(extra, 'x', room);
	t_eq(qemu_backend.compose(&spec, 0, extra, &a, &e), 0);
	t_eq(strlen(a.v[a.n - 1]), GUEST_CMDLINE_MAX);
	extra[room] = 'x';
	t_eq(qemu_backend.compose(&spec, 0, extra, &a, &e), -E2BIG);
}

static void
test_args(void)
{
	static char big[GUEST_CMDLINE_MAX + 1];
	char c[2] = "";
	int i;

	for (i = 0; i < 256; i++) {
		c[0] = (char)i;
		t_eq(exec_args_check(c, 1, NULL),
		    i >= ' ' && i <= '~' ? 0 : -EINVAL);
	}
	memset(big, 'x', sizeof(big));
	t_eq(exec_args_check(big, GUEST_CMDLINE_MAX, NULL), 0);
	t_eq(exec_args_check(big, GUEST_CMDLINE_MAX + 1, NULL), -E2BIG);
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
		size_t n = vmm_rules(accel, accel == ACCEL_KVM, "x", r), i, k;

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

/* The rows for one ioctl; *err: what the last of them does. */
static int
rows_for(bool vsock, uint64_t cmd, int *err)
{
	struct seccomp_rule r[VMM_RULES_MAX];
	size_t n = vmm_rules(ACCEL_TCG, vsock, "x", r), i;
	int found = 0;

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

	t_eq(rows_for(false, VHOST_VSOCK_SET_GUEST_CID, &err), 0);
	t_eq(rows_for(false, VHOST_SET_OWNER, &err), 0);
	t_eq(rows_for(true, VHOST_SET_OWNER, &err), 1);
	t_eq(err, 0);
	t_eq(rows_for(true, VHOST_VSOCK_SET_GUEST_CID, &err), 1);
	t_eq(err, SC_FAKED);
}

const struct t_case t_cases[] = { { "compose", test_golden },
	{ "compose: bounds", test_too_long }, { "kernel arguments", test_args },
	{ "the hypervisor's filter", test_filter },
	{ "the hypervisor's filter: vsock", test_cid }, { NULL, NULL } };
