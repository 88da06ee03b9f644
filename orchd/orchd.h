#ifndef MEWS_ORCHD_H
#define MEWS_ORCHD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/tree.h"
#include "orchd/store.h"
#include "orchd/vm.h"
#include "proto/api.h"
#include "proto/boot.h"
#include "proto/launch.h"
#include "proto/orch.h"

struct chan;
struct event;
struct event_base;

/* Who is at the other end of a connection, as the kernel said at accept. */
enum role { ROLE_NONE, ROLE_USER, ROLE_ADMIN };

struct conn {
	RB_ENTRY(conn) by_id;
	uint64_t id;
	uint32_t room; /* the apid that serves it */
	uid_t uid;
	enum role role;
	int64_t tenant; /* 0: none */
	int sock; /* our copy: watched, never read */
	uint64_t req; /* request under way; 0: none */
	uint64_t events_id; /* EVENTS parked under this message id; 0: none */
	uint64_t events_after;
	TAILQ_ENTRY(conn) parked; /* in orchd's list while events_id is set */
	struct vm *waits; /* whose waiters have one of ours; NULL */
	struct orchd *orchd;
};
RB_HEAD(conn_tree, conn);
TAILQ_HEAD(conn_list, conn);
/* Callers told 503 that are still open. */
#define REFUSED_MAX 16

/* A key that was used, for the retries that may come. */
struct idem {
	RB_ENTRY(idem) entry;
	TAILQ_ENTRY(idem) age;
	struct idem_row row;
};
RB_HEAD(idem_tree, idem);
TAILQ_HEAD(idem_list, idem); /* oldest first */
/* Keys remembered; past its own limit a caller loses its oldest. */
#define IDEM_MAX 65536
#define IDEM_OWNER_MAX 4096

struct tenant {
	int64_t id;
	char name[STORE_NAME_MAX];
	uint64_t last_seq; /* taken; a commit may still fail */
	uint64_t disk_seq; /* on the disk when events_now() last looked */
	int64_t last_id;
};

RB_HEAD(vm_uid_tree, vm);
RB_HEAD(vm_name_tree, vm);
RB_HEAD(vm_ask_tree, vm);
TAILQ_HEAD(vm_list, vm);

/* A helper room as orchd sees it. */
struct helper {
	struct chan *chan; /* NULL: not there */
	bool listed; /* it has told what it holds */
};

struct orchd {
	struct boot_common boot;
	struct orchd_conf conf;
	struct event_base *base;
	struct event *sigterm;
	struct chan *parent;
	uint32_t life[ROOM_MAX]; /* of each room: which one is there */
	struct chan *api[2]; /* users, admins */
	struct helper net;
	struct helper launch;
	struct launch_caps caps; /* accel 0 until launchd told */
	bool caps_known;
	int listener;
	struct event *accept;
	struct event *accept_pause;
	struct event *hup;
	int hup_epoll; /* hang-ups of all connections */
	int reserve_fd; /* given up to be able to say 503 */
	int refused[REFUSED_MAX]; /* callers told 503; -1: free */
	unsigned int nrefused;
	struct event *refused_end; /* they are closed */
	struct conn_tree conns;
	struct conn_list parked; /* wait for events */
	unsigned int nconns;
	uint64_t last_conn;
	uint64_t last_ask;
	struct store *store;
	struct tenant tenant; /* "default": the one there is so far */
	struct vm_uid_tree by_uid;
	struct vm_name_tree by_name;
	struct vm_ask_tree by_ask; /* VMs with a question under way */
	struct vm_list vms;
	unsigned int nvms;
	struct event *ensure; /* netd's rules are looked at again */
	struct idem_tree idems;
	struct idem_list idem_age;
	unsigned int nidems;
};

/* main.c, confine.c */
void orchd_confine(const struct boot_common *bc);
void orchd_filter(void);
void orchd_title(const struct orchd *o);

/* dispatch.c: the channel to a room, new or renewed. Takes sock. */
void orchd_peer(struct orchd *o, uint32_t room, int sock);
extern const struct chan_ops boot_ops;

/* conn.c */
void conn_listen(struct orchd *o, int sock);
/* Takes callers as long as both apids are there. */
void conn_accept(struct orchd *o);
struct conn *conn_find(struct orchd *o, uint64_t id);
/* Shuts it down, tells its apid unless told is set, frees it. */
void conn_end(struct conn *c, bool told);
void conn_end_room(struct orchd *o, uint32_t room);
/* The apid that serves it, or NULL when that is gone. */
struct chan *conn_chan(const struct conn *c);

/* req.c: the verbs of the API. */
int on_api_closed(void *arg, struct chan *c, struct msg *m);
int on_api_req(void *arg, struct chan *c, struct msg *m);
void res_error(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void res_vm(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status,
    const struct vm *vm);
void res_empty(
    struct orchd *o, uint64_t conn, uint64_t id, unsigned int status);

/* event.c */
/* Adds an event to t; its number is taken at once. type: "VM_RUNNING". */
void event_add_vm(struct txn *t, const struct vm *vm, const char *type,
    const char *status, const char *why);
/* Takes c out of the readers that are parked; a no-op if it is not. */
void events_unpark(struct conn *c);
/* New events are on the disk: parked readers get them. */
void events_wake(struct orchd *o);
/*
 * Where "from now" is: the last number on the disk.  One that is only taken
 * may never get there, or come again for another event.  0 or an error.
 */
int events_now(struct orchd *o, uint64_t *ret);
/*
 * Answers c's request with what there is after c->events_after.  1 when it
 * did; 0 when there are none yet, with at_once never; or an error.
 */
int events_answer(struct conn *c, bool at_once);

/* idem.c */
enum idem_verdict { IDEM_NEW, IDEM_AGAIN, IDEM_OTHER };
/* Fills row for idem_use(); IDEM_AGAIN: row->vm is the VM it was used for. */
enum idem_verdict idem_look(struct orchd *o, const struct conn *c,
    const struct api_req *req, uint32_t verb, const void *doc, size_t len,
    struct idem_row *row);
/* Remembers it in t and here; a no-op without a key.  -1: out of memory. */
int idem_use(struct orchd *o, struct txn *t, const struct idem_row *row);
int idem_load(struct orchd *o, const struct idem_row *row);
/* The write failed: the key was not used after all. */
void idem_forget(struct orchd *o, const struct idem_row *row);

/* alloc.c: what a new VM gets. -ENOSPC when there is none left. */
int alloc_slot(const struct orchd *o, uint32_t *ret);
int alloc_ipv4(const struct orchd *o, uint32_t *ret);
void alloc_mac(const char *name, uint32_t ipv4, uint8_t mac[6]);
/* Text of a helper as apid's tables take it: printable, cut to cap. */
void text_clean(char *dst, size_t cap, const char *src);
uint64_t alloc_uid(struct orchd *o);
int64_t now_ns(void);

/* helper.c: answers and news of netd and launchd. */
/* Asks netd to look at its bridge and rules, now and every few minutes. */
void net_ensure(struct orchd *o);
extern const struct chan_ops net_ops;
extern const struct chan_ops launch_ops;

/* bootspec.c */
void format_ipv4(uint32_t ipv4, char *buf, size_t len);
void format_mac(const uint8_t mac[6], char *buf, size_t len);
/* Boot spec of a VM as a sealed memfd, or a negative errno. */
int bootspec_fd(const struct vm *vm);

#endif
