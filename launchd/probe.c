#include <errno.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "launchd/launchd.h"
#include "launchd/orchd.h"
#include "launchd/probe.h"
#include "launchd/spawnlink.h"
#include "launchd/vm.h"
#include "proto/uids.h"

#define PROBE_MS 5000
/* PROBE_MS are a processor's: a kernel that spins uses them up, while one on a
 * host that is busy, as at its boot, is only late.  This is by the clock. */
#define PROBE_LONGEST_MS 60000
#define PROBE_MEM_MIB 128

static void
accel_known(struct launchd *ld, uint32_t accel)
{
	struct vm *v;

	ld->accel = accel;
	ld->caps.accel = (uint8_t)accel;
	log_info("accelerator: %s", accel == ACCEL_KVM ? "KVM" : "emulation");
	orchd_caps(ld);
	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (v->state == VM_ACCEL)
			vm_wake(v);
	}
}

void
probe_start(struct launchd *ld)
{
	const struct uids u = { ld->conf.uid_base, ld->conf.uid_count };
	struct vm *v;

	if (ld->accel != ACCEL_UNKNOWN)
		return;
	if ((v = vm_new(ld, PROBE_VM)) == NULL) {
		accel_known(ld, ACCEL_TCG);
		return;
	}
	v->is_probe = true;
	v->slot = (uint16_t)(uids_slots(&u) - 1);
	v->machine = machine_new(1,
	    ld->conf.max_mem_mib < PROBE_MEM_MIB ? ld->conf.max_mem_mib
						 : PROBE_MEM_MIB);
	v->started_ms = clock_ms();
	v->ready_by_ms = v->started_ms + PROBE_MS;
	log_info("does a kernel boot with KVM?");
	v->wants_start = true;
	vm_wake(v);
}

/* ms of processor time that the process has used; a negative errno */
static long long
used_ms(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;
	int r;

	if ((r = clock_getcpuclockid(pid, &clock)) != 0)
		return -r;
	if (clock_gettime(clock, &ts) < 0)
		return -errno;
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

bool
probe_waits(struct vm *v)
{
	long long age = clock_ms() - v->started_ms, used = 0, left;

	if (!v->is_probe)
		return false;
	/* not known before its read-back: then by the clock alone */
	if (v->vmm_pid != 0)
		used = used_ms(v->vmm_pid);
	if (used < 0 || used >= PROBE_MS || age >= PROBE_LONGEST_MS)
		return false;
	left = PROBE_MS - used;
	if (left > PROBE_LONGEST_MS - age)
		left = PROBE_LONGEST_MS - age;
	vm_arm(v, left);
	return true;
}

void
probe_ended(struct vm *v, uint32_t accel)
{
	struct launchd *ld = v->ld;

	if (ld->accel == ACCEL_UNKNOWN) {
		log_info("the probe took %lld ms",
		    (long long)clock_ms() - v->started_ms);
		/* the spawner keeps it, for us and for a later launchd, and
		 * hears it before the first PREPARE that relies on it */
		spawnlink_accel(ld, accel);
		accel_known(ld, accel);
	}
	v->wants_release = true;
}
