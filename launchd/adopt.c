#include "launchd/adopt.h"
#include "common/log.h"
#include "launchd/launchd.h"
#include "launchd/reason.h"
#include "launchd/vm.h"
#include "proto/spawn.h"

void
adopt_held(struct launchd *ld, const struct spawn_held *h, int *pidfd)
{
	struct vm *v = vm_find(ld, h->jail.id);

	if (h->jail.kind != JAIL_VM)
		return; /* not ours to adopt */
	if (v != NULL)
		return; /* an orphan named twice */
	if ((v = vm_new(ld, h->jail.id)) == NULL) {
		fatal("no memory for what is held");
		return;
	}
	v->is_adopted = true;
	v->slot = h->slot;
	v->uid = h->uid;
	if (h->alive && *pidfd >= 0) {
		int fd = *pidfd;

		*pidfd = -1;
		if (vm_hold(v, h, fd) < 0)
			fatal("no memory for what is held");
	}
	v->is_broken = h->fault != 0 && h->alive;
	v->is_dead = v->pid == 0;
	vm_wake(v);
	if (h->jail.id == PROBE_VM) {
		/* its launchd is gone, and so is the question */
		v->wants_release = true;
	} else if (v->is_dead)
		reason_set(v, EXIT_KEEPER,
		    h->fault ? "its record cannot be read, and nobody answers"
			     : "found dead after a restart");
}
