#include <bsd/unistd.h>
#include <event2/event.h>

#include "common/log.h"
#include "launchd/launchd.h"
#include "launchd/life.h"
#include "launchd/orchd.h"
#include "launchd/probe.h"
#include "launchd/turn.h"
#include "launchd/vm.h"

/* What ps shows. */
static void
title(struct launchd *ld)
{
	ld->nshown = ld->nvms;
	setproctitle("-mews: launchd [%u vms]", ld->nvms);
}

/* Those that one wakes while it is converged have the next turn. */
static void
converge_woken(struct launchd *ld)
{
	unsigned int n;

	for (n = ld->nwoken; n > 0; n--) {
		struct vm *v = TAILQ_FIRST(&ld->woken);

		TAILQ_REMOVE(&ld->woken, v, by_wake);
		ld->nwoken--;
		v->is_woken = false;
		life_converge(v);
	}
}

/* Nothing is left of it. */
static void
forget(struct vm *v)
{
	struct launchd *ld = v->ld;
	const bool probe = v->vmid == PROBE_VM;

	vm_free(v);
	/* a former launchd's probe was in the way of ours */
	if (probe)
		probe_start(ld);
}

static void
tell_orchd(struct launchd *ld)
{
	struct vm *v;

	while ((v = TAILQ_FIRST(&ld->told)) != NULL) {
		TAILQ_REMOVE(&ld->told, v, by_told);
		v->is_told = false;
		orchd_tell(v);
		if (v->is_cleared)
			forget(v);
	}
}

/* All that is held is known by name; what each has come to is said of each
 * when it is. */
static void
listed(struct launchd *ld)
{
	ld->probed = true;
	log_info("%u VMs held", ld->nvms);
	if (vm_find(ld, PROBE_VM) == NULL)
		probe_start(ld);
	orchd_open(ld);
}

static void
on_turn(int fd, short what, void *arg)
{
	struct launchd *ld = arg;

	(void)fd;
	(void)what;
	converge_woken(ld);
	if (ld->listed && !ld->probed)
		listed(ld);
	tell_orchd(ld);
	if (ld->nvms != ld->nshown)
		title(ld);
}

void
turn_open(struct launchd *ld)
{
	TAILQ_INIT(&ld->vms);
	TAILQ_INIT(&ld->woken);
	TAILQ_INIT(&ld->told);
	ld->turn = event_new(ld->base, -1, 0, on_turn, ld);
	if (ld->turn == NULL)
		fatal("out of memory");
	title(ld);
}
