#ifndef MEWS_WRITE_H
#define MEWS_WRITE_H

#include "orchd/object/object.h"

/*
 * Keys of one object that are not on the disk: twice as many as may wait for
 * it.  Who hangs up waits no more, but his key does, as long as the store takes
 * nothing.
 */
#define WRITE_KEYS_MAX 128
/* Of what is to be in the audit trail likewise. */
#define WRITE_AUDITS_MAX 128

/*
 * The one owner of what is not on the disk yet.  Handlers and steps change an
 * object's row and say so here; the turn sends it, one transaction of an
 * object at a time, and takes the store's answer back.  What a person asked
 * and could not be kept is undone, as if it had never been asked, unless more
 * has been asked meanwhile; what happened by itself is written later, with
 * its events and keys.
 */

/* The row was, or is about to be, changed by what happened. */
void write_fact(struct object *obj);
/* The same, of what no other change of a row touches: it is written anew. */
void write_anew(struct object *obj);
/* An event that goes with the change. */
void write_note(
    struct object *obj, uint8_t type, uint32_t status, const char *why);
/* A row of the trail that goes with the change.  Takes n; NULL is fine. */
void write_audit(struct object *obj, struct audit_note *n);
/*
 * What follows takes the request that is asking (orchd.audit) into the trail,
 * once.
 *
 * Before the row is changed as a person asked: the key (one without text is
 * none) goes with it, and if it fails who waits for one of asked (bits of
 * waiter.what) is told.  -ENOMEM, -EBUSY (WRITE_KEYS_MAX,
 * WRITE_AUDITS_MAX, IDEM_SPARE): nothing was noted.
 */
int write_ask(struct object *obj, uint32_t asked, const struct idem_row *key);
/* Nothing was to be done for this key, and a retry of it shall not do it
 * later either.  -ENOMEM, -EBUSY. */
int write_key(struct object *obj, const struct idem_row *key);
/* The first write of obj; asked and key as in write_ask(). */
int write_new(struct object *obj, uint32_t asked, const struct idem_row *key);
/* The row goes.  If that fails who waits for one of asked is told, and it is
 * tried again. */
void write_del(struct object *obj, uint32_t asked);

/*
 * While a kind saves its object (save, event): the write has only what a person
 * asked for by some of asked; an event of that type comes behind n in it.
 */
bool write_asks_only(const struct object *obj, uint32_t asked);
bool write_follows(
    const struct object *obj, const struct note *n, uint8_t type);

/* From the turn: takes the store's answer, if it has come. */
void write_settle(struct object *obj);
/* From the turn: sends what there is, unless something is under way. */
void write_send(struct object *obj);
/* A write failed and waits to be tried again. */
bool write_owed(const struct object *obj);
void write_clear(struct object *obj);
/* As if nothing had ever been to be written; none of it is with the store. */
void write_forget(struct object *obj);

#endif
