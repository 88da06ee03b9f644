#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/util.h"
#include "proto/keep.h"
#include "proto/launch.h"
#include "proto/machine.h"
#include "proto/ward.h"
#include "tests/suite/t.h"

#define MAC 0x020000000001ULL

/* One of everything. */
static struct machine
full(void)
{
	struct machine m = machine_new(2, 128);

	t_eq(machine_add(&m, DEV_NIC, MAC), 0);
	t_eq(machine_add(&m, DEV_VSOCK, 5), 0);
	return m;
}

#define AT(field) offsetof(struct machine, field), sizeof(m.field)
#define DEV(i, field)                                                      \
	offsetof(struct machine, dev) + (i) * sizeof(struct machine_dev) + \
	    offsetof(struct machine_dev, field),                           \
	    sizeof(((struct machine_dev *)NULL)->field)

/* Each check refuses one wrong value in a description that is good. */
static void
test_checks(void)
{
	struct machine m;
	static const struct {
		const char *name;
		size_t off, len;
		uint64_t v;
		int r;
	} rows[] = {
		{ "nothing wrong", AT(tsc_khz), 2100000, 0 },
		{ "version 0", AT(version), 0, -EINVAL },
		{ "a later version", AT(version), MACHINE_VERSION + 1,
		    -EINVAL },
		{ "a shorter head", AT(head_len), 24, -EINVAL },
		{ "a longer head", AT(head_len), 40, -EINVAL },
		{ "no backend", AT(backend), 0, -EINVAL },
		{ "a backend that is none", AT(backend), BACKENDS, -EINVAL },
		{ "one that lacks a device", AT(backend), BACKEND_QEMU_MICROVM,
		    -EINVAL },
		{ "KVM", AT(accel), ACCEL_KVM, 0 },
		{ "another accelerator", AT(accel), 3, -EINVAL },
		{ "a device less", AT(ndevs), 1, -EINVAL },
		{ "a device more", AT(ndevs), 3, -EINVAL },
		{ "65 devices", AT(ndevs), MACHINE_DEVS_MAX + 1, -EINVAL },
		{ "no vCPU", AT(vcpus), 0, -EINVAL },
		{ "more vCPUs than later", AT(vcpus), 3, -EINVAL },
		{ "vCPUs to be added", AT(vcpus_max), 64, 0 },
		{ "65 vCPUs", AT(vcpus_max), 65, -EINVAL },
		{ "padding", AT(pad), 1, -EINVAL },
		{ "the probe", AT(flags), MACHINE_PROBE, 0 },
		{ "another flag", AT(flags), 2, -EINVAL },
		{ "63 MiB", AT(mem_mib), 63, -EINVAL },
		{ "more memory than later", AT(mem_mib), 129, -EINVAL },
		{ "memory to be added", AT(mem_max_mib), 1048576, 0 },
		{ "over a TiB", AT(mem_max_mib), 1048577, -EINVAL },
		{ "kind 0", DEV(0, kind), 0, -EINVAL },
		{ "a kind that is none", DEV(0, kind), DEV_KINDS, -EINVAL },
		{ "the second of its kind alone", DEV(0, index), 1, -EINVAL },
		{ "two of what one may be", DEV(1, kind), DEV_NIC, -EINVAL },
		{ "flags of a device", DEV(0, flags), 1, -EINVAL },
		{ "what a kind does not use", DEV(0, num[1]), 1, -EINVAL },
		{ "no MAC", DEV(0, num[0]), 0, -EINVAL },
		{ "multicast", DEV(0, num[0]), MAC | 1ULL << 40, -EINVAL },
		{ "somebody's MAC", DEV(0, num[0]), 0x001b21000001, -EINVAL },
		{ "more than a MAC", DEV(0, num[0]), MAC | 1ULL << 48,
		    -EINVAL },
		{ "more than a CID", DEV(1, num[0]), 1ULL << 32, -EINVAL },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		uint8_t buf[sizeof(m)] = { 0 };
		struct machine got = { 0 };
		size_t len;

		m = full();
		len = machine_len(&m);
		memcpy(buf, &m, len);
		memcpy(buf + rows[i].off, &rows[i].v, rows[i].len);
		t_row(rows[i].name);
		t_eq(machine_get(buf, len, &got), rows[i].r);
		t_eq(got.version, rows[i].r == 0 ? MACHINE_VERSION : 0);
	}
}

static void
test_lengths(void)
{
	const struct machine m = full();
	uint8_t buf[sizeof(m) + 1] = { 0 };
	struct machine got;
	size_t len;

	memcpy(buf, &m, sizeof(m));
	for (len = 0; len <= sizeof(buf); len++)
		t_eq(machine_get(buf, len, &got),
		    len == machine_len(&m) ? 0 : -EINVAL);
}

/* As many as fit, in the order in which they were added. */
static void
test_add(void)
{
	struct machine m = full();

	t_eq(machine_add(&m, DEV_NIC, MAC), -E2BIG);
	t_eq(machine_add(&m, DEV_KINDS, 0), -E2BIG);
	t_eq(m.ndevs, 2);
	t_eq(machine_check(&m), 0);
	t_true(machine_dev(&m, DEV_NIC, 0) == &m.dev[0]);
	t_true(machine_dev(&m, DEV_VSOCK, 0) == &m.dev[1]);
	t_true(machine_dev(&m, DEV_VSOCK, 1) == NULL);
}

static void
test_mac(void)
{
	const uint8_t mac[6] = { 2, 0, 10, 255, 0, 1 };
	uint8_t got[6];

	t_eq((long long)machine_mac(mac), 0x02000aff0001);
	machine_mac_bytes(0x02000aff0001, got);
	t_mem(got, sizeof(got), mac, sizeof(mac));
}

/* Every kind has a whole row, every role a name and somebody who brings it;
 * a descriptor that a kind needs is there as often as the kind may be. */
static void
test_tables(void)
{
	unsigned int i, all = 0;

	for (i = 1; i < DEV_KINDS; i++) {
		const struct dev_row *row = dev_row(i);

		t_true(row != NULL && row->max > 0 && row->backends != 0);
		all += row->max;
		if (row->fd != 0)
			t_eq(fd_role_max(row->fd), row->max);
	}
	t_true(all <= MACHINE_DEVS_MAX);
	t_true(dev_row(0) == NULL && dev_row(DEV_KINDS) == NULL);
	for (i = 1; i < FD_ROLES; i++) {
		t_true(fd_role_from(i) != FD_NOBODY);
		t_true(strcmp(fd_role_name(i), "?") != 0);
		t_true(fd_role_max(i) > 0);
	}
	t_eq(fd_role_from(0), FD_NOBODY);
	t_eq(fd_role_from(FD_ROLES), FD_NOBODY);
	t_eq(fd_role_max(FD_ROLES), 0);
	t_str(fd_role_name(FD_ROLES), "?");
}

/* The small one is for KVM, and has no AF_VSOCK. */
static void
test_backends(void)
{
	struct machine m = machine_new(1, 64);
	unsigned int i;

	for (i = 1; i < BACKENDS; i++) {
		t_true(
		    backend_row(i) != NULL && backend_row(i)->path[0] == '/');
		m.backend = (uint16_t)i;
		t_true(machine_limits(&m).fds > 0);
	}
	t_true(backend_row(0) == NULL && backend_row(BACKENDS) == NULL);
	m.backend = BACKEND_QEMU_MICROVM;
	t_eq(machine_add(&m, DEV_NIC, MAC), 0);
	m.accel = ACCEL_KVM;
	t_eq(machine_check(&m), 0);
	m.accel = ACCEL_TCG;
	t_eq(machine_check(&m), -EINVAL);
	m.accel = ACCEL_KVM;
	t_eq(machine_add(&m, DEV_VSOCK, 5), 0);
	t_eq(machine_check(&m), -EINVAL);
	t_true(backend_can(BACKEND_QEMU, &m));
	t_true(!backend_can(0, &m) && !backend_can(BACKENDS, &m));
}

/* The sums of a hypervisor's own, its vCPUs' and its devices'. */
static void
test_limits(void)
{
	struct machine m = machine_new(2, 128);
	struct machine_limits l = machine_limits(&m);

	t_eq(l.data_mib, 128 + 1024 + 2 * 16);
	t_eq(l.threads, 98);
	t_eq(l.locked_mib, 0);
	t_eq(l.fds, 244);
	t_eq(l.group_mib, 128 + 248);
	t_eq(machine_add(&m, DEV_NIC, 0x020000000001), 0);
	t_eq(machine_limits(&m).group_mib, 128 + 256); /* cgroup_lab.py's */
	m = full();
	l = machine_limits(&m);
	t_eq(l.data_mib, 128 + 1024 + 2 * 16 + 8 + 1);
	t_eq(l.group_mib, 128 + 248 + 8 + 1);
	/* the jail has 256 (spawner/jail.c), which nothing in it can raise */
	t_true(l.fds <= 256);
}

/* mk/initramfs packs what dev_row names: one place says it, one test that
 * the other says the same. */
static void
test_modules(void)
{
	static char text[16384];
	FILE *f = fopen("mk/initramfs", "re");
	size_t i, n;

	t_true(f != NULL);
	if (f == NULL)
		return;
	n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	for (i = 0; i < n; i++) {
		if (text[i] == '\n')
			text[i] = ' ';
	}
	for (i = 1; i < DEV_KINDS; i++) {
		t_row(dev_row((unsigned int)i)->name);
		if (dev_row((unsigned int)i)->modules != NULL)
			t_true(strstr(text,
				   dev_row((unsigned int)i)->modules) != NULL);
	}
}

static int
null_fd(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
test_fds(void)
{
	struct machine_fds t = { 0 };
	const struct machine m = full();
	int tap = null_fd(), other = null_fd(), cid = null_fd();

	t_true(machine_lacks(&m, &t) == &m.dev[0]);
	t_eq(machine_fds_put(&t, FDR_TAP, 0, tap), 0);
	t_true(machine_lacks(&m, &t) == &m.dev[1]);
	t_eq(machine_fds_put(&t, FDR_VSOCK, 0, cid), 0);
	t_true(machine_lacks(&m, &t) == NULL);
	t_eq(machine_fds_get(&t, FDR_TAP, 0), tap);
	t_eq(machine_fds_get(&t, FDR_TAP, 1), -1);
	/* another in its place: the first is closed */
	t_eq(machine_fds_put(&t, FDR_TAP, 0, other), 0);
	t_eq(fcntl(tap, F_GETFD), -1);
	t_eq(machine_fds_get(&t, FDR_TAP, 0), other);
	t_eq(t.n, 2);
	/* refused, and still ours */
	t_eq(machine_fds_put(&t, FDR_TAP, 1, 0), -EINVAL);
	t_eq(machine_fds_put(&t, FD_ROLES, 0, 0), -EINVAL);
	t_eq(machine_fds_put(&t, 0, 0, 0), -EINVAL);
	machine_fds_clear(&t);
	t_eq(t.n, 0);
	t_eq(fcntl(other, F_GETFD), -1);
	t_eq(fcntl(cid, F_GETFD), -1);
}

/* A keeper's state in both versions, byte for byte. */
static void
test_keep_state(void)
{
	uint8_t one[48] = { 1, 0, 0, 0, KEEP_ENDED, 0, 0, 0, 7, 0, 0, 0, 9, 0,
		0, 0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 96, 0, 0,
		0, 2, 0, ACCEL_TCG, 1, 2, 0, 0, 0, 0, 1, 0, 0, 5, 0, 0, 0, 0, 0,
		0, 0 };
	uint8_t two[24 + sizeof(struct machine)] = { 2, 0, 0, 0, 24, 0,
		KEEP_ENDED, 0, 7, 0, 0, 0, 9, 0, 0, 0, 'm', 'o', 'r', 'e' };
	struct machine m = { 0 }, want = machine_new(2, 96);
	struct keep_state2 s;
	size_t len;

	want.accel = ACCEL_TCG;
	want.tsc_khz = 5;
	t_eq(machine_add(&want, DEV_NIC, MAC), 0);
	len = 24 + machine_len(&want);
	t_eq(keep_state_check(one), 0);
	t_eq(keep_state_get(KEEP_STATE, one, sizeof(one), &s, &m), 0);
	t_mem(&m, sizeof(m), &want, sizeof(want));
	t_true(s.version == 1 && s.phase == KEEP_ENDED);
	t_true(s.warden_starts == 7 && s.vmm_status == 9);
	/* a later one's head is longer; what it runs is found all the same */
	memcpy(two + 24, &want, machine_len(&want));
	memset(&m, 0, sizeof(m));
	t_eq(keep_state2_check(two), 0);
	t_eq(keep_state_get(KEEP_STATE2, two, len, &s, &m), 0);
	t_mem(&m, sizeof(m), &want, sizeof(want));
	t_true(s.version == 2 && s.phase == KEEP_ENDED);
	t_true(s.warden_starts == 7 && s.vmm_status == 9);
	/* what is no machine is refused in either */
	one[31] = 2; /* nics */
	t_eq(keep_state_get(KEEP_STATE, one, sizeof(one), &s, &m), -EINVAL);
	t_eq(keep_state_get(KEEP_STATE2, two, len - 1, &s, &m), -EINVAL);
	two[6] = KEEP_WAIT;
	t_eq(keep_state_get(KEEP_STATE2, two, len, &s, &m), -EINVAL);
	t_eq(keep_state_get(KEEP_STATE2, two, 24, &s, &m), 0);
	t_eq(keep_state_get(KEEP_STATE2, two, 23, &s, &m), -EINVAL);
	two[4] = 15; /* shorter than version 2's */
	t_eq(keep_state2_check(two), -EINVAL);
}

/* Who may attach what. */
static void
test_attach(void)
{
	unsigned int role;

	for (role = 0; role <= FD_ROLES; role++) {
		struct launch_attach l = { .vm = 1, .role = role };
		struct keep_attach k = { .role = role };

		t_eq(launch_attach_check(&l),
		    role == FDR_TAP || role == FDR_SPEC || role == FDR_ARGS
			? 0
			: -EINVAL);
		t_eq(keep_attach_check(&k),
		    role == FDR_TAP || role == FDR_ARGS ? 0 : -EINVAL);
		l.index = k.index = 1;
		t_eq(launch_attach_check(&l), -EINVAL);
		t_eq(keep_attach_check(&k), -EINVAL);
	}
}

static void
test_ward_exec(void)
{
	struct ward_exec x = { .version = WARD_EXEC_VERSION,
		.nfds = 2,
		.fd = { { FDR_QMP, 0 }, { FDR_TAP, 0 } },
		.machine = full() };
	struct ward_exec got;

	t_eq(ward_exec_get(&x, sizeof(x), &got), -EINVAL); /* no accelerator */
	x.machine.accel = ACCEL_KVM;
	t_eq(ward_exec_get(&x, sizeof(x), &got), 0);
	t_eq(ward_exec_fd(&got, FDR_QMP, 0), WARD_EXEC_FD_FIRST);
	t_eq(ward_exec_fd(&got, FDR_TAP, 0), WARD_EXEC_FD_FIRST + 1);
	t_eq(ward_exec_fd(&got, FDR_TAP, 1), -1);
	t_eq(ward_exec_fd(&got, FDR_ARGS, 0), -1);
	t_eq(ward_exec_get(&x, sizeof(x) - 1, &got), -EINVAL);
	x.fd[1].index = 1;
	t_eq(ward_exec_get(&x, sizeof(x), &got), -EINVAL);
	x.fd[1].index = 0;
	x.nfds = MACHINE_FDS_MAX + 1;
	t_eq(ward_exec_get(&x, sizeof(x), &got), -EINVAL);
	x.nfds = 2;
	x.version++;
	t_eq(ward_exec_get(&x, sizeof(x), &got), -EINVAL);
}

static void
test_args(void)
{
	static char big[MACHINE_ARGS_MAX + 1];
	char c[2] = "";
	int i;

	for (i = 0; i < 256; i++) {
		c[0] = (char)i;
		t_eq(machine_args_check(c, 1, NULL),
		    i >= ' ' && i <= '~' ? 0 : -EINVAL);
	}
	memset(big, 'x', sizeof(big));
	t_eq(machine_args_check(big, MACHINE_ARGS_MAX, NULL), 0);
	t_eq(machine_args_check(big, MACHINE_ARGS_MAX + 1, NULL), -E2BIG);
}

const struct t_case t_cases[] = { { "kernel arguments", test_args },
	{ "machine: each check", test_checks },
	{ "machine: lengths", test_lengths }, { "machine: add", test_add },
	{ "machine: MAC", test_mac }, { "machine: tables", test_tables },
	{ "machine: backends", test_backends },
	{ "machine: limits", test_limits },
	{ "machine: the guest's modules", test_modules },
	{ "machine: descriptors", test_fds },
	{ "keeper's state, both versions", test_keep_state },
	{ "attach: who brings what", test_attach },
	{ "what the composer is given", test_ward_exec }, { NULL, NULL } };
