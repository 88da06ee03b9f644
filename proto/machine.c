#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/err.h"
#include "common/fds.h"
#include "common/util.h"
#include "proto/machine.h"

#define HEAD offsetof(struct machine, dev)
#define HEAD_FIRST 32 /* of version 1 */
#define BACKEND_BIT(b) (1U << (b))

static const struct dev_row rows[DEV_KINDS] = {
	[DEV_NIC] = { .name = "nic",
	    .max = 1,
	    .fd = FDR_TAP,
	    .backends =
		BACKEND_BIT(BACKEND_QEMU) | BACKEND_BIT(BACKEND_QEMU_MICROVM),
	    .data_mib = 8, /* queues */
	    .fds = 4, /* the tap, notifiers */
	    .modules = "virtio_net" },
	[DEV_VSOCK] = { .name = "vsock",
	    .max = 1,
	    .fd = FDR_VSOCK,
	    .backends = BACKEND_BIT(BACKEND_QEMU),
	    .data_mib = 1, /* its rings are the kernel's */
	    .fds = 8, /* the device, notifiers of two rings */
	    .modules = "vmw_vsock_virtio_transport" },
};

/* A hypervisor of a backend without any device. */
static const struct {
	uint32_t data_mib, data_vcpu_mib;
	uint32_t threads; /* and one a vCPU: I/O workers, keeper, warden */
	/* hypervisor, its caches and translated code, keeper and warden,
	 * page tables: all but guest memory and devices.  256 with a NIC. */
	uint32_t group_mib;
	uint32_t group_spare; /* threads past its own limit, which ends first */
	uint32_t fds; /* sockets, libraries while they are loaded */
} bases[] = {
	[BACKEND_QEMU] = { 1024, 16, 96, 248, 32, 244 },
	[BACKEND_QEMU_MICROVM] = { 1024, 16, 96, 248, 32, 244 },
};
_Static_assert(nitems(bases) == BACKENDS, "a row each");

static const struct backend_row backends[BACKENDS] = {
	[BACKEND_QEMU] = { "qemu", STAGE_VMM, false },
	[BACKEND_QEMU_MICROVM] = { "qemu-microvm", STAGE_VMM_MICROVM, true },
};

static const struct {
	const char *name;
	enum fd_from from;
} roles[FD_ROLES] = {
	[FDR_TAP] = { "tap", FD_ORCHD },
	[FDR_SPEC] = { "boot spec", FD_ORCHD },
	[FDR_ARGS] = { "kernel arguments", FD_ORCHD },
	[FDR_VSOCK] = { "vsock", FD_SPAWNER },
	[FDR_QMP] = { "qmp", FD_KEEPER },
	[FDR_SERIAL] = { "serial", FD_KEEPER },
	[FDR_AGENT] = { "agent", FD_KEEPER },
	[FDR_WATCH] = { "watch", FD_KEEPER },
};
_Static_assert(MACHINE_FDS_MAX >= MACHINE_DEVS_MAX + FD_ROLES - 1,
    "one of each device, one of each other role");

const struct dev_row *
dev_row(unsigned int kind)
{
	return kind < nitems(rows) && rows[kind].name != NULL ? &rows[kind]
							      : NULL;
}

const struct backend_row *
backend_row(unsigned int backend)
{
	return backend < nitems(backends) && backends[backend].name != NULL
	    ? &backends[backend]
	    : NULL;
}

bool
backend_can(unsigned int backend, const struct machine *m)
{
	const struct backend_row *b = backend_row(backend);
	size_t i;

	if (b == NULL ||
	    (b->kvm_only && m->accel != ACCEL_KVM && m->accel != ACCEL_UNKNOWN))
		return false;
	for (i = 0; i < m->ndevs; i++) {
		const struct dev_row *row = dev_row(m->dev[i].kind);

		if (row == NULL || (row->backends & BACKEND_BIT(backend)) == 0)
			return false;
	}
	return true;
}

enum fd_from
fd_role_from(unsigned int role)
{
	return role < nitems(roles) ? roles[role].from : FD_NOBODY;
}

const char *
fd_role_name(unsigned int role)
{
	return fd_role_from(role) != FD_NOBODY ? roles[role].name : "?";
}

unsigned int
fd_role_max(unsigned int role)
{
	size_t i;

	if (fd_role_from(role) == FD_NOBODY)
		return 0;
	for (i = 0; i < nitems(rows); i++) {
		if (rows[i].name != NULL && rows[i].fd == role)
			return rows[i].max;
	}
	return 1;
}

int
machine_args_check(const char *s, size_t len, struct err *e)
{
	size_t i;

	if (len > MACHINE_ARGS_MAX)
		return err_set(e, -E2BIG,
		    "kernel arguments: %zu bytes, and at most %d fit beside "
		    "the suite's own",
		    len, MACHINE_ARGS_MAX);
	for (i = 0; i < len; i++) {
		if (RULE(EXEC_ARGS_PRINTABLE) && (s[i] < ' ' || s[i] > '~'))
			return err_set(e, -EINVAL,
			    "kernel arguments: byte %zu is not printable "
			    "ASCII",
			    i + 1);
	}
	return 0;
}

struct machine
machine_new(uint16_t vcpus, uint32_t mem_mib)
{
	return (struct machine){ .version = MACHINE_VERSION,
		.head_len = HEAD,
		.backend = BACKEND_QEMU,
		.vcpus = vcpus,
		.vcpus_max = vcpus,
		.mem_mib = mem_mib,
		.mem_max_mib = mem_mib };
}

size_t
machine_len(const struct machine *m)
{
	return HEAD + m->ndevs * sizeof(m->dev[0]);
}

uint64_t
machine_mac(const uint8_t mac[6])
{
	uint64_t num = 0;
	int i;

	for (i = 0; i < 6; i++)
		num = num << 8 | mac[i];
	return num;
}

void
machine_mac_bytes(uint64_t num, uint8_t ret[6])
{
	int i;

	for (i = 5; i >= 0; i--) {
		ret[i] = (uint8_t)num;
		num >>= 8;
	}
}

struct machine_limits
machine_limits(const struct machine *m)
{
	struct machine_limits l = {
		.data_mib = (uint64_t)m->mem_max_mib +
		    bases[m->backend].data_mib +
		    (uint64_t)m->vcpus_max * bases[m->backend].data_vcpu_mib,
		.threads = bases[m->backend].threads + m->vcpus_max,
		.fds = bases[m->backend].fds,
		.file_mib = 0,
		.group_mib =
		    (uint64_t)m->mem_max_mib + bases[m->backend].group_mib,
		.group_pids = bases[m->backend].threads +
		    bases[m->backend].group_spare + m->vcpus_max,
	};
	size_t i;

	for (i = 0; i < m->ndevs; i++) {
		const struct dev_row *row = dev_row(m->dev[i].kind);

		l.data_mib += row->data_mib;
		l.locked_mib += row->locked_mib;
		l.threads += row->threads;
		l.group_pids += row->threads;
		l.group_mib += row->data_mib + row->locked_mib;
		l.fds += row->fds;
	}
	return l;
}

/* A unicast, locally administered address (IEEE 802c), and nothing above. */
static bool
is_local_mac(uint64_t num)
{
	return num >> 48 == 0 && (num >> 40 & 3) == 2;
}

static int
dev_check(const struct machine_dev *d)
{
	const struct dev_row *row = dev_row(d->kind);

	if (row == NULL || d->index >= row->max || d->flags != 0 ||
	    d->num[1] != 0)
		return -EINVAL;
	switch ((enum dev_kind)d->kind) {
	case DEV_NIC:
		return is_local_mac(d->num[0]) ? 0 : -EINVAL;
	case DEV_VSOCK:
		return d->num[0] <= UINT32_MAX ? 0 : -EINVAL;
	case DEV_KINDS:
		break;
	}
	return -EINVAL;
}

static int
head_check(const struct machine *m)
{
	if (m->version != MACHINE_VERSION || m->head_len != HEAD ||
	    m->accel > ACCEL_KVM || m->ndevs > MACHINE_DEVS_MAX ||
	    m->pad != 0 || (m->flags & ~MACHINE_FLAGS) != 0)
		return -EINVAL;
	if (m->vcpus < 1 || m->vcpus_max < m->vcpus ||
	    m->vcpus_max > MACHINE_VCPUS_MAX)
		return -EINVAL;
	return m->mem_mib >= MACHINE_MEM_MIN_MIB &&
		m->mem_max_mib >= m->mem_mib &&
		m->mem_max_mib <= MACHINE_MEM_MAX_MIB
	    ? 0
	    : -EINVAL;
}

int
machine_check(const struct machine *m)
{
	uint16_t next[DEV_KINDS] = { 0 };
	size_t i;
	int r = head_check(m);

	if (r == 0 && !backend_can(m->backend, m))
		r = -EINVAL;

	for (i = 0; i < m->ndevs && r == 0; i++) {
		const struct machine_dev *d = &m->dev[i];

		r = dev_check(d);
		if (r == 0 && d->index != next[d->kind]++)
			r = -EINVAL;
	}
	return r;
}

/* The head of an older version is shorter; what it lacks is 0. */
static bool
head_fits(const struct machine *m, size_t len)
{
	return m->version >= 1 && m->version <= MACHINE_VERSION &&
	    m->head_len >= HEAD_FIRST && m->head_len <= HEAD &&
	    (m->version < MACHINE_VERSION || m->head_len == HEAD) &&
	    m->head_len <= len;
}

int
machine_get(const void *buf, size_t len, struct machine *ret)
{
	struct machine m = { 0 };
	const uint8_t *p = buf;
	size_t head;

	if (len < HEAD_FIRST)
		return -EINVAL;
	memcpy(&m, p, HEAD_FIRST);
	if (!head_fits(&m, len) || m.ndevs > MACHINE_DEVS_MAX)
		return -EINVAL;
	head = m.head_len;
	if (len != head + m.ndevs * sizeof(m.dev[0]))
		return -EINVAL;
	memcpy(&m, p, head);
	memcpy(m.dev, p + head, len - head);
	m.version = MACHINE_VERSION;
	m.head_len = HEAD;
	if (machine_check(&m) < 0)
		return -EINVAL;
	*ret = m;
	return 0;
}

const struct machine_dev *
machine_dev(const struct machine *m, unsigned int kind, unsigned int index)
{
	size_t i;

	for (i = 0; i < m->ndevs; i++) {
		if (m->dev[i].kind == kind && m->dev[i].index == index)
			return &m->dev[i];
	}
	return NULL;
}

int
machine_add(struct machine *m, enum dev_kind kind, uint64_t num0)
{
	const struct dev_row *row = dev_row(kind);
	uint16_t n = 0;

	while (machine_dev(m, kind, n) != NULL)
		n++;
	if (row == NULL || n >= row->max || m->ndevs >= MACHINE_DEVS_MAX)
		return -E2BIG;
	m->dev[m->ndevs++] = (struct machine_dev){
		.kind = (uint16_t)kind, .index = n, .num = { num0 }
	};
	return 0;
}

/* The place of that name, or where a new one goes. */
static unsigned int
fds_find(const struct machine_fds *t, unsigned int role, unsigned int index)
{
	unsigned int i;

	for (i = 0; i < t->n; i++) {
		if (t->id[i].role == role && t->id[i].index == index)
			break;
	}
	return i;
}

int
machine_fds_put(
    struct machine_fds *t, unsigned int role, unsigned int index, int fd)
{
	unsigned int i = fds_find(t, role, index);

	if (index >= fd_role_max(role))
		return -EINVAL;
	assert(i < MACHINE_FDS_MAX);
	if (i < t->n)
		fd_close(&t->fd[i]);
	else
		t->n++;
	t->id[i] = (struct machine_fd){ (uint16_t)role, (uint16_t)index };
	t->fd[i] = fd;
	return 0;
}

int
machine_fds_get(
    const struct machine_fds *t, unsigned int role, unsigned int index)
{
	unsigned int i = fds_find(t, role, index);

	return i < t->n ? t->fd[i] : -1;
}

void
machine_fds_clear(struct machine_fds *t)
{
	while (t->n > 0)
		fd_close(&t->fd[--t->n]);
}

const struct machine_dev *
machine_lacks(const struct machine *m, const struct machine_fds *t)
{
	size_t i;

	for (i = 0; i < m->ndevs; i++) {
		const struct dev_row *row = dev_row(m->dev[i].kind);

		if (row->fd != 0 &&
		    machine_fds_get(t, row->fd, m->dev[i].index) < 0)
			return &m->dev[i];
	}
	return NULL;
}
