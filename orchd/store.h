#ifndef MEWS_STORE_H
#define MEWS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "proto/api.h"

/*
 * store.db: SQLite in WAL mode, synchronous=FULL.  All writes go through
 * transactions that the loop's turn collects and one worker thread commits
 * together (group commit); a transaction's done() runs in the loop after
 * the commit is on the disk, in the order of txn_commit().
 */
struct event_base;
struct store;
struct txn;

#define STORE_NAME_MAX API_NAME_MAX
#define STORE_DETAIL_MAX 128
/* Events kept per tenant; older ones are dropped as new ones come. */
#define STORE_EVENTS_MAX 10000
/* What a store counts up is below this. */
#define ROW_COUNT_MAX (INT64_C(1) << 53)

/* An object in the form that outlives a build (orchd/stored.h).  The text is
 * of whoever filled the row in, who wipes it: a request holds secrets. */
struct store_doc {
	const char *text;
	size_t len;
	int32_t version; /* of the object */
};

/* The number of the default tenant, which every store has. */
#define STORE_TENANT_DEFAULT 1
/* Whose things are, and the last numbers given in it. */
struct tenant_row {
	int64_t id;
	char name[STORE_NAME_MAX];
	uint64_t last_seq; /* of events */
	int64_t last_id; /* of VMs */
	struct store_doc spec; /* a struct tenant_spec */
};

/* A VM as it survives everything. */
struct vm_row {
	uint64_t vmid;
	int64_t tenant;
	int64_t id; /* Volant's integer, per tenant */
	char name[STORE_NAME_MAX];
	uint32_t state; /* enum vm_state */
	uint32_t reason; /* enum exit_reason */
	int32_t exit_status; /* wait status of the hypervisor */
	uint32_t slot;
	uint32_t ipv4; /* host order */
	uint8_t mac[6];
	char detail[STORE_DETAIL_MAX];
	int64_t created_ns; /* since the epoch */
	int64_t updated_ns;
	bool told_ready; /* VM_READY of this run is among the events */
	struct store_doc request; /* what made it: a struct vm_create */
};

struct event_row {
	int64_t tenant;
	uint64_t seq;
	int64_t at_ns;
	struct store_doc body; /* a struct event_view, but for seq */
};

/* What a key was used for; hash tells a retry from another request. */
struct idem_row {
	int64_t tenant;
	uint32_t owner; /* uid of the caller */
	char key[API_KEY_MAX];
	uint32_t verb; /* enum api_msg */
	uint64_t vm;
	uint8_t hash[32];
	int64_t at_ns;
};

/* What could be read of a row that cannot be: the rest is 0 or "". */
struct vm_broken {
	struct vm_row row; /* without its request */
	bool has_name, has_slot, has_ipv4;
	char why[STORE_DETAIL_MAX]; /* the column, and what is wrong with it */
};

/*
 * Who did what: of each tenant, and of the host as tenant 0, a chain of rows
 * that are numbered from 1, each with the hash of the one before (of the first:
 * of zeros).  Of a chain STORE_AUDIT_MAX rows are kept, the oldest go; chains
 * of the last STORE_AUDIT_GONE_MAX tenants that are no more are kept, too.
 */
#define STORE_AUDIT_MAX 10000
#define STORE_AUDIT_GONE_MAX 64
#define AUDIT_HASH_LEN 32
#define AUDIT_HOST 0
struct audit_row {
	int64_t seq; /* over all chains */
	int64_t tenant;
	uint64_t n; /* in its chain */
	int64_t at_ns;
	struct store_doc entry; /* a struct audit_entry */
	uint8_t prev[AUDIT_HASH_LEN];
	uint8_t hash[AUDIT_HASH_LEN];
};
/* Of a chain that has at least one row. */
struct audit_head {
	int64_t tenant;
	uint64_t first, last; /* of its rows that are kept */
	uint8_t hash[AUDIT_HASH_LEN]; /* of the last */
};

struct store_load {
	int (*vm)(void *arg, const struct vm_row *, struct err *e);
	/* After all others.  -EBADMSG of vm() makes it one of these too. */
	int (*broken)(void *arg, const struct vm_broken *);
	int (*idem)(void *arg, const struct idem_row *);
	/* First, all of them. */
	int (*tenant)(void *arg, const struct tenant_row *, struct err *e);
};

/*
 * store_open opens or makes path and migrates it, with its reserve if the disk
 * is full; a store of a newer version than this program knows is refused.
 * store_read gives every row once; a VM that holds what no row may (a state
 * that is none, a name that is none) goes to broken(), and a key of which that
 * is so is left where it is.  A tenant whose name or number cannot be ends it
 * with the table, the row and the reason in e, and so does a callback that
 * fails; what that put in e stays.
 */
int store_open(const char *path, struct store **ret, struct err *e);
int store_read(
    struct store *s, const struct store_load *cb, void *arg, struct err *e);
/* Starts the worker; nothing is written before.  Threads must inherit the
 * room's confinement, so this comes after it. */
int store_start(struct store *s, struct event_base *base, struct err *e);
/* What the last write came to that could have gone well: 0, or -ENOSPC, ...;
 * -ENOSPC as well while the reserve is not whole.
 * store_try writes without changing anything, before store_start(). */
int store_health(struct store *s);
/* The reserve is not whole, nor is there room to make it so: nothing that ends
 * nothing is to be written. */
bool store_is_full(struct store *s);
int store_try(struct store *s);
/*
 * The store as it is at one moment, as a file without a name beside it that can
 * be put back as one: done() gets its descriptor, which is its own from then
 * on, or a negative errno (-ENOSPC; -ETIMEDOUT: more was written than copied).
 * Made between commits; one at a time (-EBUSY).  It never comes when the store
 * is closed before.
 */
int store_copy(struct store *s, void (*done)(void *arg, int r), void *arg);
/* Commits what is queued, ends the worker, closes.  NULL is fine. */
void store_free(struct store *s);

/* NULL when out of memory.  done: 0 or a negative errno (-ENOSPC: full). */
struct txn *txn_new(struct store *s, void (*done)(void *arg, int r), void *arg);
/* Each copies its row.  An out-of-memory is remembered and told to done(). */
void txn_vm_put(struct txn *t, const struct vm_row *row);
/* Desired, state, reason, detail and updated of a row that is there already;
 * one that was deleted meanwhile stays deleted.  row's request is not looked
 * at. */
void txn_vm_set(struct txn *t, const struct vm_row *row);
/* Another name for a row that is there; -EEXIST when it is another VM's. */
void txn_vm_name(struct txn *t, uint64_t vmid, const char *name);
void txn_vm_del(struct txn *t, uint64_t vmid);
/* Its spec alone, of one that is there. */
void txn_tenant_set(struct txn *t, const struct tenant_row *row);
void txn_tenant_put(struct txn *t, const struct tenant_row *row);
/* With its events and keys; -EEXIST: it still has a VM. */
void txn_tenant_del(struct txn *t, int64_t id);
void txn_event(struct txn *t, const struct event_row *row);
/* One more row of its tenant's chain; number and hashes are given as it is
 * written. */
void txn_audit(struct txn *t, const struct audit_row *row);
void txn_idem(struct txn *t, const struct idem_row *row);
/* Forgets the key of row. */
void txn_idem_del(struct txn *t, const struct idem_row *row);
/* It takes something new in: it fails (-ENOSPC) while the reserve is not whole,
 * and never uses it. */
void txn_needs_room(struct txn *t);
/* Gives the transaction away. */
void txn_commit(struct txn *t);
/* Drops one that was not committed. */
void txn_free(struct txn *t);

/*
 * store_oldest: the first event that is kept, 0 if there is none; 0 or a
 * negative errno.
 *
 * Events of a tenant after a sequence number, oldest first, at most max.
 * From the loop; reads never wait for the worker.  Number given to cb, or a
 * negative errno.
 */
int store_oldest(struct store *s, int64_t tenant, uint64_t *ret);
int store_events(struct store *s, int64_t tenant, uint64_t after,
    unsigned int max, int (*cb)(void *arg, const struct event_row *),
    void *arg);

/*
 * The trail, oldest rows first: those of one chain (q->tenant) behind number
 * q->after of it, or of all (AUDIT_ANY) behind that seq, at most q->max of
 * them.  intact: a row is what its hash says and follows the one before it.
 * Number given to cb, or a negative errno.
 * store_audit_heads: of all chains from tenant number `from` on, ascending, as
 * long as cb returns 0; 0, what cb returned, or a negative errno.
 */
#define AUDIT_ANY (-1)
typedef int store_audit_fn(
    void *arg, const struct audit_row *row, bool is_intact);
typedef int store_audit_head_fn(void *arg, const struct audit_head *head);
struct audit_query {
	int64_t tenant;
	uint64_t after;
	unsigned int max;
	/* When these were the last rows: gets the heads, of the same moment,
	 * of all chains from that one (of the first) on, as long as it returns
	 * 0.  NULL: none. */
	store_audit_head_fn *heads;
};
int store_audit(struct store *s, const struct audit_query *q,
    store_audit_fn *cb, void *arg);
int store_audit_heads(
    struct store *s, int64_t from, store_audit_head_fn *cb, void *arg);

#endif
