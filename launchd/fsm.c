#include "launchd/fsm.h"
#include "common/util.h"

/*
 * Rows are states, columns events.  An event is what is known of a VM, and
 * stays known: in an empty cell it changes nothing yet, or nothing any more.
 * All others lead to a later state, so that a turn comes to its end; but for
 * ready and mute, which are one fact and its opposite.
 */
static const uint8_t next[VM_STATES][EV_EVENTS] = {
	[VM_NEW] = { [EV_RELEASE] = VM_FREEING,
	    [EV_DEAD] = VM_GONE,
	    [EV_START] = VM_ACCEL,
	    [EV_BROKEN] = VM_BROKEN,
	    [EV_ADOPT] = VM_KEEPER },
	[VM_BROKEN] = { [EV_RELEASE] = VM_FREEING,
	    [EV_ENDED] = VM_ENDED,
	    [EV_DEAD] = VM_GONE,
	    [EV_KILL] = VM_KILLING },
	[VM_ACCEL] = { [EV_RELEASE] = VM_FREEING,
	    [EV_KILL] = VM_GONE,
	    [EV_ACCEL] = VM_PREPARE },
	/* all else waits for the spawner's answer, which brings the pidfd */
	[VM_PREPARE] = { [EV_DEAD] = VM_GONE, [EV_PREPARED] = VM_KEEPER },
	/* a stop of what never ran is a kill; of one that was found again, and
	 * has not said what it is, the ladder */
	[VM_KEEPER] = { [EV_RELEASE] = VM_FREEING,
	    [EV_ENDED] = VM_ENDED,
	    [EV_DEAD] = VM_GONE,
	    [EV_KILL] = VM_KILLING,
	    [EV_STOP] = VM_STOPPING,
	    [EV_KEPT] = VM_WARDEN },
	[VM_WARDEN] = { [EV_RELEASE] = VM_FREEING,
	    [EV_ENDED] = VM_ENDED,
	    [EV_DEAD] = VM_GONE,
	    [EV_KILL] = VM_KILLING,
	    [EV_STOP] = VM_STOPPING,
	    [EV_VERIFIED] = VM_VERIFIED },
	[VM_VERIFIED] = { [EV_RELEASE] = VM_FREEING,
	    [EV_ENDED] = VM_ENDED,
	    [EV_DEAD] = VM_GONE,
	    [EV_KILL] = VM_KILLING,
	    [EV_STOP] = VM_STOPPING,
	    [EV_RUN] = VM_RUNNING },
	[VM_RUNNING] = { [EV_RELEASE] = VM_FREEING,
	    [EV_ENDED] = VM_ENDED,
	    [EV_DEAD] = VM_GONE,
	    [EV_KILL] = VM_KILLING,
	    [EV_STOP] = VM_STOPPING,
	    [EV_READY] = VM_READY },
	[VM_READY] = { [EV_RELEASE] = VM_FREEING,
	    [EV_ENDED] = VM_ENDED,
	    [EV_DEAD] = VM_GONE,
	    [EV_KILL] = VM_KILLING,
	    [EV_STOP] = VM_STOPPING,
	    [EV_MUTE] = VM_MUTE },
	[VM_MUTE] = { [EV_RELEASE] = VM_FREEING,
	    [EV_ENDED] = VM_ENDED,
	    [EV_DEAD] = VM_GONE,
	    [EV_KILL] = VM_KILLING,
	    [EV_STOP] = VM_STOPPING,
	    [EV_READY] = VM_READY },
	[VM_STOPPING] = { [EV_RELEASE] = VM_FREEING,
	    [EV_ENDED] = VM_ENDED,
	    [EV_DEAD] = VM_GONE,
	    [EV_KILL] = VM_KILLING },
	[VM_KILLING] = { [EV_RELEASE] = VM_FREEING, [EV_DEAD] = VM_GONE },
	[VM_ENDED] = { [EV_RELEASE] = VM_FREEING, [EV_REASON] = VM_GONE },
	[VM_GONE] = { [EV_RELEASE] = VM_FREEING },
	[VM_FREEING] = { [EV_DEAD] = VM_CLEARING },
};

static const char *const states[VM_STATES] = {
	[VM_NEW] = "new",
	[VM_BROKEN] = "broken",
	[VM_ACCEL] = "accel",
	[VM_PREPARE] = "prepare",
	[VM_KEEPER] = "keeper",
	[VM_WARDEN] = "warden",
	[VM_VERIFIED] = "verified",
	[VM_RUNNING] = "running",
	[VM_READY] = "ready",
	[VM_MUTE] = "mute",
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
	[EV_BROKEN] = "broken",
	[EV_ADOPT] = "adopt",
	[EV_ACCEL] = "accel",
	[EV_PREPARED] = "prepared",
	[EV_KEPT] = "kept",
	[EV_VERIFIED] = "verified",
	[EV_RUN] = "run",
	[EV_READY] = "ready",
	[EV_MUTE] = "mute",
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
