#ifndef MEWS_OBJECT_H
#define MEWS_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/share.h"
#include "orchd/store.h"

/*
 * What every object of the API that lives in the store has in common: it is
 * woken when something about it changed, people wait for it, and what of it
 * is not on the disk yet is kept in one place.  What is particular to a kind
 * is its row of functions, all called from the turn (turn.c).
 */
struct audit_note;
struct event;
struct object;
struct orchd;
struct tenant;
struct waiter;

/* An event of the API that goes to the disk with the row it tells of. */
struct note {
	uint8_t type; /* enum event_type */
	uint8_t status; /* of the object at that moment */
	const char *why; /* for people, a literal; NULL: as the row says */
};

enum write_op { WRITE_SET, WRITE_NEW, WRITE_DEL };

struct object_kind {
	const char *name; /* for people: "vm" */
	size_t row, rowlen; /* where in the object its row is */
	const char *(*title)(const struct object *); /* its name */
	/* Puts the row into t.  0 or a negative errno. */
	int (*save)(struct txn *t, const struct object *, enum write_op op);
	/* Adds an event to t; its number is taken at once and returned. */
	uint64_t (*event)(
	    struct txn *t, const struct object *, const struct note *);
	/* Wanted against observed: asks for what is missing, or steps.  Only
	 * when all that is known is on the disk. */
	void (*converge)(struct object *);
	/* Gives out what has become free to those who wait for that, whatever
	 * is on the disk.  NULL: there is nothing of the kind. */
	void (*serve)(struct object *);
	/* How long a waiter waits, and whether what it waits for has come or
	 * cannot come any more; only asked when that is on the disk. */
	uint64_t (*patience_ms)(const struct object *, uint32_t what);
	bool (*due)(const struct object *, const struct waiter *);
	void (*answer)(struct object *, const struct waiter *);
	void (*late)(struct object *, const struct waiter *);
	/* What it waits for will not be: r is why the store failed. */
	void (*undone)(struct object *, const struct waiter *, int r);
	/* NULL, or: what was asked (bits of waiter.what) is on the disk; it
	 * will not be, and was is the row that comes back, NULL if none does.
	 */
	void (*kept)(struct object *, uint32_t asked);
	void (*dropped)(struct object *, uint32_t asked, void *was);
	void (*free)(struct object *);
};

/* A key that is written with the change it was used for. */
struct used_key {
	struct used_key *next;
	struct idem_row row;
	bool asked; /* of a change that may be undone, and it with it */
	bool has_old; /* a key that made room for it, gone when it is kept: */
	struct idem_row old;
};

#define WRITE_NOTES_MAX 8
/* Changes of one object that are, or become, one transaction (write.h). */
struct write {
	bool dirty; /* there is something to write */
	bool facts; /* something that happened: written later if not now */
	enum write_op op;
	struct note note[WRITE_NOTES_MAX]; /* past it the oldest is lost */
	unsigned int nnotes;
	struct used_key *keys;
	struct audit_note *audits; /* rows of the trail that go with it */
	/* of a person: what a failure undoes, and who is told */
	uint32_t asked; /* bits of waiter.what; 0: nobody asked */
	unsigned int notes_was;
	void *was; /* the row before */
};

TAILQ_HEAD(waiters, waiter);
TAILQ_HEAD(object_list, object);
enum object_life {
	OBJECT_NEW, /* its first row is not on the disk */
	OBJECT_STORED,
	OBJECT_GONE, /* its row is off the disk */
	OBJECT_NEVER /* its first row could not be written */
};

struct object {
	const struct object_kind *kind;
	struct orchd *orchd;
	uint64_t key; /* among its kind; a VM's vmid */
	struct tenant *tenant; /* whose it is */
	enum object_life life;
	bool woken;
	TAILQ_ENTRY(object) woke;
	struct waiters waiters;
	struct share waits; /* of WAIT_MAX waiters */
	/* write.c's alone: */
	struct write open; /* collects what is to be written next */
	struct write sent; /* with the store while writing is set */
	bool writing;
	bool written; /* and the store has answered: */
	int result;
	uint64_t last_seq; /* of the events in sent */
	struct event *again; /* the pause after a failed write */
};

/* All objects, as the turn sees them. */
struct objects {
	struct object_list woken; /* each at most once */
	struct event *turn; /* active while there is one that is woken */
	bool told; /* events were written: their readers are woken */
	unsigned int shown; /* VMs in the process's title */
};

void object_init(
    struct object *obj, const struct object_kind *kind, struct orchd *o);
/* Out of the list of those that are woken. */
void object_clear(struct object *obj);
/* Something was heard of it, or is wanted: the turn looks at it. */
void object_wake(struct object *obj);
/* All that is known of it is on the disk: helpers may be asked, people
 * answered (I8). */
bool object_settled(const struct object *obj);

#endif
