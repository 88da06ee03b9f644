#ifndef MEWS_VM_H
#define MEWS_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/tree.h"
#include "orchd/store.h"
#include "proto/launch.h"
#include "proto/objects.h"

struct conn;
struct event;
struct orchd;

/* enum vm_status without what no VM is in; the store has these numbers. */
enum vm_state {
	VM_PENDING = VM_STATUS_PENDING, /* committed; its tap is being made */
	VM_STARTING = VM_STATUS_STARTING, /* jail and hypervisor are made */
	VM_RUNNING = VM_STATUS_RUNNING, /* verified and running */
	VM_STOPPING = VM_STATUS_STOPPING, /* on the stop ladder */
	VM_STOPPED = VM_STATUS_STOPPED,
	VM_CRASHED = VM_STATUS_CRASHED,
	VM_DELETING = VM_STATUS_DELETING,
	VM_STATES = VM_STATUS_COUNT
};

enum vm_desired { WANT_STOPPED = 0, WANT_RUNNING = 1, WANT_GONE = 2 };

enum vm_event {
	EV_START, /* a user wants it to run */
	EV_STOP,
	EV_DELETE,
	EV_NET_READY, /* its tap is there */
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
int vm_next(enum vm_state s, enum vm_event ev);
const char *vm_state_name(uint32_t s);
const char *vm_event_name(uint32_t ev);

/* What the helpers were last seen to hold. */
enum hv_state {
	HV_NONE, /* launchd knows nothing of it */
	HV_ASKED, /* START was sent */
	HV_ALIVE, /* starting, running, stopping: launchd will tell its end */
	HV_GONE, /* ended; LAUNCH_RELEASE forgets it */
};
enum tap_state { TAP_NONE, TAP_OPENING, TAP_HELD };

/* Helper requests of one VM under way: at most one at a time. */
enum vm_ask {
	ASK_NONE,
	ASK_TAP,
	ASK_ADOPT,
	ASK_TAP_CLOSE,
	ASK_START,
	ASK_STOP,
	ASK_RELEASE
};

/* Someone waits for a VM to get somewhere; freed when answered. */
enum wait_for {
	FOR_RUNNING,
	FOR_STOPPED,
	FOR_GONE,
	/* retries under a key that was used: how it is now, once settled */
	FOR_RUNNING_AGAIN,
	FOR_STOPPED_AGAIN
};
struct waiter {
	TAILQ_ENTRY(waiter) entry;
	uint64_t conn;
	uint64_t id; /* the request's message id */
	enum wait_for what;
	unsigned int status; /* HTTP status when it comes */
	struct vm *vm;
	struct event *deadline;
};
/* Requests that may wait on one VM; more are told to come again. */
#define VM_WAITERS_MAX 64

struct vm {
	RB_ENTRY(vm) by_uid;
	RB_ENTRY(vm) by_name;
	RB_ENTRY(vm) by_ask; /* while ask_id is set */
	TAILQ_ENTRY(vm) entry; /* in order of tenant and id */
	struct vm_row row; /* what the store has, or is about to; no request */
	struct vm_create spec; /* the request, as checked */
	bool committed; /* its first row is on the disk */
	bool ready;
	bool dirty; /* a write failed and is tried again */
	const char *lost; /* type of the event that write had; NULL */
	unsigned int writes; /* under way: nothing is asked or answered */
	uint32_t pid;
	uint8_t accel;
	struct launch_confined conf;
	enum hv_state hv;
	enum tap_state tap;
	int tap_fd; /* between netd and launchd; -1 */
	enum vm_ask ask;
	uint64_t ask_id;
	bool stop_sent;
	bool adopt; /* its tap's rules are to be made good */
	bool retried; /* the boot watchdog had its one retry */
	unsigned int failures; /* helper refusals in a row */
	struct event *timer; /* deadline of ask, or the pause after one */
	struct event *life; /* deadline of starting and stopping */
	struct orchd *orchd;
	TAILQ_HEAD(waiters, waiter) waiters;
	unsigned int nwaiters;
};

/* NULL when out of memory.  Not yet in any tree. */
struct vm *vm_new(struct orchd *o);
/* Takes it out of the trees; NULL is fine. */
void vm_free(struct vm *vm);
/* Enters it under its uid and name.  -EEXIST. */
int vm_add(struct vm *vm);

struct vm *vm_by_uid(struct orchd *o, uint64_t uid);
/* By exact name. */
struct vm *vm_by_name(struct orchd *o, int64_t tenant, const char *name);
/* By name, else by a prefix of the uid of at least VM_PREFIX_MIN digits.
 * -ENOENT, or -EEXIST when a prefix fits several. */
#define VM_PREFIX_MIN 4
int vm_find(struct orchd *o, int64_t tenant, const char *name, struct vm **ret);

/*
 * The only writer of a VM's state: looks the event up, stores state and
 * event together, and goes on once that is on the disk.  why is for people.
 * -EPERM where the table refuses.  No VM is changed twice at once: nothing
 * is asked of helpers and nobody is answered while a write is under way.
 */
int vm_step(struct vm *vm, enum vm_event ev, const char *why);
/*
 * The same for what a person asked: desired state and key (NULL: none) are in
 * the same commit.  If that fails, all is as before and those who wait for it
 * (what) are told.  -EPERM, -ENOMEM: nothing was changed.
 */
int vm_request(struct vm *vm, enum vm_event ev, const char *why,
    enum vm_desired want, enum wait_for what, struct idem_row *key);
/* Nothing was to be done for this key, and a retry of it shall not do it
 * later either: those who wait are answered when that is on the disk. */
int vm_remember(struct vm *vm, struct idem_row *key);
/* Writes the row as it is; for what changes without a step. */
void vm_save(struct vm *vm);

/* orchd/converge.c: asks helpers for the next thing that is missing. */
void vm_converge(struct vm *vm);
/* An answer to what was asked came: r is 0 or a negative errno. */
void vm_asked(struct vm *vm, int r, const char *why);
/* A question of its own id; it has none under way. */
void vm_ask_set(struct vm *vm, enum vm_ask what);
/* Its question is answered, lost or withdrawn. */
void vm_ask_clear(struct vm *vm);
/* The VM that asked under this id, or NULL. */
struct vm *vm_by_ask(struct orchd *o, uint64_t id);
/* A helper is gone: what was asked of it is asked again later. */
void vm_ask_lost(struct vm *vm, bool net);

/* orchd/wait.c */
/* c's request under way is answered when what comes. */
int vm_wait(
    struct vm *vm, struct conn *c, enum wait_for what, unsigned int status);
/* Tells all who wait for what that it will not be. */
void vm_wait_fail(
    struct vm *vm, enum wait_for what, unsigned int status, const char *why);
/* Answers who waits for what has come, or cannot come any more. */
void vm_wake(struct vm *vm);
/* The connection is gone: nobody waits any more. */
void vm_wait_drop(struct vm *vm, uint64_t conn);
/* Nobody waits any more; nobody is told. */
void vm_wait_end(struct vm *vm);
/* The VM is gone for good: answers its waiters and frees it. */
void vm_gone(struct vm *vm);

/* The VM object of the API; strings are copied. */
void vm_object(const struct vm *vm, struct vm_view *ret);

#endif
