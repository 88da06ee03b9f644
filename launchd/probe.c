#include <errno.h>
#include <event2/event.h>
#include <sys/wait.h>
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
#define PROBE_AGAIN_S 5L /* then twice as long each time */
#define PROBE_AGAIN_MAX_S 300L
#define PROBE_SHIFT_MAX 8U

static int probe_launch(struct launchd *ld);
static void probe_later(struct launchd *ld);

static void
accel_known(struct launchd *ld, uint32_t accel)
{
	struct vm *v;

	ld->accel = accel;
	ld->caps.accel = (uint8_t)accel;
	log_info("accelerator: %s%s", accel == ACCEL_KVM ? "KVM" : "emulation",
	    ld->caps.doubt ? ", for now" : "");
	orchd_caps(ld);
	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (v->state == VM_ACCEL)
			vm_wake(v);
	}
}

static void
on_probe(int fd, short what, void *arg)
{
	struct launchd *ld = arg;

	(void)fd;
	(void)what;
	if (vm_find(ld, PROBE_VM) != NULL || probe_launch(ld) < 0)
		probe_later(ld);
}

/* For now it is emulation; in 5 s to 5 min that is looked at again. */
static void
probe_later(struct launchd *ld)
{
	const unsigned int shift =
	    ld->probes < PROBE_SHIFT_MAX ? ld->probes : PROBE_SHIFT_MAX;
	struct timeval tv = { .tv_sec = PROBE_AGAIN_S << shift };

	ld->probes++;
	if (tv.tv_sec > PROBE_AGAIN_MAX_S)
		tv.tv_sec = PROBE_AGAIN_MAX_S;
	log_warn("whether KVM works is not known: VMs are emulated, and it is "
		 "asked again in %lld s",
	    (long long)tv.tv_sec);
	if (ld->probe_timer == NULL)
		ld->probe_timer = event_new(ld->base, -1, 0, on_probe, ld);
	if (ld->probe_timer == NULL || event_add(ld->probe_timer, &tv) < 0)
		log_error("no timer: it is not asked again");
	ld->caps.doubt = 1;
	if (ld->accel == ACCEL_UNKNOWN)
		accel_known(ld, ACCEL_TCG);
}

static int
probe_launch(struct launchd *ld)
{
	const struct uids u = { ld->conf.uid_base, ld->conf.uid_count };
	struct vm *v;

	if ((v = vm_new(ld, PROBE_VM)) == NULL)
		return -ENOMEM;
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
	return 0;
}

void
probe_start(struct launchd *ld)
{
	if (ld->accel == ACCEL_UNKNOWN && probe_launch(ld) < 0)
		probe_later(ld);
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
	v->is_spun = used >= PROBE_MS;
	if (used < 0 || v->is_spun || age >= PROBE_LONGEST_MS)
		return false;
	left = PROBE_MS - used;
	if (left > PROBE_LONGEST_MS - age)
		left = PROBE_LONGEST_MS - age;
	vm_arm(v, left);
	return true;
}

/* For good: the spawner keeps it, for us and for a later launchd, and hears it
 * before the first PREPARE that relies on it. */
static void
verdict(struct vm *v, uint32_t accel)
{
	struct launchd *ld = v->ld;

	log_info(
	    "the probe took %lld ms", (long long)clock_ms() - v->started_ms);
	ld->caps.doubt = 0;
	spawnlink_accel(ld, accel);
	accel_known(ld, accel);
}

static bool
is_open(const struct launchd *ld)
{
	return ld->accel == ACCEL_UNKNOWN || ld->caps.doubt != 0;
}

static void
probe_answered(struct vm *v)
{
	if (is_open(v->ld))
		verdict(v, ACCEL_KVM);
	v->wants_release = true;
}

/* It ended by itself and said that it could not. */
static bool
gave_up(const struct vm *v)
{
	const int st = v->keep_state.vmm_status;

	return v->keep_state.phase == KEEP_ENDED && WIFEXITED(st) &&
	    WEXITSTATUS(st) != 0;
}

/* Nobody pauses a probe: one that ran and stands still met what this host's KVM
 * cannot do.  QEMU keeps such a machine as it is, and uses no processor. */
void
probe_look(struct vm *v)
{
	const struct ward_state *w = &v->ward_state;

	if (!v->is_probe || v->state != VM_RUNNING || v->ward.phase != LINK_UP)
		return;
	if (w->agent)
		probe_answered(v);
	else if (v->has_run && w->qmp && !w->running &&
	    w->guest_event == EXIT_NONE && !v->is_halted) {
		v->is_halted = true;
		vm_end(v, EXIT_NO_AGENT, "KVM gave its processor up");
	}
}

void
probe_failed(struct vm *v)
{
	struct launchd *ld = v->ld;

	v->wants_release = true;
	if (!is_open(ld))
		return;
	log_info("no KVM: %s %s", exit_reason_name(v->reason), v->detail);
	if (v->is_spun || v->is_halted ||
	    (gave_up(v) && ld->probes + 1 >= PROBE_AGREE))
		verdict(v, ACCEL_TCG);
	else
		probe_later(ld);
}
