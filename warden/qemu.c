#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/util.h"
#include "proto/ward.h"
#include "warden/argv.h"
#include "warden/backend.h"
#include "warden/qmp.h"

/* proto/ward.h: what mews-warden -x is given. */
#define FD_QMP 4
#define FD_SERIAL 5
#define FD_AGENT 6
#define FD_TAP 7
#define FD_VSOCK 9

/* MiB of translated code; the default (a fifth of memory) is no faster. */
#define TB_SIZE_MIB 32

/*
 * Kernel and initramfs need nothing from here but a console, and an end of
 * the hypervisor when the kernel panics (-no-reboot makes it one).
 */
static int
cmdline(const struct keep_spec *spec, const char *extra, char *buf, size_t cap,
    struct err *e)
{
	char tsc[40] = "";
	int n;

	/* without it, calibration of the TSC hangs in emulation under load */
	if (spec->accel == ACCEL_TCG && spec->tsc_khz > 0)
		(void)snprintf(
		    tsc, sizeof(tsc), " tsc_early_khz=%u", spec->tsc_khz);
	n = snprintf(buf, cap, "console=ttyS0 reboot=t panic=-1 quiet%s%s%s",
	    tsc, extra[0] != '\0' ? " " : "", extra);
	if (n < 0 || (size_t)n >= cap)
		return err_set(e, -E2BIG,
		    "kernel arguments: over %d bytes with our own",
		    GUEST_CMDLINE_MAX);
	return 0;
}

static void
add_chardev(struct argv *a, const char *id, int fd)
{
	argv_add(a, "-chardev");
	argv_addf(a, "socket,id=%s,fd=%d,server=on,wait=off", id, fd);
}

static void
add_machine(struct argv *a, const struct keep_spec *spec)
{
	argv_add(a, "-M");
	/*
	 * rtc: with KVM there would be none by default, and the kernel then
	 * looks for one 20,000 times, each an exit: most of its boot's exits.
	 */
	argv_add(a, "microvm,acpi=on,rtc=on,usb=off,graphics=off");
	argv_add(a, "-accel");
	if (spec->accel == ACCEL_KVM)
		argv_add(a, "kvm");
	else
		argv_addf(a, "tcg,tb-size=%d", TB_SIZE_MIB);
	argv_add(a, "-cpu");
	argv_add(a, "max");
	argv_add(a, "-smp");
	argv_addf(a, "%u", spec->vcpus);
	argv_add(a, "-m");
	argv_addf(a, "%uM", spec->mem_mib);
}

static void
add_devices(struct argv *a, const struct keep_spec *spec, uint32_t cid)
{
	const uint8_t *m = spec->mac;

	add_chardev(a, "qmp", FD_QMP);
	argv_add(a, "-mon");
	argv_add(a, "chardev=qmp,mode=control");
	add_chardev(a, "serial", FD_SERIAL);
	argv_add(a, "-serial");
	argv_add(a, "chardev:serial");
	add_chardev(a, "agent", FD_AGENT);
	argv_add(a, "-device");
	argv_add(a, "virtio-serial-device");
	argv_add(a, "-device");
	argv_add(a, "virtserialport,chardev=agent,name=mews.agent");
	argv_add(a, "-device");
	argv_add(a, "virtio-rng-device");
	/* else a panic looks like any other reset */
	argv_add(a, "-device");
	argv_add(a, "pvpanic");
	if (cid != 0) {
		argv_add(a, "-device");
		argv_addf(a, "vhost-vsock-device,guest-cid=%u,vhostfd=%d", cid,
		    FD_VSOCK);
	}
	if (spec->nics == 0)
		return;
	argv_add(a, "-netdev");
	argv_addf(a, "tap,id=net0,fd=%d,vhost=off", FD_TAP);
	argv_add(a, "-device");
	argv_addf(a,
	    "virtio-net-device,netdev=net0,"
	    "mac=%02x:%02x:%02x:%02x:%02x:%02x",
	    m[0], m[1], m[2], m[3], m[4], m[5]);
}

static int
qemu_compose(const struct keep_spec *spec, uint32_t cid, const char *extra,
    struct argv *ret, struct err *e)
{
	char line[GUEST_CMDLINE_MAX + 1];
	int r;

	if ((r = cmdline(spec, extra, line, sizeof(line), e)) < 0)
		return r;
	argv_init(ret);
	argv_add(ret, qemu_backend.path);
	add_machine(ret, spec);
	argv_add(ret, "-nodefaults");
	argv_add(ret, "-no-user-config");
	argv_add(ret, "-no-reboot");
	argv_add(ret, "-display");
	argv_add(ret, "none");
	/* a deny-list: a second fence behind ours (vmm_seccomp.c) */
	argv_add(ret, "-sandbox");
	argv_add(ret,
	    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
	    "resourcecontrol=deny");
	argv_add(ret, "-S"); /* until it was read back from /proc (I4) */
	add_devices(ret, spec, cid);
	argv_add(ret, "-kernel");
	argv_add(ret, WARD_KERNEL_PATH);
	argv_add(ret, "-initrd");
	argv_add(ret, WARD_INITRAMFS_PATH);
	/* taken whole: QEMU looks for no commas in it */
	argv_add(ret, "-append");
	argv_add(ret, line);
	if ((r = argv_end(ret)) < 0)
		return err_set(e, r, "the hypervisor's arguments do not fit");
	return 0;
}

const struct vmm_backend qemu_backend = {
	.name = "qemu",
	.path = WARD_VMM_PATH,
	.compose = qemu_compose,
	.open = qmp_open,
	.close = qmp_close,
	.retry = qmp_retry,
	.resume = qmp_resume,
	.stop = qmp_stop,
};
