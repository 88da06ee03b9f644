#ifndef MEWS_LAUNCHD_VM_H
#define MEWS_LAUNCHD_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/bucket.h"
#include "launchd/fsm.h"
#include "launchd/link.h"
#include "proto/keep.h"
#include "proto/launch.h"
#include "proto/machine.h"
#include "proto/ward.h"

struct dial;
struct event;
struct jaillog;
struct launchd;
struct spawn_held;
struct waiting;

#define VM_RELEASES_MAX 4 /* requests that may wait for one release */
#define VM_DETAIL 128

/* The accelerator probe's, which is nobody's. */
#define PROBE_VM UINT64_MAX

/* When a start came how far, for the log. */
enum { T_START, T_PREPARED, T_KEEPER, T_VERIFY, T_VERIFIED, T_N };

/*
 * What is wanted of a VM and what is known of it.  Handlers write it down here
 * and wake the VM; what follows from it, life.c does once, at the end of the
 * turn.
 */
struct vm {
	TAILQ_ENTRY(vm) entry;
	TAILQ_ENTRY(vm) by_wake; /* while is_woken */
	TAILQ_ENTRY(vm) by_told; /* while is_told */
	bool is_woken;
	bool is_told;
	uint32_t list; /* the last list (launchd.list.n) that it was in */
	struct launchd *ld;
	uint64_t vmid;
	char name[17];
	enum vm_state state;

	/* wanted */
	struct machine machine; /* then what its keeper runs */
	bool wants_start;
	bool wants_stop; /* a STOP was not looked at yet */
	bool wants_kill;
	bool wants_release;
	uint32_t stop_from; /* the rung that STOP begins with */
	uint32_t rung_ms[STOP_RUNGS];
	uint32_t grace_ms; /* what its guest is told of that; 0: nothing */
	uint64_t releases[VM_RELEASES_MAX]; /* RELEASE requests */
	unsigned int nreleases;
	struct machine_fds fds; /* for its keeper */
	int boot_spec; /* -1: none, or given away */
	bool gives_spec; /* its warden gets it as soon as it can */

	/* what it is */
	uint8_t accel;
	bool is_probe;
	bool is_spun; /* the probe: its kernel used its time up */
	bool is_halted; /* the probe: KVM gave its processor up */
	bool is_broken; /* its record cannot be read */
	bool is_adopted; /* it lived before we did: no deadline of a start
			    is its any more */
	uint16_t slot;
	uint32_t uid; /* from the spawner's record */
	uint32_t cid; /* likewise: its AF_VSOCK address, 0 for none */

	/* seen */
	bool is_prepared; /* the spawner gave us its keeper */
	bool is_kept; /* its keeper knows what to run */
	bool is_run; /* its warden was told to run it */
	bool has_run; /* and said that it runs */
	bool has_ended; /* its keeper says so of the hypervisor */
	bool is_dead; /* its keeper died, or never was */
	bool is_counted; /* VM_ENDED: the spawner's answer is there */
	bool had_last_word; /* VM_ENDED: nobody is waited for any more */
	bool is_due; /* the state's deadline has come */
	bool is_doubted; /* ready: it is not now, and has a while to be again */
	bool is_mute; /* that is over */
	bool ward_silent; /* its warden has not said anything in time */
	pid_t pid; /* keeper; 0: dead */
	pid_t vmm_pid;
	int pidfd;
	struct event *death; /* pidfd */
	struct event *timer; /* the state's deadline */
	struct keep_state2 keep_state;
	struct ward_state ward_state;
	struct launch_confined confined;
	uint32_t oom_kills;

	/* what it says */
	struct jaillog *log; /* NULL: it has no jail yet, or */
	bool logs_itself; /* its jail is an earlier suite's, with files */
	bool is_forgotten; /* what is kept of it goes with it */

	/* the spawner: one question at a time */
	/* the spawner: one question at a time, so many a second */
	struct bucket verbs;
	bool spawn_waits; /* spawn_verb was not sent yet */
	bool spawn_due; /* it may be */
	struct event *spawn_timer;
	uint64_t spawn_id; /* the answer awaited; 0 none */
	uint32_t spawn_verb; /* what was asked last */
	bool spawn_said; /* its answer is not looked at yet */
	int spawn_code; /* 0, or why not: a negative errno */
	char spawn_why[sizeof(((struct launch_err *)NULL)->msg)];
	unsigned int tries; /* to have it cleared away */

	/* keeper and warden */
	struct link keep;
	struct link ward;
	bool spec_sent; /* to this warden */
	bool spec_asked; /* orchd for it */
	bool has_orphans; /* its warden may have streams of an orchd that is no
			     more, and has not heard of that */
	long long verify_ms; /* how long the next try to read it back waits */
	struct {
		unsigned int fds; /* descriptors that its warden has not read */
		long long read_ms; /* when it read any, or had none */
	} budget; /* budget.h */
	STAILQ_HEAD(waiting_streams, waiting) streams; /* streams.h */
	unsigned int nstreams;
	struct event *streams_timer;
	LIST_HEAD(dials, dial) dials;
	unsigned int ndials;
	/* of answers that its warden may not have read, the oldest first */
	uint32_t dial_cookies[WARD_DIALS_MAX];
	unsigned int nunread;

	/* told */
	uint32_t news; /* bit per enum launch_event_kind */
	bool is_cleared; /* nothing is left of it: who waits hears spawn_code */
	bool is_refused; /* it was not, yet: likewise */
	uint32_t rung; /* of the stop ladder; UINT32_MAX: not on it */
	long long rung_at_ms; /* when it was entered, of clock_ms() */
	long long rung_by_ms; /* when its time is over, likewise */
	uint32_t reason; /* enum exit_reason */
	int32_t status;
	char detail[VM_DETAIL];
	long long started_ms;
	long long ready_by_ms;
	long long at_us[T_N];
};

/* NULL: too many, or no memory.  It is ld's until vm_free. */
struct vm *vm_new(struct launchd *ld, uint64_t vmid);
/* At the end of a turn only: callbacks of it may be on the stack before.
 * Its dials are over. */
void vm_free(struct vm *v);
struct vm *vm_find(const struct launchd *ld, uint64_t vmid);
/* At most a descriptor was brought for it: nothing was asked. */
bool vm_is_idle(const struct vm *v);
/* Without a warden that answers it does not go on. */
bool vm_wants_warden(const struct vm *v);
/* Its guest ran, or may have: that a process of its jail is late, gone or
 * stopped is no reason to end it. */
bool vm_may_run(const struct vm *v);
/* Its agent has its spec and answers, by what its warden said lately. */
bool vm_answers(const struct vm *v);
enum launch_state vm_public_state(const struct vm *v);

/* What is known of it changed: it is looked at once, at the turn's end. */
void vm_wake(struct vm *v);
/* The same for launchd itself. */
void vm_turn(struct launchd *ld);
/* The event that leads it on by what is known; EV_EVENTS: none does. */
enum vm_event vm_due(const struct vm *v);
/* The only writer of state.  -EPROTO: not in this state. */
int vm_step(struct vm *v, enum vm_event ev);
/* The state's deadline is ms from now; -1: it has none. */
void vm_arm(struct vm *v, long long ms);

/* The spawner's descriptor of its keeper, which is v's from now on.
 * -ENOMEM. */
int vm_hold(struct vm *v, const struct spawn_held *h, int pidfd);
/* Ends it by SIGKILL to its namespace; the first reason given stays. */
void vm_end(struct vm *v, uint32_t reason, const char *detail);
/* orchd is to hear of this, and of what else came up, after the turn. */
void vm_tell(struct vm *v, enum launch_event_kind kind);
/* Who waits for its release gets an answer, after the turn. */
void vm_answer(struct vm *v);

#endif
