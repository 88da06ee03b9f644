#ifndef MEWS_KEEPER_H
#define MEWS_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/keep.h"

/* What the spawner left open, as the keeper's row says (proto/jail_rows.c):
 * numbers that never change, see the end of proto/ward.h. */
#define KEEPER_FD 3
#define KEEPER_VSOCK_FD 6
#define KEEPER_NFDS 7
/* from a spawner that is not older: the hypervisor's 2 */
#define KEEPER_VMM_LOG_FD 7

struct keeper {
	uid_t launchd; /* the only one who may connect */
	char *launchd_arg; /* the same as the warden is told it */
	uint32_t cid; /* what the spawner set on KEEPER_VSOCK_FD; 0: none */
	int conn; /* launchd, or -1 */
	int sigfd; /* SIGCHLD */
	int vmm_log; /* KEEPER_VMM_LOG_FD until the hypervisor starts, or -1 */
	struct machine_fds fds; /* for the hypervisor, until it starts */
#ifdef SECCOMP_DEBUG
	int watch; /* the hypervisor's half sends its listener; or -1 */
	int watched; /* that listener, or -1 */
#endif
	pid_t warden; /* 0: none */
	pid_t vmm;
	long long warden_since_ms;
	long long warden_due_ms; /* 0: no start is due */
	long long backoff_ms;
	struct keep_state2 st;
	struct machine machine; /* what runs, unless in KEEP_WAIT */
};

/* The hypervisor's listeners, first in the list.  0 or a negative errno. */
int child_listen(struct keeper *k);
/* Both return the pid or a negative errno. */
pid_t child_warden(const struct keeper *k);
pid_t child_vmm(struct keeper *k);

/* Refuses for good what nothing in a jail needs; inherited by all in it. */
int filter_install(void);

#endif
