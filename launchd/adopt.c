#include <errno.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "launchd/launchd.h"

/*
 * After a start: what the spawner's records say is there, is asked where it
 * stands.  orchd is heard once every VM has answered or was given up on.
 */

void
adopt_held(struct launchd *ld, const struct spawn_held *h, int *pidfd)
{
	struct lvm *v = lvm_find(ld, h->vm);

	if (v != NULL)
		return; /* an orphan named twice */
	if ((v = lvm_new(ld, h->vm)) == NULL) {
		fatal("no memory for what is held");
		return;
	}
	v->adopted = true;
	v->slot = h->slot;
	v->host_uid = h->uid;
	v->probe = false;
	if (h->alive && *pidfd >= 0) {
		int fd = *pidfd;

		*pidfd = -1;
		if (lvm_hold(v, h, fd) < 0)
			fatal("no memory for what is held");
	}
	if (h->vm == PROBE_VM) {
		/* its launchd is gone, and so is the question */
		v->settled = true;
		lvm_release(v);
		return;
	}
	if (v->pid == 0) {
		v->reason = EXIT_KEEPER;
		lvm_set_detail(v, "found dead after a restart");
	}
	(void)lvm_step(v, v->pid != 0 ? E_ADOPT : E_DEAD);
}

void
lvm_settled(struct lvm *v)
{
	if (v->settled)
		return;
	v->settled = true;
	adopt_check(v->ld);
}

void
adopt_check(struct launchd *ld)
{
	struct lvm *v;

	if (!ld->listed || ld->adopted)
		return;
	for (v = TAILQ_FIRST(&ld->vms); v != NULL; v = TAILQ_NEXT(v, entry)) {
		if (!v->settled && v->adopted)
			return;
	}
	ld->adopted = true;
	log_info("%u VMs held", ld->nvms);
	if (lvm_find(ld, PROBE_VM) == NULL)
		probe_start(ld);
	orchd_open(ld);
}
