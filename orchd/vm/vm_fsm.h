#ifndef MEWS_VM_FSM_H
#define MEWS_VM_FSM_H

#include <stdint.h>

#include "proto/objects.h"

/* enum vm_status without what no VM is in; the store has these numbers. */
enum vm_state {
	VM_PENDING =
	    VM_STATUS_PENDING, /* committed; its parts are being made */
	VM_STARTING = VM_STATUS_STARTING, /* jail and hypervisor are made */
	VM_RUNNING = VM_STATUS_RUNNING, /* verified and running */
	VM_STOPPING = VM_STATUS_STOPPING, /* on the stop ladder */
	VM_STOPPED = VM_STATUS_STOPPED,
	VM_CRASHED = VM_STATUS_CRASHED,
	VM_DELETING = VM_STATUS_DELETING,
	/* its row cannot be, or not beside what helpers hold: kept as it is,
	 * never stored, and all that can be done with it is to delete it */
	VM_BROKEN = VM_STATUS_BROKEN,
	/* helpers hold it and no row knows it (orphan.h): never stored, and in
	 * no list of VMs, so the API has no such status */
	VM_ORPHAN = VM_STATUS_COUNT,
	VM_STATES
};

enum vm_event {
	EV_START, /* a user wants it to run */
	EV_STOP,
	EV_DELETE,
	EV_NET_READY, /* all that the jail needs is there */
	EV_RUNNING, /* launchd: verified and running */
	EV_READY, /* launchd: the agent has its spec */
	EV_ENDED, /* launchd: it ended as wished or by itself, cleanly */
	EV_DIED, /* launchd: it ended otherwise */
	EV_FAILED, /* a helper cannot do it */
	EV_RETRY, /* emulation never came up: once more from the start */
	EV_EVENTS
};

/* Where a table cell is empty: VM_STATUS_NONE is no VM's state. */
#define VM_REFUSED 0
/* The next state, or VM_REFUSED. */
int vm_fsm_next(enum vm_state s, enum vm_event ev);
/* Words for log and API; "?" past the end. */
const char *vm_fsm_state(uint32_t s);
const char *vm_fsm_event(uint32_t ev);

#endif
