#include <errno.h>
#include <string.h>

#include "common/util.h"
#include "proto/machine.h"

#define HEAD offsetof(struct machine, dev)
#define BACKEND_BIT(b) (1U << (b))

static const struct dev_row rows[DEV_KINDS] = {
	[DEV_NIC] = { "nic", 1, FDR_TAP, BACKEND_BIT(BACKEND_QEMU), 8, 0 },
	[DEV_VSOCK] = { "vsock", 1, FDR_VSOCK, BACKEND_BIT(BACKEND_QEMU), 1,
	    0 },
};

const struct dev_row *
dev_row(unsigned int kind)
{
	return kind < nitems(rows) && rows[kind].name != NULL ? &rows[kind]
							      : NULL;
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

/* A unicast, locally administered address (IEEE 802c), and nothing above. */
static int
is_local_mac(uint64_t num)
{
	return num >> 48 == 0 && (num >> 40 & 3) == 2;
}

static int
dev_check(const struct machine *m, const struct machine_dev *d)
{
	const struct dev_row *row = dev_row(d->kind);

	if (row == NULL || d->index >= row->max || d->flags != 0 ||
	    d->num[1] != 0 || (row->backends & BACKEND_BIT(m->backend)) == 0)
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
	if (m->version < 1 || m->version > MACHINE_VERSION ||
	    m->backend != BACKEND_QEMU || m->accel > ACCEL_KVM ||
	    m->ndevs > MACHINE_DEVS_MAX || m->pad != 0 ||
	    (m->flags & ~MACHINE_FLAGS) != 0)
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

	for (i = 0; i < m->ndevs && r == 0; i++) {
		const struct machine_dev *d = &m->dev[i];

		r = dev_check(m, d);
		if (r == 0 && d->index != next[d->kind]++)
			r = -EINVAL;
	}
	return r;
}

int
machine_get(const void *buf, size_t len, struct machine *ret)
{
	struct machine m = { 0 };

	if (len < HEAD || len > sizeof(m))
		return -EINVAL;
	memcpy(&m, buf, len);
	if (m.ndevs > MACHINE_DEVS_MAX || machine_len(&m) != len ||
	    machine_check(&m) < 0)
		return -EINVAL;
	*ret = m;
	return 0;
}

const struct machine_dev *
machine_dev(const struct machine *m, enum dev_kind kind, unsigned int index)
{
	size_t i;

	for (i = 0; i < m->ndevs; i++) {
		if (m->dev[i].kind == kind && m->dev[i].index == index)
			return &m->dev[i];
	}
	return NULL;
}

unsigned int
machine_count(const struct machine *m, enum dev_kind kind)
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < m->ndevs; i++)
		n += m->dev[i].kind == kind;
	return n;
}

int
machine_add(struct machine *m, enum dev_kind kind, uint64_t num0)
{
	const struct dev_row *row = dev_row(kind);
	unsigned int n = machine_count(m, kind);

	if (row == NULL || n >= row->max || m->ndevs >= MACHINE_DEVS_MAX)
		return -E2BIG;
	m->dev[m->ndevs++] = (struct machine_dev){
		.kind = (uint16_t)kind, .index = (uint16_t)n, .num = { num0 }
	};
	return 0;
}
