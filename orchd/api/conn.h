#ifndef MEWS_CONN_H
#define MEWS_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/share.h"
#include "common/tree.h"
#include "orchd/api/busy.h"
#include "orchd/audit/audit.h"
#include "orchd/tenant/member.h"
#include "proto/api.h"

struct chan;
struct err;
struct event;
struct object;
struct orchd;
struct tenant;

/* What counts for a tenant. */
struct charge {
	int64_t tenant; /* its number; 0: nothing does */
	enum tenant_amount what;
};

/* The tenants that somebody is in. */
struct access_in {
	uint64_t as_of; /* tenants.change */
	unsigned int n;
	int64_t only; /* where n is 1: its number */
	enum tenant_role most; /* in any of them */
};

struct conn {
	RB_ENTRY(conn) by_id;
	uint64_t id;
	uint32_t room; /* the apid that serves it */
	struct creds creds; /* as the kernel said at accept; owns its groups */
	enum api_role role;
	struct share_who who; /* the same, where things are shared */
	bool is_counted; /* it has a part of conns.share or .strangers */
	uint64_t queued_at; /* its request waits for a stream of that VM; 0 */
	uint64_t stream_of; /* it has a stream to that VM; 0: none */
	uint32_t stream_kind; /* STREAM_*, of either */
	int stream_fd; /* our copy of apid's end, never read; -1 */
	struct tenant *tenant; /* whose events it reads; NULL */
	struct access_in in; /* access.c's: what it was last */
	int sock; /* our copy: watched, never read */
	uint64_t req; /* request under way; 0: none */
	struct audit_ask ask; /* what the trail is to tell of it */
	struct charge op; /* its request */
	struct charge open; /* its stream, or that it reads events */
	struct object *waits; /* its request's answer waits for it; NULL */
	bool is_parked; /* its request waits for events */
	TAILQ_ENTRY(conn) parked;
	uint64_t events_after;
	struct orchd *orchd;
};
RB_HEAD(conn_tree, conn);
TAILQ_HEAD(conn_list, conn);

/*
 * Of max_connections all callers that mews.conf does not list have an eighth
 * together, at most so many, and one of them half of that.  The others share
 * the rest (common/share.h).
 */
#define STRANGERS_MAX 16U

struct conns {
	struct conn_tree by_id; /* max_connections, by both shares */
	struct conn_list parked; /* of them, who wait for events */
	struct share share; /* of those with a role */
	struct share strangers; /* of all others */
	uint64_t last; /* id */
	int listener;
	struct event *accept;
	struct event *accept_pause;
	struct event *hup;
	int hup_epoll; /* hang-ups of all connections */
	int reserve_fd; /* given up to be able to say 503 */
	struct busy busy; /* callers told 503 */
	int64_t crowd_ms; /* when one was named who is in too many groups */
};

/* The listener has come.  Takes sock. */
void conn_listen(struct orchd *o, int sock);
/* Takes callers as long as both apids are there. */
void conn_accept(struct orchd *o);
struct conn *conn_find(struct orchd *o, uint64_t id);
/* Shuts it down, tells its apid unless told is set, frees it. */
void conn_end(struct conn *c, bool told);
void conn_end_room(struct orchd *o, uint32_t room);
/* Who may do less in it from now on: streams and readers of events that need
 * more are over, and who may not even look is not answered any more. */
void conn_tenant_changed(struct orchd *o, const struct tenant *t);
/* It is no more: nobody reads its events. */
void conn_tenant_gone(struct orchd *o, const struct tenant *t);
/* Its request is answered: what it did counts no more, but for a stream and a
 * reader of events, who count as long as it lasts. */
void conn_answered(struct conn *c);
/* What it asks for is one of t's: 0, or -EDQUOT with words; -EBUSY: it has
 * another open. */
int conn_charge(
    struct conn *c, struct tenant *t, enum tenant_amount what, struct err *e);
/* It has that stream now; fd, ours, is a copy of apid's end. */
void conn_has_stream(struct conn *c, uint64_t vmid, uint32_t kind, int fd);
/* The apid that serves it, or NULL when that is gone. */
struct chan *conn_chan(const struct conn *c);
/* That apid has not read as many descriptors as may wait for it. */
bool conn_is_unread(const struct conn *c);
/* Into the list of those who wait for events, and out of it (a no-op where
 * it is not in). */
void conn_park(struct conn *c);
void conn_unpark(struct conn *c);

#endif
