#ifndef MEWS_ORCH_H
#define MEWS_ORCH_H

#include <stdint.h>

#include "proto/launch.h"
#include "proto/net.h"

/* What this life of orchd is for, by `mewsd --check-store`: it looks at a
 * store, says on descriptor 2 what is wrong with it, and exits with 1 if
 * anything is. */
enum orchd_check {
	CHECK_NONE, /* it serves */
	CHECK_STORE, /* its own store, which another orchd may be at */
	CHECK_FILE, /* the file that is open as descriptor 0 */
};

/* Boot config of orchd: what it may decide within. */
#define ORCH_ADMINS_MAX 32
#define ORCH_USERS_MAX 256

struct orchd_conf {
	uint32_t max_vms;
	uint32_t max_vcpus; /* of one VM */
	uint32_t max_mem_mib; /* of one VM */
	uint32_t max_conns; /* API connections at once, all rooms together */
	uint32_t subnet; /* IPv4, host order */
	uint32_t prefix; /* length, 8..30 */
	uint32_t gateway; /* the bridge's own address, host order */
	uint32_t ready_ms; /* from exec to agent ready */
	char uplink[NET_IFNAME]; /* netd's, for doctor */
	uint32_t temporary_ms; /* a temporary VM that nobody uses */
	uint32_t orphan_ms; /* a VM that the store does not know; 0: at once */
	uint32_t stop_ms[STOP_RUNGS]; /* the stop ladder's deadlines */
	uint32_t check; /* enum orchd_check */
	uint32_t nadmins;
	uint32_t nusers;
	uint32_t admins[ORCH_ADMINS_MAX]; /* uids, host admins besides 0 */
	uint32_t users[ORCH_USERS_MAX]; /* uids, users of tenant default */
};

/* Beyond the longest that orchd waits for a VM, and the least. */
#define APID_ASK_MARGIN_MS 30000U
#define APID_ASK_MIN_MS 120000U

/* Boot config of an apid. */
#define APID_WRITE_MS 30000U
#define APID_HELD_MAX (UINT32_C(256) * 1024 * 1024)
struct apid_conf {
	uint32_t max_conns;
	uint32_t nadmins; /* callers that there can be: those that mews.conf */
	uint32_t nusers; /* lists, and root */
	uint32_t held_max; /* bytes: bodies, answers, streams of all callers */
	uint32_t write_ms; /* a client that takes nothing of its answer */
	uint32_t idle_ms; /* a connection that says nothing is closed */
	uint32_t ask_ms; /* until orchd has answered: longer than it may wait
			    itself for a VM, whatever mews.conf says */
};

#endif
