#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/util.h"
#include "proto/ward.h"
#include "warden/argv.h"
#include "warden/backend.h"
#include "warden/qmp.h"

/* MiB of translated code; the default (a fifth of memory) is no faster. */
#define TB_SIZE_MIB 32

/*
 * Kernel and initramfs need nothing from here but a console, and an end of
 * the hypervisor when the kernel panics (-no-reboot makes it one).
 */
#define CMDLINE "console=ttyS0 reboot=t panic=-1 quiet"
#define CMDLINE_TSC " tsc_early_khz=4294967295 tsc=reliable" /* the longest */
_Static_assert(
    sizeof(CMDLINE CMDLINE_TSC) - 1 <= MACHINE_ARGS_OURS, "orchd counts on it");
static int
cmdline(const struct machine *m, const char *extra, char *buf, size_t cap,
    struct err *e)
{
	char tsc[56] = "";
	int n;

	/* without the first, calibration of the TSC hangs in emulation under
	 * load; without the second the kernel drops it, with two processors at
	 * once and with one when an interrupt comes late, and counts ticks,
	 * of which emulation loses many.  It is the host's counter */
	if (m->accel == ACCEL_TCG && m->tsc_khz > 0)
		(void)snprintf(tsc, sizeof(tsc),
		    " tsc_early_khz=%u tsc=reliable", m->tsc_khz);
	n = snprintf(buf, cap, CMDLINE "%s%s%s", tsc,
	    extra[0] != '\0' ? " " : "", extra);
	if (n < 0 || (size_t)n >= cap)
		return err_set(e, -E2BIG,
		    "kernel arguments: over %d bytes with our own",
		    MACHINE_CMDLINE_MAX);
	return 0;
}

static void
add_chardev(struct argv *a, const char *id, int fd)
{
	argv_add(a, "-chardev");
	argv_addf(a, "socket,id=%s,fd=%d,server=on,wait=off", id, fd);
}

static void
add_machine(struct argv *a, const struct machine *m)
{
	argv_add(a, "-M");
	/*
	 * rtc: with KVM there would be none by default, and the kernel then
	 * looks for one 20,000 times, each an exit: most of its boot's exits.
	 */
	/* mem-merge: what other VMs' memory holds would show by the time that
	 * a write takes */
	argv_add(a,
	    "microvm,acpi=on,rtc=on,usb=off,graphics=off,"
	    "mem-merge=off");
	argv_add(a, "-accel");
	if (m->accel == ACCEL_KVM)
		argv_add(a, "kvm");
	else
		argv_addf(a, "tcg,tb-size=%d", TB_SIZE_MIB);
	argv_add(a, "-cpu");
	argv_add(a, "max");
	argv_add(a, "-smp");
	argv_addf(a, "%u", m->vcpus);
	argv_add(a, "-m");
	argv_addf(a, "%uM", m->mem_mib);
}

/*
 * What every machine has.  pvpanic tells of a panic at once; where there is
 * none, what tells is that the agent did not say its last word (word.h).
 */
static void
add_platform(struct argv *a, const struct ward_exec *x)
{
	add_chardev(a, "qmp", ward_exec_fd(x, FDR_QMP, 0));
	argv_add(a, "-mon");
	argv_add(a, "chardev=qmp,mode=control");
	add_chardev(a, "serial", ward_exec_fd(x, FDR_SERIAL, 0));
	argv_add(a, "-serial");
	argv_add(a, "chardev:serial");
	add_chardev(a, "agent", ward_exec_fd(x, FDR_AGENT, 0));
	argv_add(a, "-device");
	argv_add(a, "virtio-serial-device");
	argv_add(a, "-device");
	argv_add(a, "virtserialport,chardev=agent,name=mews.agent");
	argv_add(a, "-device");
	argv_add(a, "virtio-rng-device");
	if (x->machine.backend == BACKEND_QEMU) {
		argv_add(a, "-device");
		argv_add(a, "pvpanic");
	}
}

static void
add_nic(struct argv *a, const struct machine_dev *d, int fd)
{
	uint8_t m[6];

	machine_mac_bytes(d->num[0], m);
	argv_add(a, "-netdev");
	argv_addf(a, "tap,id=net%u,fd=%d,vhost=off", d->index, fd);
	argv_add(a, "-device");
	argv_addf(a,
	    "virtio-net-device,netdev=net%u,"
	    "mac=%02x:%02x:%02x:%02x:%02x:%02x",
	    d->index, m[0], m[1], m[2], m[3], m[4], m[5]);
}

static void
add_vsock(struct argv *a, const struct machine_dev *d, int fd)
{
	argv_add(a, "-device");
	argv_addf(a, "vhost-vsock-device,guest-cid=%u,vhostfd=%d",
	    (uint32_t)d->num[0], fd);
}

/* fd: of the role that its dev_row names, or -1. */
static void (*const add_dev[DEV_KINDS])(
    struct argv *a, const struct machine_dev *d, int fd) = {
	[DEV_NIC] = add_nic,
	[DEV_VSOCK] = add_vsock,
};

static int
add_devices(struct argv *a, const struct ward_exec *x, struct err *e)
{
	const struct machine *m = &x->machine;
	size_t i;

	for (i = 0; i < m->ndevs; i++) {
		const struct machine_dev *d = &m->dev[i];
		const struct dev_row *row = dev_row(d->kind);
		int fd = ward_exec_fd(x, row->fd, d->index);

		if (row->fd != 0 && fd < 0)
			return err_set(e, -EINVAL, "%s %u: no descriptor",
			    row->name, d->index);
		add_dev[d->kind](a, d, fd);
	}
	return 0;
}

/* What a machine may say and this cannot make. */
static int
can_do(const struct machine *m, struct err *e)
{
	if (m->vcpus_max > m->vcpus || m->mem_max_mib > m->mem_mib)
		return err_set(e, -ENOTSUP,
		    "qemu: processors and memory cannot be added later");
	return 0;
}

static int
qemu_compose(const struct ward_exec *x, const char *extra, struct argv *ret,
    struct err *e)
{
	const struct machine *m = &x->machine;
	char line[MACHINE_CMDLINE_MAX + 1];
	int r;

	if ((r = can_do(m, e)) < 0 ||
	    (r = cmdline(m, extra, line, sizeof(line), e)) < 0)
		return r;
	argv_init(ret);
	argv_add(ret, backend_row(m->backend)->path);
	add_machine(ret, m);
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
	add_platform(ret, x);
	if ((r = add_devices(ret, x, e)) < 0)
		return r;
	/* releases of QEMU differ in which they take, and where it is */
	argv_add(ret, "-bios");
	argv_add(ret, WARD_FIRMWARE_PATH);
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
	.compose = qemu_compose,
	.open = qmp_open,
	.close = qmp_close,
	.retry = qmp_retry,
	.resume = qmp_resume,
	.stop = qmp_stop,
};
