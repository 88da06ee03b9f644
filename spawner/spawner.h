#ifndef MEWS_SPAWNER_H
#define MEWS_SPAWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "proto/boot.h"
#include "proto/chan.h"
#include "proto/spawn.h"
#include "spawner/cgroup.h"
#include "spawner/held.h"

/*
 * What launchd cannot do without root: it makes jails, reads them back, kills
 * and removes them, by their ids, from records that only root can write.  It
 * reads nothing that a VM wrote and resolves no name that a VM could have made
 * (I12).
 */

struct spawner {
	struct boot_common boot;
	struct launchd_conf conf;
	int chan;
	int state_fd; /* lib/vm */
	int run_fd; /* run/vm */
	int lock_fd; /* one spawner at a time, see main.c */
	char boot_id[BOOT_ID_LEN];
	unsigned int filters; /* seccomp filters that children inherit */
	uint64_t host_ns[NS_N];
	uint64_t user_ns;
	struct file_id host_root;
	struct file_id prog[JAIL_ROLES_MAX]; /* staged programs; {0}: none */
	struct file_id vmm[BACKENDS]; /* likewise: of a backend */
	char stage_why[256]; /* why no jail can be made; "": one can */
	struct cgroup cg;
	struct launch_caps caps;
	struct held_tree held; /* every jail there is */
};

/* dispatch.c, confine.c */
void spawner_confine(const struct spawner *sp);
/* One message; nothing it says can end the process. */
void spawner_dispatch(struct spawner *sp, const struct msg *m);

#endif
