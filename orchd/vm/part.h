#ifndef MEWS_PART_H
#define MEWS_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "common/tree.h"
#include "orchd/object/gate.h"
#include "orchd/store.h"
#include "proto/machine.h"

/*
 * A VM is its parts: what helpers hold for it, a tap and a jail so far.  Each
 * has a state of its own, at most one question under way, the deadline of
 * that, and its failures.  What is particular to a kind is its row, which
 * stands in the file of the helper that holds it (link_net.c,
 * link_launch.c); vm_kind.c has their order.
 */
struct event;
struct orchd;
struct part;
struct vm;

enum part_state {
	PART_NONE, /* its helper holds nothing of it */
	PART_READY, /* held, and what came with it is here for the jail */
	PART_USED, /* held, and of the present run */
	PART_STALE /* held, and of no use any more: released next */
};

enum part_ask {
	ASK_NONE,
	ASK_MAKE,
	ASK_ADOPT, /* what is held is to be made good */
	ASK_STOP,
	ASK_RELEASE,
	ASKS
};
#define ASKED(what) (1U << (what))

struct part_kind {
	const char *name; /* for the log: "tap" */
	unsigned int link; /* enum link_id: who holds it */
	enum gate_id gate; /* where its questions take turns */
	/* What it is in the VM's machine (proto/machine.h), and the number
	 * there; 0: nothing.  The jail gets its descriptor in that role. */
	enum dev_kind dev;
	uint64_t (*num)(const struct part *);
	/* The part that the VM lives in: without it, it has ended.  It is
	 * made last, and what others hold for it is stale without it. */
	bool is_life;
	int gone; /* RELEASE refused so: what is held is not ours any more */
	/*
	 * By enum part_ask: sends that question.  0, -EPIPE or -ENOBUFS when
	 * the helper is not there to read it, or why it cannot be asked.
	 * NULL: not a question for this kind.
	 */
	int (*send[ASKS])(struct part *, uint64_t id);
	/* Nothing of it is held any more; may be NULL. */
	void (*forget)(struct part *);
};

struct part {
	const struct part_kind *kind;
	struct vm *vm;
	uint32_t index; /* among its kind */
	enum part_state state;
	bool listed; /* the present life of its helper knows it */
	bool adopt; /* it is to be made good */
	bool stopping; /* its helper knows that it shall stop */
	int fd; /* what came with it, till the jail has it; -1 */
	enum part_ask ask;
	uint64_t ask_id; /* 0: no question is under way */
	RB_ENTRY(part) by_ask; /* while ask_id is set */
	struct seat seat; /* of the question: its place, or it waits for one */
	struct event *timer; /* deadline of ask, or the pause after one */
	unsigned int failures; /* refusals in a row */
	int fault; /* why it could not be made; 0: nothing to tell */
	char why[STORE_DETAIL_MAX]; /* of fault, for people */
};
RB_HEAD(part_tree, part); /* of parts of VMs: no more than there are */

void part_init(struct part *p, const struct part_kind *kind, struct vm *vm,
    uint32_t index);
/* Its question is withdrawn and what it holds here let go of. */
void part_clear(struct part *p);
/* A question is under way, or it pauses after one that failed. */
bool part_busy(const struct part *p);
/* Where its VM stands at that gate: in its tenant's line, or the host's. */
struct line *part_line(const struct part *p, enum gate_id gate);
/* Asks its helper, not while it is busy; where it has to wait for its turn its
 * VM is woken when that comes, and asks again if it is still for it. */
void part_ask(struct part *p, enum part_ask what);
/* The answer came: r is 0 or a negative errno, why is for people. */
void part_answered(struct part *p, int r, const char *why);
/* Whose question this is, or NULL. */
struct part *part_by_ask(struct orchd *o, uint64_t id);
/* Its helper is gone: what was asked is asked again of the next, whose list
 * says what came of it. */
void part_lost(struct part *p);
/* Its helper has told all that it holds; what it did not name is not there. */
void part_listed(struct part *p);

#endif
