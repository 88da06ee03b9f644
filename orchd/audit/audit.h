#ifndef MEWS_AUDIT_H
#define MEWS_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "orchd/store.h"
#include "proto/objects.h"

struct event;
struct orchd;
struct right;
struct tenant;
struct txn;

/*
 * Who did what, or was not let (docs/operations.md).  A row of what changes
 * something is written by the same commit as the change: what cannot be
 * recorded is not done.  A row of what was refused, or came to nothing, is
 * written by a commit of its own that nobody waits for.
 */

/* A request under way, as the trail tells of it: its connection's. */
struct audit_ask {
	const struct right *right; /* NULL: nothing is under way */
	int64_t chain; /* its tenant's number, or AUDIT_HOST */
	char tenant[API_NAME_MAX]; /* whose things it is about; "" */
	char object[API_NAME_MAX]; /* as the path names it; "" */
	uint32_t user;
	int32_t pid;
	uint8_t role; /* enum tenant_role, in that tenant */
	bool is_noted; /* its row goes, or went, with what it changes */
	bool is_begun; /* a row says that it was allowed: what is left to say is
			  that it came to nothing */
};

/* A row that is not written yet. */
struct audit_note {
	struct audit_note *next;
	int64_t chain;
	int64_t at_ns;
	bool asked; /* of a change that may be undone, and it with it */
	struct audit_entry e;
};

/*
 * Rows of a chain that no change pays for: of what was refused, or failed, so
 * many a minute; of these and of what was let and changed nothing so many may
 * be on their way to the store.  How many more there were the next one says.
 */
#define AUDIT_FREE_A_MINUTE 6
#define AUDIT_WAITING_MAX 16
struct audit_pace {
	int64_t minute;
	unsigned int n;
	unsigned int waiting;
	uint64_t lost;
};

struct audit {
	struct audit_ask *asking; /* the request whose verb runs; NULL */
	struct audit_pace host; /* of the host's own chain */
	uint64_t host_told; /* its last row that went to the journal */
	struct event *tell; /* heads go to the system journal */
	int64_t told_to; /* the next ones are of chains behind this; -1 */
};

/* note.c: */
/* It is allowed, so far.  NULL: out of memory.  The caller's. */
struct audit_note *audit_note(const struct audit_ask *a);
/* The suite did it by itself, or could not. */
struct audit_note *audit_fact(const struct tenant *t, const char *action,
    enum audit_result result, const char *room, const char *why);
/* What it is about: uid 0 is none. */
void audit_about(struct audit_note *n, const char *object, uint64_t uid);
/* Adds it to t.  0 or a negative errno. */
int audit_put(struct orchd *o, struct txn *t, const struct audit_note *n);
/* Heads are told AUDIT_TELL_S from now. */
void audit_arm(struct orchd *o);
/* audit.c: */
/*
 * What is asked is recorded, by a commit of its own, before it begins: then
 * done is called, as in txn_new().  object: what it is about, NULL: as it was
 * asked. -ENOMEM, -EINVAL: it cannot be, and done is not called.
 */
int audit_record(struct orchd *o, struct audit_ask *a, const char *object,
    uint64_t uid, void (*done)(void *arg, int r), void *arg);
/* Its answer is known: what no commit has of it, and is worth a row, becomes
 * one.  why: of a refusal. */
void audit_answered(
    struct orchd *o, struct audit_ask *a, unsigned int status, const char *why);

/* Heads of chains that have grown go to mewsd every AUDIT_TELL_S, at most
 * AUDIT_TELL_MAX at once, and what is left when the room ends. */
#define AUDIT_TELL_S 60
#define AUDIT_TELL_MAX 64
void audit_begin(struct orchd *o);
void audit_end(struct orchd *o);

#endif
