#ifndef MEWS_LAUNCH_H
#define MEWS_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/machine.h"

/*
 * orchd <-> launchd.  A VM is its 64-bit uid here; everything else about it
 * is numbers, enums and descriptors (I3).  Requests carry a message id and
 * get exactly one answer: LAUNCH_DONE, LAUNCH_ERR or the one named.  With id 0
 * nobody waits and nothing is answered: so are ATTACH, whose failure START
 * tells.  STREAM and LOG are answered when their descriptor was passed on or
 * closed.
 */
enum launch_msg {
	/* orchd -> launchd */
	LAUNCH_ATTACH = 0x0401, /* launch_attach + descriptor: for a START or
				   a running VM that asks for its spec */
	LAUNCH_START = 0x0402, /* launch_start, then the machine: answered
				  at once; what happens then comes as
				  LAUNCH_EVENT */
	LAUNCH_STOP = 0x0403, /* launch_stop: begin the stop ladder */
	LAUNCH_RELEASE = 0x0404, /* launch_vm: kill what lives, leave nothing */
	LAUNCH_LIST = 0x0405, /* answered by LAUNCH_HELDs, LAUNCH_LIST_END;
				 then LE_EXITED, LE_NEED_SPEC and LE_MUTE are
				 said again for the VMs that they still hold
				 for */
	LAUNCH_STREAM = 0x0406, /* launch_stream + the guest's end of it */
	LAUNCH_FORGET = 0x0407, /* launch_vm: the VM is deleted, what is kept
				   of its log and console goes; id 0 */
	LAUNCH_LOG = 0x0408, /* launch_log + the end of it that is written to:
				what is kept of any VM, held or not */
	/* launchd -> orchd */
	LAUNCH_DONE = 0x0481, /* launch_vm */
	LAUNCH_ERR = 0x0482, /* launch_err */
	LAUNCH_HELD = 0x0483, /* launch_held */
	LAUNCH_LIST_END = 0x0484, /* launch_count */
	LAUNCH_EVENT = 0x0485, /* launch_event, id 0 */
	LAUNCH_CAPS = 0x0486, /* launch_caps, id 0: what this host can do */
	LAUNCH_KEPT = 0x0487, /* 1..LAUNCH_KEPT_MAX launch_vm, before
				 LAUNCH_LIST_END: log or console of those VMs
				 is kept; LAUNCH_FORGET if there is none */
};
#define LAUNCH_KEPT_MAX 1024

struct launch_vm {
	uint64_t vm;
};

struct launch_attach {
	uint64_t vm;
	uint32_t role; /* enum fd_role that orchd brings */
	uint32_t index; /* of the device that needs it; else 0 */
};

enum launch_then { /* what follows verification */
	LAUNCH_RUN = 1,
};

/* Followed by its machine: no accelerator, no flags, and only devices whose
 * descriptors orchd has attached. */
struct launch_start {
	uint64_t vm;
	uint16_t slot; /* the VM's host uid is uid_base + slot */
	uint16_t then; /* enum launch_then */
	uint32_t ready_ms; /* from exec to agent ready, else it is killed */
};
_Static_assert(sizeof(struct launch_start) == 16, "wire layout");

/* The ladder begins at rung `from`; each rung has its deadline. */
enum stop_rung {
	STOP_AGENT = 0, /* the agent ends the workload and powers off */
	STOP_ACPI = 1, /* power button */
	STOP_QUIT = 2, /* the hypervisor's own quit */
	STOP_TERM = 3, /* SIGTERM to the hypervisor */
	STOP_KILL = 4, /* the pid namespace dies */
	STOP_RUNGS = 5
};
struct launch_stop {
	uint64_t vm;
	uint32_t from; /* enum stop_rung */
	/* So long the guest's own programs have to end; 0: the agent's own
	 * measure.  Not 0: also for a ladder that stands on AGENT already. */
	uint32_t grace_ms;
	uint32_t deadline_ms[STOP_RUNGS]; /* 0: skip that rung (not KILL) */
	uint32_t pad;
};
_Static_assert(sizeof(struct launch_stop) == 40, "wire layout");

enum launch_stream_kind {
	STREAM_EXEC = 1, /* first frame from the client: the exec request */
	STREAM_CONSOLE = 2, /* bytes of the serial console both ways */
	STREAM_CONSOLE_LOG = 3, /* what the console said so far, then its end */
	STREAM_SIGNAL = 4, /* first frame: which one; FRAME_OPENED is the
			      answer, and the end */
	STREAM_KIND_MAX = STREAM_SIGNAL, /* of those that wardens hear of */
	STREAM_VMM_LOG = 5, /* as CONSOLE_LOG, of the VM's own processes; no
			       warden hears of it */
};
/* Open at once to one VM, of all other kinds together: what its warden serves.
 */
#define VM_STREAMS_MAX 64
#define VM_SIGNALS_MAX 8 /* STREAM_SIGNAL, beside them */
#define LOGS_MAX 64 /* logs, of all VMs together: what launchd serves */
struct launch_stream {
	uint64_t vm;
	uint32_t kind; /* enum launch_stream_kind */
	uint32_t flags; /* STREAM_* below */
};
#define STREAM_FOLLOW 1U /* of a log: go on with what comes */

struct launch_log {
	uint64_t vm;
	uint32_t kind; /* STREAM_CONSOLE_LOG, STREAM_VMM_LOG */
	uint32_t flags; /* STREAM_FOLLOW */
	int64_t since_ns; /* what came since then (1970); 0: all of it */
};
_Static_assert(sizeof(struct launch_log) == 24, "wire layout");

enum launch_state {
	LV_STARTING = 1, /* jail and hypervisor are being made */
	LV_RUNNING = 2, /* verified, guest runs, agent not heard yet */
	LV_READY = 3, /* the agent has its boot spec */
	LV_STOPPING = 4, /* on the ladder */
	LV_GONE = 5, /* ended; LAUNCH_RELEASE forgets it */
	LV_UNKNOWN = 6, /* alive, and found again: what it came to is said by
			   the next LE_RUNNING or LE_EXITED */
};

/* Why an LV_UNKNOWN stays one: LAUNCH_RELEASE ends it. */
enum launch_fault {
	LF_NONE = 0,
	LF_RECORD = 1, /* its record cannot be read: nothing can be asked */
};

enum exit_reason {
	EXIT_NONE = 0,
	EXIT_GUEST_OFF, /* the guest powered off */
	EXIT_GUEST_REBOOT, /* the guest asked for a reset */
	EXIT_GUEST_PANIC,
	EXIT_STOPPED, /* by a rung of the ladder: see rung */
	EXIT_KILLED, /* the hypervisor died of a signal we did not send */
	EXIT_OOM,
	EXIT_VMM_ERROR, /* the hypervisor ended with an error: see detail */
	EXIT_START_FAILED, /* never ran: jail, verification, argv */
	EXIT_KEEPER, /* its keeper was killed; the namespace went with it */
	EXIT_NO_AGENT, /* not ready within ready_ms */
	EXIT_MAX
};
/* "guest-off", "killed", ...: how the API spells it; "?" past the end. */
const char *exit_reason_name(uint32_t reason);

/* What read-back found; all zero when it was not (yet) verified. */
struct launch_confined {
	uint8_t verified; /* 1: every thread of every process of the VM */
	uint8_t cgroup; /* 1: in a cgroup v2 of its own */
	uint16_t threads; /* of the hypervisor, at read-back */
	uint32_t filters; /* seccomp filters on the hypervisor's threads */
	uint32_t uid; /* the VM's host uid */
	uint32_t cid; /* its AF_VSOCK address, set by the spawner; 0: none */
};
_Static_assert(sizeof(struct launch_confined) == 16, "wire layout");

struct launch_held {
	uint64_t vm;
	uint32_t state; /* enum launch_state */
	uint32_t pid; /* hypervisor's, in the host's pid namespace; 0 none */
	uint16_t slot;
	uint8_t accel; /* enum machine_accel */
	uint8_t fault; /* enum launch_fault */
	uint8_t backend; /* enum machine_backend; 0: not known */
	uint8_t pad;
	uint16_t vcpus; /* of its machine; 0: not known */
	struct launch_confined confined;
	/* LV_STOPPING: what is left of the time that its guest was given by
	 * launch_stop.grace_ms; 0: it was given none, or all has passed. */
	uint32_t grace_ms;
	uint32_t mem_mib; /* of its machine; 0: not known */
};
_Static_assert(sizeof(struct launch_held) == 48, "wire layout");

enum launch_event_kind {
	LE_RUNNING = 1, /* exec'ed, verified, continued */
	LE_READY = 2, /* the agent has its boot spec and answers, once more
			 after LE_MUTE as well */
	LE_NEED_SPEC = 3, /* a new warden has none: ATTACH it again */
	LE_EXITED = 4, /* see reason; held as LV_GONE until released: the
			  keeper keeps the status that long */
	LE_RUNG = 5, /* the stop ladder moved to `rung` */
	LE_WARDEN = 6, /* a new warden serves (and was verified) */
	LE_MUTE = 7, /* it was ready, and does not answer now: see detail */
};
struct launch_event {
	uint64_t vm;
	uint32_t kind; /* enum launch_event_kind */
	uint32_t pid;
	uint32_t reason; /* LE_EXITED: enum exit_reason */
	int32_t status; /* LE_EXITED: wait status of the hypervisor */
	uint32_t rung; /* LE_RUNG, EXIT_STOPPED */
	uint8_t accel;
	uint8_t backend; /* enum machine_backend; 0: not known */
	uint16_t vcpus; /* of its machine, likewise */
	struct launch_confined confined; /* LE_RUNNING, LE_WARDEN */
	char detail[128]; /* for a person; control characters escaped */
	uint32_t mem_mib; /* of its machine; 0: not known */
	uint32_t pad;
};
_Static_assert(sizeof(struct launch_event) == 184, "wire layout");

struct launch_caps {
	uint8_t accel; /* enum machine_accel: what the probe found */
	uint8_t cgroup; /* 1: cgroup v2 with memory, pids, cpu is used */
	uint8_t vsock; /* 1: VMs get an AF_VSOCK device */
	uint8_t doubt; /* 1: accel is for now, the probe had no answer: it is
			  made again, and what is found then said again */
	uint8_t unstaged; /* 1: there is no staged tree that can be used: VMs
			     that run are served, none can be started */
	uint8_t microvm; /* 1: it has BACKEND_QEMU_MICROVM */
	uint8_t pad[2];
	char why[112]; /* why no cgroup, for doctor: "no controllers", ... */
	char vsock_why[64]; /* why no AF_VSOCK */
};

struct launch_count {
	uint32_t n;
	uint32_t pad;
};

struct launch_err {
	uint64_t vm;
	int32_t code; /* negative errno */
	uint32_t pad;
	char msg[192];
};

/* Checks for both sides' handler tables: enums, padding, NUL, flags. */
int launch_vm_check(const void *p);
int launch_attach_check(const void *p);
int launch_start_check(const void *p);
int launch_stop_check(const void *p);
int launch_stream_check(const void *p);
int launch_log_check(const void *p);
/* A kind of stream that is a log. */
bool launch_is_log(uint32_t kind);
/* With KVM, VMs that it can make run on BACKEND_QEMU_MICROVM: it is staged, and
 * none gets an AF_VSOCK, which it lacks. */
bool launch_has_microvm(const struct launch_caps *caps);
int launch_held_check(const void *p);
int launch_event_check(const void *p);
int launch_caps_check(const void *p);
int launch_err_check(const void *p);

/* AF_VSOCK: where /dev/vhost-vsock can be opened, or nowhere. */
enum vsock_mode { VSOCK_AUTO = 0, VSOCK_OFF = 1 };

/* Boot config of launchd and of the spawner, to each from mewsd: host policy
 * of the launcher (I2). */
struct launchd_conf {
	uint32_t uid_base; /* first uid for VMs; a VM has uid_base + slot */
	uint32_t uid_count;
	uint32_t max_vcpus; /* per VM */
	uint32_t max_mem_mib; /* per VM */
	uint32_t max_vms;
	uint32_t cgroup; /* 0 auto, 1 require, 2 off */
	uint32_t accel; /* 0 probe, else enum machine_accel */
	uint32_t vsock; /* enum vsock_mode */
	uint32_t cid_base; /* a VM's AF_VSOCK address is cid_base + slot */
	uint32_t uid; /* launchd itself: who may connect to what jails serve */
	uint32_t gid;
	char state[160]; /* DIR/lib/vm: per-VM directories */
	char run[160]; /* DIR/run/vm: records and sockets */
	char stage[160]; /* staged tree that jails bind read-only */
	char log[160]; /* DIR/log/vm: what VMs said, launchd's own */
	char cgroup_path[160]; /* group for the VMs' groups; "": our own */
};

#endif
