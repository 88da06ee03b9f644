#ifndef MEWS_ORCHD_H
#define MEWS_ORCHD_H

#include <stdbool.h>
#include <stdint.h>

#include "orchd/api/conn.h"
#include "orchd/audit/audit.h"
#include "orchd/link/link.h"
#include "orchd/link/link_net.h"
#include "orchd/link/passing.h"
#include "orchd/object/gate.h"
#include "orchd/object/idem.h"
#include "orchd/object/object.h"
#include "orchd/store.h"
#include "orchd/tenant/tenant.h"
#include "orchd/vm/part.h"
#include "orchd/vm/vm.h"
#include "proto/boot_room.h"
#include "proto/launch.h"
#include "proto/orch.h"
#include "proto/room.h"

struct backup;
struct chan;
struct event;
struct event_base;

/*
 * All that orchd is, in the order of its floors: a file calls downwards;
 * upwards goes a row of a table, a list or a callback (docs/architecture.md).
 */
/*
 * Of ends of streams and callers' sockets: so many wait for one room to read
 * them, which one that was taken over need never do.  With what else orchd has
 * for connections it is no more than mewsd gives it for them.
 */
#define WAITING_FDS_MAX(conns) (16U + (conns) / 4)

struct orchd {
	struct boot_common boot;
	struct orchd_conf conf;
	struct event_base *base;
	struct event *sigterm;
	struct boot_room mewsd; /* descriptor 3 */
	struct chan *parent;
	uint32_t life[ROOM_MAX]; /* of each room: which one is there */
	/* rows and store */
	struct store *store;
	struct audit audit;
	/* objects */
	struct tenants tenants;
	struct objects objects;
	struct vms vms;
	struct gate gate[GATES]; /* to the helpers, and to starts */
	struct line host[GATES]; /* at them, what host admins made */
	struct share temporaries; /* of max_vms: VMs, by who made them */
	struct share logs; /* of LOGS_MAX: of all VMs, being read */
	struct idems idems;
	/* links */
	struct link link[LINKS];
	struct part_tree asks; /* parts with a question under way */
	uint64_t last_ask;
	struct passing passing; /* streams on their way to launchd */
	struct launch_caps caps; /* accel 0 until launchd told */
	bool caps_known;
	struct event *ensure; /* netd's rules are looked at again */
	struct net_look net;
	/* callers */
	struct backup *backup; /* NULL: none is under way */
	struct chan *api[2]; /* users, admins */
	struct conns conns;
	uint32_t listed[SHARE_LISTED]; /* in mews.conf, root too */
};

/* confine.c */
void orchd_confine(const struct boot_common *bc);
void orchd_filter(void);

/* dispatch.c: the channel to mewsd; others come over it. */
extern const struct boot_calls dispatch_calls;

#endif
