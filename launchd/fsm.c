#include "launchd/fsm.h"
#include "common/util.h"

#define NO VM_REFUSED

/*
 * Rows are states, columns events in the order of enum vm_event.  An event is
 * what is known of a VM, and stays known: in an empty cell it changes nothing
 * yet, or nothing any more.  All others lead to a later state, so that a turn
 * comes to its end.
 */
static const uint8_t next[VM_STATES][EV_EVENTS] = {
	/* RELEASE ENDED DEAD KILL STOP START ADOPT ACCEL PREPARED KEPT VERIFIED
	 * RUN READY REASON */
	[VM_NEW] = { VM_FREEING, NO, VM_GONE, NO, NO, VM_ACCEL, VM_KEEPER, NO,
	    NO, NO, NO, NO, NO, NO },
	[VM_ACCEL] = { VM_FREEING, NO, NO, VM_GONE, NO, NO, NO, VM_PREPARE, NO,
	    NO, NO, NO, NO, NO },
	/* all else waits for the spawner's answer, which brings the pidfd */
	[VM_PREPARE] = { NO, NO, VM_GONE, NO, NO, NO, NO, NO, VM_KEEPER, NO, NO,
	    NO, NO, NO },
	/* a stop of what never ran is a kill; of one that was found again, and
	 * has not said what it is, the ladder */
	[VM_KEEPER] = { VM_FREEING, VM_ENDED, VM_GONE, VM_KILLING, VM_STOPPING,
	    NO, NO, NO, NO, VM_WARDEN, NO, NO, NO, NO },
	[VM_WARDEN] = { VM_FREEING, VM_ENDED, VM_GONE, VM_KILLING, VM_STOPPING,
	    NO, NO, NO, NO, NO, VM_VERIFIED, NO, NO, NO },
	[VM_VERIFIED] = { VM_FREEING, VM_ENDED, VM_GONE, VM_KILLING,
	    VM_STOPPING, NO, NO, NO, NO, NO, NO, VM_RUNNING, NO, NO },
	[VM_RUNNING] = { VM_FREEING, VM_ENDED, VM_GONE, VM_KILLING, VM_STOPPING,
	    NO, NO, NO, NO, NO, NO, NO, VM_READY, NO },
	[VM_READY] = { VM_FREEING, VM_ENDED, VM_GONE, VM_KILLING, VM_STOPPING,
	    NO, NO, NO, NO, NO, NO, NO, NO, NO },
	[VM_STOPPING] = { VM_FREEING, VM_ENDED, VM_GONE, VM_KILLING, NO, NO, NO,
	    NO, NO, NO, NO, NO, NO, NO },
	[VM_KILLING] = { VM_FREEING, NO, VM_GONE, NO, NO, NO, NO, NO, NO, NO,
	    NO, NO, NO, NO },
	[VM_ENDED] = { VM_FREEING, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
	    NO, VM_GONE },
	[VM_GONE] = { VM_FREEING, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO,
	    NO, NO },
	[VM_FREEING] = { NO, NO, VM_CLEARING, NO, NO, NO, NO, NO, NO, NO, NO,
	    NO, NO, NO },
};

static const char *const states[VM_STATES] = {
	[VM_NEW] = "new",
	[VM_ACCEL] = "accel",
	[VM_PREPARE] = "prepare",
	[VM_KEEPER] = "keeper",
	[VM_WARDEN] = "warden",
	[VM_VERIFIED] = "verified",
	[VM_RUNNING] = "running",
	[VM_READY] = "ready",
	[VM_STOPPING] = "stopping",
	[VM_KILLING] = "killing",
	[VM_ENDED] = "ended",
	[VM_GONE] = "gone",
	[VM_FREEING] = "freeing",
	[VM_CLEARING] = "clearing",
};

static const char *const events[EV_EVENTS] = {
	[EV_RELEASE] = "release",
	[EV_ENDED] = "ended",
	[EV_DEAD] = "dead",
	[EV_KILL] = "kill",
	[EV_STOP] = "stop",
	[EV_START] = "start",
	[EV_ADOPT] = "adopt",
	[EV_ACCEL] = "accel",
	[EV_PREPARED] = "prepared",
	[EV_KEPT] = "kept",
	[EV_VERIFIED] = "verified",
	[EV_RUN] = "run",
	[EV_READY] = "ready",
	[EV_REASON] = "reason",
};

int
fsm_next(enum vm_state s, enum vm_event ev)
{
	if ((unsigned int)s >= VM_STATES || (unsigned int)ev >= EV_EVENTS)
		return VM_REFUSED;
	return next[s][ev];
}

const char *
fsm_state_name(uint32_t s)
{
	return s > 0 && s < nitems(states) ? states[s] : "?";
}

const char *
fsm_event_name(uint32_t ev)
{
	return ev < nitems(events) ? events[ev] : "?";
}
