#ifndef MEWS_VM_H
#define MEWS_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/bucket.h"
#include "common/tree.h"
#include "orchd/object/gate.h"
#include "orchd/object/object.h"
#include "orchd/store.h"
#include "orchd/vm/orphan.h"
#include "orchd/vm/part.h"
#include "orchd/vm/queue.h"
#include "orchd/vm/temporary.h"
#include "orchd/vm/vm_fsm.h"
#include "proto/launch.h"
#include "proto/objects.h"

struct event;

/* What requests wait for (waiter.what). */
enum wait_for {
	FOR_RUNNING,
	FOR_STOPPED,
	FOR_GONE,
	/* retries under a key that was used: how it is now, once settled */
	FOR_RUNNING_AGAIN,
	FOR_STOPPED_AGAIN,
	FOR_RENAMED, /* its rename is on the disk */
	FOR_RENAMED_AGAIN,
	FOR_ADOPTED /* the row of one that had none is */
};

/* What launchd has told of the run that the jail holds (link_launch.c). */
struct run {
	bool ran; /* verified and running, at some moment */
	bool ready;
	bool was_ready; /* at some moment: news also of a run that is over */
	bool need_spec; /* its agent asks for the boot spec once more */
	bool found; /* listed: its start, not asked for now, may be half made */
	bool traceless; /* listed, and there is its folder alone */
	bool unknown; /* launchd found it again and has not heard of it yet */
	uint8_t fault; /* enum launch_fault: why it will not */
	char mute[STORE_DETAIL_MAX]; /* why it is not ready any more; "" */
	uint8_t accel, backend; /* as launchd says */
	uint16_t vcpus; /* of its machine; 0: not known */
	uint32_t mem_mib; /* likewise */
	uint32_t pid; /* 0: none */
	struct launch_confined confined;
	struct {
		bool heard; /* and not yet in the row */
		bool late; /* of a start made before launchd's life, or ours */
		uint32_t reason; /* enum exit_reason */
		int32_t status;
		char detail[STORE_DETAIL_MAX];
	} end;
};

/* Of the stop that was asked last: how long the guest has, where that was
 * said.  In memory alone: a new orchd has it from launchd, or from whoever asks
 * once more, and goes by mews.conf till then. */
struct vm_grace {
	bool is_known; /* this orchd has heard whether it was */
	bool is_said;
	uint32_t ms;
};

/* A rename costs nobody but its caller next to nothing, and all others a line
 * of the log and an event that is kept: so many a second, and at once. */
#define RENAMES_PER_S 1
#define RENAMES_BURST 10

struct vm {
	struct object obj; /* first: an object is its VM */
	RB_ENTRY(vm) by_vmid;
	RB_ENTRY(vm) by_name;
	TAILQ_ENTRY(vm) entry; /* in order of tenant and id */
	struct vm_row row; /* what the store has, or is about to; its name is
			      the one on the disk, its request NULL */
	char rename[STORE_NAME_MAX]; /* about to be its name; "": none is */
	TAILQ_ENTRY(vm) renaming; /* among vms.renames, if one is */
	struct bucket renames; /* it may have */
	struct vm_create request; /* as checked */
	struct run run;
	/* VM_BROKEN: why, and the slot that helpers hold it at, if they do */
	struct {
		char why[STORE_DETAIL_MAX];
		bool has_slot;
		uint32_t slot;
	} broken;
	struct share streams; /* of VM_STREAMS_MAX, all but signals */
	struct share signals; /* of VM_SIGNALS_MAX */
	struct queue queue; /* for one of them */
	struct temporary temp;
	struct orphan orphan;
	bool retried; /* the boot watchdog had its one retry */
	struct vm_grace grace;
	struct event *deadline; /* of starting and stopping */
	struct seat seat; /* among the starts, till it is ready */
	unsigned int nparts;
	struct part part[]; /* in the order they are made */
};

RB_HEAD(vm_id_tree, vm);
RB_HEAD(vm_name_tree, vm);
TAILQ_HEAD(vm_list, vm);
/* max_vms; at a start, what the store has and helpers hold. */
struct vms {
	struct vm_id_tree by_vmid;
	struct vm_name_tree by_name;
	struct vm_list list;
	struct vm_list renames; /* whose new name is not on the disk yet */
	unsigned int n;
	unsigned int norphans; /* of n */
	struct vm *(*make)(struct orchd *o); /* vm_kind_new() */
};

/* A VM of these parts, in the order they are made.  NULL when out of memory.
 * Not yet in any tree. */
struct vm *vm_new(struct orchd *o, const struct object_kind *kind,
    const struct part_kind *const *parts, unsigned int nparts);
/* Whose part a stream of that kind is. */
struct share *vm_share(struct vm *vm, uint32_t kind);
/* Such a stream keeps a temporary VM. */
bool vm_is_held_by(uint32_t kind);
/* A stream of that kind to it has ended; NULL is fine. */
void vm_stream_end(struct vm *vm, struct share_who who, uint32_t kind);
/* That connection waits for none of its streams any more; NULL is fine. */
void vm_queue_drop(struct vm *vm, uint64_t conn);
/* Takes it out of the trees; NULL is fine. */
void vm_free(struct vm *vm);
/* The part that it lives in. */
struct part *vm_life(struct vm *vm);
const struct part *vm_life_const(const struct vm *vm);
/* Enters it as its row says.  -EEXIST. */
int vm_add(struct vm *vm);
/* Out of the trees and lists, and in again as its row says by then, last. */
void vm_leave(struct vm *vm);
void vm_enter(struct vm *vm);

/* It is no orphan any more. */
void vm_has_row(struct vm *vm);

/* Its row cannot be, or not beside what helpers hold: nobody touches it. */
void vm_break(struct vm *vm, const char *why);
/* A helper holds it at that slot: if its row has another it is broken. */
void vm_held_at(struct vm *vm, uint32_t slot);
/* Where its helpers know it. */
uint32_t vm_slot(const struct vm *vm);

/* What its guest and hypervisor may take to stop, all rungs together. */
uint64_t vm_stop_ms(const struct vm *vm);
/* And to go, which gives nobody's guest a time of its own. */
uint64_t vm_end_ms(const struct vm *vm);

struct vm *vm_by_vmid(struct orchd *o, uint64_t vmid);
/* By exact name. */
struct vm *vm_by_name(
    struct orchd *o, const struct tenant *t, const char *name);
/* No other VM can have it: it is one's name, or is about to be. */
bool vm_name_is_taken(
    struct orchd *o, const struct tenant *t, const char *name);
/*
 * A name that is not taken is kept for it; one at a time.  vm_rename_end: it is
 * its name from now on, or is free again.
 */
void vm_rename_begin(struct vm *vm, const char *name);
void vm_rename_end(struct vm *vm, bool is_kept);
/* By name, else by a prefix of the vmid of at least VM_PREFIX_MIN digits.
 * -ENOENT, or -EEXIST when a prefix fits several. */
#define VM_PREFIX_MIN 4
int vm_find(
    struct orchd *o, const struct tenant *t, const char *name, struct vm **ret);

#endif
