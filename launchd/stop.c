#include <stdint.h>

#include "common/clock.h"
#include "common/log.h"
#include "launchd/keeplink.h"
#include "launchd/stop.h"
#include "launchd/vm.h"
#include "launchd/wardlink.h"

/* A ladder begins anew as often as this: whoever asks faster is not passed on,
 * what was asked last is. */
#define STOP_PAUSE_MS 250

uint32_t
stop_grace_ms(const struct vm *v)
{
	long long left = v->rung_by_ms - clock_ms();

	if (v->state != VM_STOPPING || v->grace_ms == 0 || v->rung > STOP_ACPI)
		return 0;
	if (v->rung == STOP_AGENT)
		left += v->rung_ms[STOP_ACPI];
	return left > 1 ? (uint32_t)left : 1;
}

static void
say(struct vm *v, uint32_t grace_ms)
{
	if (v->rung == STOP_TERM)
		keeplink_term(v);
	else
		wardlink_rung(v, grace_ms);
}

void
stop_say(struct vm *v)
{
	say(v, stop_grace_ms(v));
}

static void
rung_enter(struct vm *v, uint32_t rung)
{
	while (rung < STOP_KILL && v->rung_ms[rung] == 0)
		rung++;
	v->wants_stop = false;
	if (rung != v->rung) {
		log_info("vm %s: stop, rung %u", v->name, rung);
		v->rung = rung;
		vm_tell(v, LE_RUNG);
	}
	if (rung == STOP_KILL) {
		vm_end(v, EXIT_STOPPED, "");
		return;
	}
	v->rung_at_ms = clock_ms();
	v->rung_by_ms = v->rung_at_ms + v->rung_ms[rung];
	vm_arm(v, v->rung_ms[rung]);
	say(v, v->grace_ms);
}

void
stop_next(struct vm *v)
{
	rung_enter(v, v->rung < STOP_KILL ? v->rung + 1 : STOP_KILL);
}

void
stop_begin(struct vm *v)
{
	rung_enter(v, v->stop_from);
}

/* Its time begins anew: now, or when the pause is over, which the state's
 * deadline tells. */
static void
rung_anew(struct vm *v)
{
	const long long left = v->rung_at_ms + STOP_PAUSE_MS - clock_ms();

	if (left > 0)
		vm_arm(v, left);
	else
		rung_enter(v, STOP_AGENT);
}

void
stop_look(struct vm *v)
{
	if (!v->wants_stop)
		return;
	switch (v->state) {
	case VM_NEW:
	case VM_ACCEL:
	case VM_PREPARE:
	case VM_KEEPER:
	case VM_WARDEN:
	case VM_VERIFIED:
		if (v->is_adopted)
			break; /* EV_STOP comes next */
		/* no guest that could be asked */
		v->wants_stop = false;
		v->rung = STOP_KILL;
		vm_end(v, EXIT_STOPPED, "");
		break;
	case VM_BROKEN:
		v->wants_stop = false;
		v->rung = STOP_KILL;
		vm_end(v, EXIT_STOPPED, "");
		break;
	case VM_RUNNING:
	case VM_READY:
	case VM_MUTE:
		break; /* EV_STOP comes next */
	case VM_STOPPING:
		if (v->stop_from > v->rung)
			rung_enter(v, v->stop_from);
		else if (v->rung <= STOP_ACPI && v->grace_ms > 0)
			rung_anew(v);
		else
			v->wants_stop = false;
		break;
	case VM_KILLING:
	case VM_ENDED:
	case VM_GONE:
	case VM_FREEING:
	case VM_CLEARING:
	case VM_STATES:
		v->wants_stop = false; /* ended is what was asked for */
		break;
	}
}
