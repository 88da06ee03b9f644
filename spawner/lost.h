#ifndef MEWS_SPAWNER_LOST_H
#define MEWS_SPAWNER_LOST_H

#include <stdint.h>

/*
 * A jail whose record cannot be read (half of it is there, it is not root's
 * alone, gone, another's) may live all the same.  Who it is then says the
 * kernel: root bound keeper.sock in the jail's folder, and its pid 1 listens
 * on it, so SO_PEERCRED of a connection is its pid and uid (unix(7)).  No byte
 * is sent or read (I12).  It keeps folder and slot until it is released.
 */
struct err;
struct jail_id;
struct record;
struct spawner;

/* Fills *rec with what is known, and returns a pidfd of its pid 1; -1: nobody
 * is found. */
int lost_find(struct spawner *sp, const struct jail_id *j, const char *name,
    struct record *rec);
/*
 * Before a folder that nobody's record stands for is removed: what lives at a
 * uid of VMs, in a pid namespace of its own and in no record, is killed when it
 * can only be this jail's.  0: there is none.  -EBUSY: ask again; e names who
 * lives.
 */
int lost_end(struct spawner *sp, const struct jail_id *j, struct err *e);

#endif
