#ifndef MEWS_ORPHAN_H
#define MEWS_ORPHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;
struct orchd;
struct tenant;
struct vm;

/*
 * A VM that helpers hold and no row knows: of a store that was restored, or
 * that was lost.  As long as it runs it is kept, in memory alone, with its
 * slot, address and uid, until a host admin adopts it into a tenant or ends it,
 * or nobody has for orphan_ms of orchd's config since this orchd found it. What
 * does not run any more is released at once.
 *
 * It is a VM like any other, in state VM_ORPHAN, of the tenant that is nobody's
 * (tenants.nobody); its name is its uid.
 */
#define ORPHANS_MAX                                                 \
	4096 /* more than helpers can hold; what is past it is left \
		alone, and said */

struct orphan {
	bool is; /* it has no row, or none yet: also while it goes */
	bool is_late; /* nobody wanted it in time */
	int64_t found_ns; /* since the epoch */
	struct event *timer;
};

/*
 * The VM of that uid, which no row has, as its helpers hold it; it is looked at
 * when all have told what they hold.  NULL: none was made, which is logged.
 */
struct vm *orphan_of(struct orchd *o, uint64_t vmid);
/* From the turn, all having listed.  True: it stays as it is. */
bool orphan_stays(struct vm *vm);
/* True: words for why it cannot be adopted, now or at all, in ret. */
bool orphan_is_fixed(const struct vm *vm, char *ret, size_t len);
/* When it will be ended, since the epoch. */
int64_t orphan_ends_ns(const struct vm *vm);
/* An orphan that has the slot or an address of a VM's row, or NULL. */
const struct vm *orphan_in_way(const struct vm *vm);

/*
 * A row is to be written for it, with that name, which is free, in t: it is t's
 * from now on.  orphan_kept: it is on the disk; orphan_again: it could not be
 * written, nothing of it is.
 */
void orphan_adopt(struct vm *vm, struct tenant *t, const char *name);
void orphan_kept(struct vm *vm);
void orphan_again(struct vm *vm);

#endif
