#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "launchd/launchd.h"

/* The stop ladder: each rung asks once, waits its time, gives way to the
 * next; the last one needs nobody's consent. */

static void
rung_enter(struct lvm *v, uint32_t rung)
{
	while (rung < STOP_KILL && v->rung_ms[rung] == 0)
		rung++;
	v->rung = rung;
	log_info("vm %s: stop, rung %u", v->name, rung);
	orchd_event(v, LE_RUNG);
	if (rung == STOP_KILL) {
		lvm_kill(v, EXIT_STOPPED, "");
		return;
	}
	lvm_arm(v, v->rung_ms[rung]);
	stop_say(v);
}

/* Says the current rung to whom it concerns, if that one is there. */
void
stop_say(struct lvm *v)
{
	struct ward_rung r = { .rung = v->rung };

	if (v->rung == UINT32_MAX)
		return; /* rung_enter comes next */
	if (v->rung == STOP_TERM && v->keep.phase == LINK_UP)
		(void)chan_send(v->keep.chan, KEEP_TERM, 0, NULL, 0, -1);
	if (v->rung < STOP_TERM && v->ward.phase == LINK_UP)
		(void)chan_send(v->ward.chan, WARD_RUNG, 0, &r, sizeof(r), -1);
}

void
stop_next(struct lvm *v)
{
	rung_enter(v, v->rung < STOP_KILL ? v->rung + 1 : STOP_KILL);
}

int
stop_begin(struct lvm *v, const struct launch_stop *s)
{
	memcpy(v->rung_ms, s->deadline_ms, sizeof(v->rung_ms));
	switch (v->state) {
	case L_NEW:
	case L_ACCEL:
	case L_PREPARE:
	case L_KEEPER:
	case L_WARDEN:
		/* no guest that could be asked */
		v->rung = STOP_KILL;
		lvm_kill(v, EXIT_STOPPED, "");
		return 0;
	case L_RUNNING:
	case L_READY:
		if (lvm_step(v, E_STOP) < 0)
			return -EPROTO;
		rung_enter(v, s->from);
		return 0;
	case L_STOPPING:
		if (s->from > v->rung)
			rung_enter(v, s->from);
		return 0;
	case L_KILLING:
	case L_ENDED:
	case L_GONE:
	case L_FREEING:
	case L_STATES:
		break;
	}
	return 0; /* ended is what was asked for */
}
