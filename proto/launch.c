#include <errno.h>
#include <string.h>

#include "common/util.h"
#include "proto/launch.h"

/* A copy first: payloads are only as aligned as the packet buffer. */
#define LOAD(v, p) memcpy(&(v), (p), sizeof(v))

static const char *const reasons[EXIT_MAX] = {
	[EXIT_NONE] = "",
	[EXIT_GUEST_OFF] = "guest power-off",
	[EXIT_GUEST_REBOOT] = "guest reboot",
	[EXIT_GUEST_PANIC] = "guest panic",
	[EXIT_STOPPED] = "stopped",
	[EXIT_KILLED] = "hypervisor killed",
	[EXIT_OOM] = "out of memory",
	[EXIT_VMM_ERROR] = "hypervisor error",
	[EXIT_START_FAILED] = "start failed",
	[EXIT_KEEPER] = "keeper killed",
	[EXIT_NO_AGENT] = "agent not ready in time",
};

const char *
exit_reason_name(uint32_t reason)
{
	return reason < nitems(reasons) ? reasons[reason] : "?";
}

static int
is_text(const char *s, size_t cap)
{
	return memchr(s, '\0', cap) != NULL;
}

int
launch_vm_check(const void *p)
{
	struct launch_vm v;

	LOAD(v, p);
	return v.vm != 0 ? 0 : -EINVAL;
}

int
launch_attach_check(const void *p)
{
	struct launch_attach v;

	LOAD(v, p);
	return v.vm != 0 && fd_role_from(v.role) == FD_ORCHD &&
		v.index < fd_role_max(v.role)
	    ? 0
	    : -EINVAL;
}

int
launch_start_check(const void *p)
{
	struct launch_start v;

	LOAD(v, p);
	return v.vm != 0 && v.then == LAUNCH_RUN && v.ready_ms > 0 ? 0
								   : -EINVAL;
}

int
launch_stop_check(const void *p)
{
	struct launch_stop v;

	LOAD(v, p);
	return v.vm != 0 && v.from < STOP_RUNGS && v.pad == 0 ? 0 : -EINVAL;
}

int
launch_stream_check(const void *p)
{
	struct launch_stream v;

	LOAD(v, p);
	if (v.vm == 0 || v.kind < STREAM_EXEC || v.kind > STREAM_KIND_MAX)
		return -EINVAL;
	return (v.flags & ~STREAM_FOLLOW) == 0 ? 0 : -EINVAL;
}

bool
launch_is_log(uint32_t kind)
{
	return kind == STREAM_CONSOLE_LOG || kind == STREAM_VMM_LOG;
}

bool
launch_has_microvm(const struct launch_caps *caps)
{
	return caps->microvm != 0 && caps->vsock == 0;
}

int
launch_log_check(const void *p)
{
	struct launch_log v;

	LOAD(v, p);
	return v.vm != 0 && launch_is_log(v.kind) &&
		(v.flags & ~STREAM_FOLLOW) == 0 && v.since_ns >= 0
	    ? 0
	    : -EINVAL;
}

static int
confined_check(const struct launch_confined *c)
{
	return c->verified <= 1 && c->cgroup <= 1 ? 0 : -EINVAL;
}

static bool
machine_may(uint16_t vcpus, uint32_t mem_mib)
{
	return vcpus <= MACHINE_VCPUS_MAX && mem_mib <= MACHINE_MEM_MAX_MIB;
}

int
launch_held_check(const void *p)
{
	struct launch_held v;

	LOAD(v, p);
	if (v.vm == 0 || v.state < LV_STARTING || v.state > LV_UNKNOWN ||
	    v.accel > ACCEL_KVM || v.fault > LF_RECORD ||
	    v.backend >= BACKENDS || !machine_may(v.vcpus, v.mem_mib) ||
	    (v.grace_ms != 0 && v.state != LV_STOPPING))
		return -EINVAL;
	return confined_check(&v.confined);
}

int
launch_event_check(const void *p)
{
	struct launch_event v;

	LOAD(v, p);
	if (v.vm == 0 || v.kind < LE_RUNNING || v.kind > LE_MUTE ||
	    v.reason >= EXIT_MAX || v.rung >= STOP_RUNGS ||
	    v.accel > ACCEL_KVM || v.backend >= BACKENDS ||
	    !machine_may(v.vcpus, v.mem_mib))
		return -EINVAL;
	if (!is_text(v.detail, sizeof(v.detail)))
		return -EINVAL;
	return confined_check(&v.confined);
}

int
launch_caps_check(const void *p)
{
	struct launch_caps v;

	LOAD(v, p);
	return v.accel <= ACCEL_KVM && v.cgroup <= 1 && v.vsock <= 1 &&
		v.doubt <= 1 && v.unstaged <= 1 && v.microvm <= 1 &&
		is_text(v.why, sizeof(v.why)) &&
		is_text(v.vsock_why, sizeof(v.vsock_why))
	    ? 0
	    : -EINVAL;
}

int
launch_err_check(const void *p)
{
	struct launch_err v;

	LOAD(v, p);
	return v.code < 0 && v.pad == 0 && is_text(v.msg, sizeof(v.msg))
	    ? 0
	    : -EINVAL;
}
