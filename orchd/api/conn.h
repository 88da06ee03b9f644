#ifndef MEWS_CONN_H
#define MEWS_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/tree.h"

struct chan;
struct event;
struct object;
struct orchd;

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
	struct object *waits; /* its request's answer waits for it; NULL */
	bool is_parked; /* its request waits for events */
	TAILQ_ENTRY(conn) parked;
	uint64_t events_after;
	struct orchd *orchd;
};
RB_HEAD(conn_tree, conn);
TAILQ_HEAD(conn_list, conn);
/* Callers told 503 that are still open. */
#define REFUSED_MAX 16

struct conns {
	struct conn_tree by_id;
	struct conn_list parked; /* wait for events */
	unsigned int n;
	uint64_t last; /* id */
	int listener;
	struct event *accept;
	struct event *accept_pause;
	struct event *hup;
	int hup_epoll; /* hang-ups of all connections */
	int reserve_fd; /* given up to be able to say 503 */
	int refused[REFUSED_MAX]; /* callers told 503; -1: free */
	unsigned int nrefused;
	struct event *refused_end; /* they are closed */
};

/* The listener has come.  Takes sock. */
void conn_listen(struct orchd *o, int sock);
/* Takes callers as long as both apids are there. */
void conn_accept(struct orchd *o);
struct conn *conn_find(struct orchd *o, uint64_t id);
/* Shuts it down, tells its apid unless told is set, frees it. */
void conn_end(struct conn *c, bool told);
void conn_end_room(struct orchd *o, uint32_t room);
/* The apid that serves it, or NULL when that is gone. */
struct chan *conn_chan(const struct conn *c);
/* Into the list of those who wait for events, and out of it (a no-op where
 * it is not in). */
void conn_park(struct conn *c);
void conn_unpark(struct conn *c);

#endif
