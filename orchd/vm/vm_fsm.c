#include "orchd/vm/vm_fsm.h"
#include "common/util.h"

#define NO VM_REFUSED

/*
 * A VM's life.  Rows are states, columns events in the order of enum
 * vm_event; an empty cell is a refusal that the caller sees, and so is a
 * missing row.  Cells that lead back to their own state are facts that come
 * late or twice and change nothing.
 */
static const uint8_t next[VM_STATES][EV_EVENTS] = {
	/* START STOP DELETE NET_READY RUNNING READY ENDED DIED FAILED RETRY */
	[VM_PENDING] = { NO, VM_STOPPED, VM_DELETING, VM_STARTING, NO, NO,
	    VM_STOPPED, VM_CRASHED, VM_CRASHED, NO },
	[VM_STARTING] = { NO, VM_STOPPING, VM_DELETING, NO, VM_RUNNING, NO,
	    VM_STOPPED, VM_CRASHED, VM_CRASHED, VM_PENDING },
	[VM_RUNNING] = { NO, VM_STOPPING, VM_DELETING, NO, VM_RUNNING,
	    VM_RUNNING, VM_STOPPED, VM_CRASHED, VM_CRASHED, VM_PENDING },
	[VM_STOPPING] = { NO, VM_STOPPING, VM_DELETING, NO, VM_STOPPING,
	    VM_STOPPING, VM_STOPPED, VM_STOPPED, VM_STOPPED, NO },
	[VM_STOPPED] = { VM_PENDING, NO, VM_DELETING, NO, NO, NO, VM_STOPPED,
	    VM_STOPPED, VM_STOPPED, NO },
	[VM_CRASHED] = { VM_PENDING, VM_STOPPED, VM_DELETING, NO, NO, NO,
	    VM_CRASHED, VM_CRASHED, VM_CRASHED, NO },
	[VM_DELETING] = { NO, NO, VM_DELETING, NO, VM_DELETING, VM_DELETING,
	    VM_DELETING, VM_DELETING, VM_DELETING, NO },
	[VM_BROKEN] = { NO, NO, VM_DELETING, NO, NO, NO, NO, NO, NO, NO },
	[VM_ORPHAN] = { NO, NO, VM_DELETING, NO, NO, NO, VM_DELETING,
	    VM_DELETING, NO, NO },
};

static const char *const events[EV_EVENTS] = {
	[EV_START] = "start",
	[EV_STOP] = "stop",
	[EV_DELETE] = "delete",
	[EV_NET_READY] = "network ready",
	[EV_RUNNING] = "running",
	[EV_READY] = "ready",
	[EV_ENDED] = "ended",
	[EV_DIED] = "died",
	[EV_FAILED] = "failed",
	[EV_RETRY] = "retry",
};

int
vm_fsm_next(enum vm_state s, enum vm_event ev)
{
	if ((unsigned int)s >= VM_STATES || (unsigned int)ev >= EV_EVENTS)
		return VM_REFUSED;
	return next[s][ev];
}

const char *
vm_fsm_state(uint32_t s)
{
	if (s == VM_ORPHAN)
		return "orphan";
	return s < VM_STATES ? vm_status_names[s] : "?";
}

const char *
vm_fsm_event(uint32_t ev)
{
	return ev < nitems(events) ? events[ev] : "?";
}
