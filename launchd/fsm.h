#ifndef MEWS_LAUNCHD_FSM_H
#define MEWS_LAUNCHD_FSM_H

#include <stdint.h>

/* A VM's life as launchd sees it, in the order in which it is lived: a VM goes
 * forward only, but between ready and mute. */
enum vm_state {
	VM_NEW = 1, /* heard of: nothing was done for it */
	VM_BROKEN, /* found alive, and its record cannot be read: all that can
		      be done is to end it */
	VM_ACCEL, /* waits for the accelerator probe */
	VM_PREPARE, /* the spawner makes its jail */
	VM_KEEPER, /* its keeper is being asked */
	VM_WARDEN, /* hypervisor and warden start; then read-back */
	VM_VERIFIED, /* read back; now it does what it was started for */
	VM_RUNNING, /* guest runs, agent not heard yet */
	VM_READY,
	VM_MUTE, /* it was ready, and does not answer now */
	VM_STOPPING, /* on the stop ladder */
	VM_KILLING, /* SIGKILL asked for; waits for the keeper's death */
	VM_ENDED, /* hypervisor or keeper ended; waits for the warden's last
		     word and for what its group counted */
	VM_GONE, /* ended and told; held until released */
	VM_FREEING, /* to be released: first its keeper ends */
	VM_CLEARING, /* dead: the spawner removes what is left, then nobody
			knows it any more */
	VM_STATES
};

/* What may be so.  Of several that lead on, the first does: who is to be
 * released is not killed first, and who is dead not either. */
enum vm_event {
	EV_RELEASE, /* orchd wants nothing of it to be left */
	EV_ENDED, /* the keeper says so of the hypervisor, or died unasked */
	EV_DEAD, /* the keeper died or never was */
	EV_KILL,
	EV_STOP,
	EV_START,
	EV_BROKEN, /* found alive, without a record */
	EV_ADOPT, /* found alive after a restart of ours */
	EV_ACCEL, /* the accelerator is known */
	EV_PREPARED, /* the spawner gave us its keeper */
	EV_KEPT, /* the keeper knows what to run */
	EV_VERIFIED, /* the spawner has read all of it back */
	EV_RUN, /* its guest was told to run */
	EV_READY, /* the agent has its boot spec and answers */
	EV_MUTE, /* it does not, or its warden does not */
	EV_REASON, /* all witnesses of its end were heard */
	EV_EVENTS
};

/* Where a table cell is empty: no VM is in this state. */
#define VM_REFUSED 0
/* The next state, or VM_REFUSED. */
int fsm_next(enum vm_state s, enum vm_event ev);
/* "?" for what is none. */
const char *fsm_state_name(uint32_t s);
const char *fsm_event_name(uint32_t ev);

#endif
