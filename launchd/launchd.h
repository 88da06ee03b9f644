#ifndef MEWS_LAUNCHD_H
#define MEWS_LAUNCHD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "launchd/jaillog.h"
#include "proto/boot_room.h"
#include "proto/launch.h"

struct chan;
struct event;
struct event_base;
struct vm;

/* launchd.  Its files stand on floors, docs/architecture.md has them. */
struct launchd {
	struct boot_common boot;
	struct launchd_conf conf;
	struct event_base *base;
	struct boot_room mewsd; /* descriptor 3 */
	struct chan *parent; /* its channel */
	uint32_t orchd_life; /* which orchd it is */
	struct chan *spawner;
	struct chan *orchd; /* NULL while it is away */
	int orchd_fd; /* came before the spawner's list */
	struct {
		uint64_t id; /* of the question */
		uint32_t n; /* counts lists */
		struct launch_count count; /* VMs so far */
		struct event *go_on; /* there is more; NULL: never was */
	} list; /* of what there is, for orchd */
	bool listed; /* the spawner said all it holds: orchd is served */
	bool probed; /* the accelerator was asked for, if it has to be */
	uint32_t accel; /* ACCEL_UNKNOWN until known, or for now: caps.doubt */
	struct event *probe_timer; /* it is made again; NULL: not yet */
	unsigned int probes; /* in a row without an answer, or that failed */
	uint32_t tsc_khz; /* 0: unknown, guests calibrate themselves */
	struct launch_caps caps;
	uint64_t next_id; /* of what the spawner is asked */
	struct jaillogs logs; /* what VMs say */
	struct event *turn; /* something is to be done at the turn's end */
	unsigned int nfds_unread; /* in sockets to wardens, budget.h */
	unsigned int nwaiting; /* streams, streams.h */
	unsigned int nvms;
	unsigned int nshown; /* of them, in the title */
	unsigned int nwoken;
	TAILQ_HEAD(vms, vm) vms; /* as many as there are uids, vm_new() */
	TAILQ_HEAD(woken_vms, vm) woken; /* to be converged */
	TAILQ_HEAD(told_vms, vm) told; /* there is news of it for orchd */
};

/* confine.c: user, root, capabilities; then system calls.  Or die. */
void launchd_confine(const struct launchd *ld);
void launchd_filter(const struct launchd *ld);

#endif
