#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "launchd/launchd.h"

/*
 * The accelerator probe: a throwaway VM with KVM and the real kernel, in the
 * last slot.  Only the agent's first sign of life proves that KVM works
 * here: some hosts run a bare vCPU and then hang in every kernel.
 */
#define PROBE_MS 5000
#define PROBE_MEM_MIB 128

void
accel_known(struct launchd *ld, uint32_t accel)
{
	struct lvm *v;

	ld->accel = accel;
	ld->caps.accel = (uint8_t)accel;
	log_info("accelerator: %s", accel == ACCEL_KVM ? "KVM" : "emulation");
	orchd_caps(ld);
	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (v->state == L_ACCEL)
			(void)lvm_step(v, E_ACCEL);
	}
}

void
probe_start(struct launchd *ld)
{
	struct lvm *v;

	if (ld->accel != ACCEL_UNKNOWN)
		return;
	if ((v = lvm_new(ld, PROBE_VM)) == NULL) {
		accel_known(ld, ACCEL_TCG);
		return;
	}
	v->probe = true;
	v->start.vm = PROBE_VM;
	v->start.slot = (uint16_t)(ld->conf.uid_count - 1);
	v->start.vcpus = 1;
	v->start.mem_mib = ld->conf.max_mem_mib < PROBE_MEM_MIB
	    ? ld->conf.max_mem_mib
	    : PROBE_MEM_MIB;
	v->started_ms = clock_ms();
	v->ready_by_ms = v->started_ms + PROBE_MS;
	log_info("does a kernel boot with KVM?");
	(void)lvm_step(v, E_START);
}

/* Once: what comes after the verdict is only the clearing away. */
void
probe_ended(struct lvm *v, uint32_t accel)
{
	struct launchd *ld = v->ld;
	struct spawn_accel a = { .accel = accel };

	if (ld->accel == ACCEL_UNKNOWN) {
		/* the spawner keeps it, for us and for a later launchd, and
		 * hears it before the first PREPARE that relies on it */
		if (chan_send(ld->spawner, SPAWN_ACCEL, ID_ACCEL, &a, sizeof(a),
			-1) < 0)
			fatal("the spawner does not keep up");
		accel_known(ld, accel);
	}
	if (!v->releasing)
		lvm_release(v);
}
