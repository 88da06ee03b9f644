#ifndef MEWS_TENANT_H
#define MEWS_TENANT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/tree.h"
#include "orchd/audit/audit.h"
#include "orchd/object/gate.h"
#include "orchd/object/object.h"
#include "orchd/store.h"
#include "orchd/tenant/member.h"

struct vm_create;

/* What requests wait for (waiter.what). */
enum tenant_wait {
	FOR_TENANT, /* what was asked of it is on the disk */
	FOR_TENANT_GONE
};

/* By enum tenant_amount. */
struct amounts {
	uint64_t n[TENANT_AMOUNTS];
};

/* What a change changes: plain memory, as write.h wants it. */
struct tenant_state {
	bool suspended; /* its members may only look */
	bool deleting;
	uint32_t weight; /* of its turns (gate.h) */
	int64_t created_ns;
	struct amounts quota; /* 0: none of its own */
	struct members members;
};

/*
 * Whose things are: VMs, events and keys belong to one tenant each, and names
 * and numbers are told apart within it.
 */
struct tenant {
	struct object obj; /* first: an object is its tenant */
	RB_ENTRY(tenant) by_id;
	RB_ENTRY(tenant) by_name;
	struct tenant_row row; /* its numbers are the last ones given; without
				  spec */
	uint64_t told_seq; /* last one on the disk: what "now" is to a reader */
	struct tenant_state want; /* what the store has, or is about to */
	struct tenant_state sent; /* what it was last given */
	struct tenant_state kept; /* what it has */
	/* Why its row cannot be read, till it is written anew; "": it can. */
	char broken[128];
	struct amounts used; /* counted as it comes and goes */
	struct line line[GATES]; /* its VMs that wait for their turns */
	struct {
		uint64_t left; /* thousandths of a request */
		int64_t at_ms; /* of clock_ms() */
	} rate; /* of its members' requests */
	struct audit_pace free_rows; /* of its chain of the trail */
	uint64_t told_row; /* the last of it that went to the journal */
};
RB_HEAD(tenant_id_tree, tenant);
RB_HEAD(tenant_name_tree, tenant);
struct tenants {
	struct tenant_id_tree by_id;
	struct tenant_name_tree by_name;
	struct tenant *by_default; /* TENANT_DEFAULT; NULL till it is read */
	struct tenant nobody; /* in no tree: of VMs that have no row */
	unsigned int n;
	bool is_divided; /* what is shared: there are several (share.h) */
	int64_t last_id;
	uint64_t change; /* counts: who is in which may be another */
};

/* Of those who do not choose; every store has it, and it stays. */
#define TENANT_DEFAULT "default"
#define TENANTS_MAX 1024

void tenants_init(struct tenants *all);
/* One more, in both trees; want is zeroed.  NULL: out of memory, or there is
 * one of that number or name. */
struct tenant *tenant_new(struct orchd *o, const struct object_kind *kind,
    const struct tenant_row *row);
void tenant_free(struct tenant *t);
/* Somebody knows this number, so that none gets it who comes after. */
void tenant_number_given(struct tenants *all, int64_t id);
/* NULL: there is none. */
struct tenant *tenant_by_id(const struct tenants *all, int64_t id);
struct tenant *tenant_by_name(const struct tenants *all, const char *name);
struct tenant *tenant_first(const struct tenants *all);
struct tenant *tenant_next(struct tenant *t);

/* As the store has it: 0 or -E2BIG.  tenant_spec's members are spec's own until
 * table_clear(); -ENOMEM. */
int tenant_state_take(struct tenant_state *s, const struct tenant_spec *spec);
int tenant_state_give(const struct tenant_state *s, struct tenant_spec *spec);
/* Those that are given; all of them. */
void tenant_quotas_take(struct amounts *q, const struct tenant_amounts *want);
void tenant_amounts_give(const struct amounts *a, struct tenant_amounts *ret);

/* It is to have, or let somebody do, more than the disk has of it. */
bool tenant_grows(const struct tenant *t);
/* It is to have, and be, what the disk has. */
bool tenant_stays(const struct tenant *t);

/*
 * What somebody may do in it, who is base whatever the list of members says:
 * by what it is to be and by what the disk has of it, so that what is taken
 * counts at once, and what is given when it is kept.
 */
enum tenant_role tenant_role_of(
    const struct tenant *t, const struct creds *c, enum tenant_role base);

/* Its quota: as with roles less counts at once, more when it is kept.  0: none
 * of its own. */
uint64_t tenant_limit(const struct tenant *t, enum tenant_amount what);
/* One VM more or less of it. */
void tenant_charge(struct tenant *t, const struct vm_create *vm);
void tenant_discharge(struct tenant *t, const struct vm_create *vm);
/* Would one more fit?  0, or -EDQUOT with words that name quota, use, limit. */
int tenant_fits(
    const struct tenant *t, const struct vm_create *vm, struct err *e);
/* One more of what is counted one by one; likewise. */
int tenant_take(struct tenant *t, enum tenant_amount what, struct err *e);
void tenant_give(struct tenant *t, enum tenant_amount what);
/*
 * One request more of those a second, of which those of two seconds may come at
 * once; likewise.
 */
#define RATE_BURST_S 2
int tenant_ask(struct tenant *t, int64_t now_ms, struct err *e);

#endif
