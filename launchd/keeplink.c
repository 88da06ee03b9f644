#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "launchd/launchd.h"

/* The keeper: asked first, and again whenever its channel breaks. */
#define KEEP_RETRY_MS 2
#define KEEP_PATIENCE_MS 3000 /* from connecting to the first answer */
/* An adopted VM's own deadline went with the launchd that knew it. */
#define ADOPTED_READY_MS 60000

static void
keep_failed(struct lvm *v, const char *why)
{
	if (v->state == L_GONE || v->state == L_FREEING ||
	    v->state == L_KILLING)
		return;
	lvm_kill(v, v->adopted ? EXIT_KEEPER : EXIT_START_FAILED, why);
}

int
keep_go(struct lvm *v)
{
	struct machine *m = &v->machine;
	unsigned int i;
	int r = 0;

	for (i = 0; i < v->fds.n && r == 0; i++) {
		struct keep_attach a = { .role = v->fds.id[i].role,
			.index = v->fds.id[i].index };

		r = chan_send(
		    v->keep.chan, KEEP_ATTACH, 0, &a, sizeof(a), v->fds.fd[i]);
		v->fds.fd[i] = -1; /* sent or closed */
	}
	machine_fds_clear(&v->fds);
	m->accel = v->accel;
	m->tsc_khz = v->accel == ACCEL_TCG ? v->ld->tsc_khz : 0;
	m->flags = v->probe ? MACHINE_PROBE : 0;
	if (r == 0)
		r = chan_send(v->keep.chan, KEEP_GO2, 0, m, machine_len(m), -1);
	return r;
}

/* The keeper's program is the staged tree's, which mewsd chose when it
 * started: it may be of another build than we are. */
static bool
keep_knows(struct lvm *v)
{
	char text[LVM_DETAIL];

	if (v->keep_state.version == KEEP_VERSION)
		return true;
	(void)snprintf(text, sizeof(text),
	    "the staged tree's keeper speaks version %u, the launcher %d: "
	    "restart the suite",
	    v->keep_state.version, KEEP_VERSION);
	lvm_kill(v, EXIT_START_FAILED, text);
	return false;
}

/* The first answer says where the VM is; what we know says what is next. */
static void
keep_first(struct lvm *v)
{
	v->keep.phase = LINK_UP;
	v->at_us[T_KEEPER] = clock_us();
	link_arm(&v->keep, -1);
	if (v->state != L_KEEPER)
		return; /* the channel was made again, the VM goes on */
	switch ((enum keep_phase)v->keep_state.phase) {
	case KEEP_WAIT:
		if (v->adopted) {
			/* what it should run died with the old launchd */
			lvm_kill(v, EXIT_START_FAILED,
			    "launcher restarted during the start");
			return;
		}
		if (!keep_knows(v))
			return;
		if (keep_go(v) < 0)
			keep_failed(v, "keeper does not listen");
		else
			(void)lvm_step(v, E_KEPT);
		return;
	case KEEP_RUN:
		v->accel = (uint8_t)v->machine.accel;
		v->ready_by_ms = clock_ms() + ADOPTED_READY_MS;
		(void)lvm_step(v, E_KEPT);
		return;
	case KEEP_ENDED:
		v->accel = (uint8_t)v->machine.accel;
		/* the warden, if it still is, knows what the guest did */
		v->ward_state.qmp = 1;
		(void)lvm_step(v, E_ENDED);
		ward_connect(v);
		return;
	}
}

static int
on_keep_state(void *arg, struct chan *c, struct msg *m)
{
	struct lvm *v = arg;

	(void)c;
	/* what it runs goes on to orchd, so it is checked like a request */
	if (keep_state_get(
		m->type, m->data, m->len, &v->keep_state, &v->machine) < 0)
		return -EINVAL;
	if (v->keep.phase == LINK_HELLO) {
		if (m->id == 0)
			return 0; /* news that crossed our hello */
		keep_first(v);
		if (v->keep_state.phase != KEEP_ENDED)
			return 0;
	}
	if (v->keep_state.phase == KEEP_ENDED && v->state != L_GONE &&
	    v->state != L_FREEING && v->state != L_KILLING)
		lvm_vmm_ended(v);
	return 0;
}

static void
keep_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct lvm *v = arg;

	(void)end;
	(void)c;
	log_debug("vm %s: keeper: %s", v->name, why);
	link_close(&v->keep);
	/* mostly it has died, and its pidfd says so next */
	v->keep.phase = LINK_CONNECT;
	v->keep.until_ms = clock_ms() + KEEP_PATIENCE_MS;
	link_arm(&v->keep, KEEP_RETRY_MS);
}

static const struct msg_handler keep_handlers[] = {
	{ KEEP_STATE, sizeof(struct keep_state), 0, 0, PH_ANY, keep_state_check,
	    on_keep_state },
	{ KEEP_STATE2, sizeof(struct keep_state2),
	    MSG_PAYLOAD_MAX - sizeof(struct keep_state2), 0, PH_ANY,
	    keep_state2_check, on_keep_state },
};
static const struct chan_ops keep_ops = { keep_handlers, nitems(keep_handlers),
	keep_gone };

static void
keep_try(struct lvm *v)
{
	struct keep_hello h = { .version = KEEP_VERSION };
	int fd = -1, r = link_open(v, "keeper.sock", v->pid, &fd);

	if (r == -ECONNREFUSED || r == -EAGAIN) {
		link_arm(&v->keep, KEEP_RETRY_MS);
		return;
	}
	if (r < 0) {
		log_warn("vm %s: keeper: %s", v->name, strerrordesc_np(-r));
		keep_failed(v,
		    r == -EPERM ? "keeper is not the recorded one"
				: "no way to the keeper");
		return;
	}
	v->keep.chan = chan_new(v->ld->base, fd, "keeper", &keep_ops, v);
	v->keep.phase = LINK_HELLO;
	if (v->keep.chan == NULL ||
	    chan_send(v->keep.chan, KEEP_HELLO, 1, &h, sizeof(h), -1) < 0) {
		link_close(&v->keep);
		keep_failed(v, "no way to the keeper");
		return;
	}
	link_arm(&v->keep, KEEP_PATIENCE_MS);
}

void
keep_timer(int fd, short what, void *arg)
{
	struct lvm *v = arg;

	(void)fd;
	(void)what;
	if (v->pid == 0)
		return;
	if (v->keep.phase == LINK_CONNECT && clock_ms() < v->keep.until_ms) {
		keep_try(v);
		return;
	}
	link_close(&v->keep);
	keep_failed(v, "keeper does not answer");
}

void
keep_connect(struct lvm *v)
{
	v->keep.phase = LINK_CONNECT;
	v->keep.until_ms = clock_ms() + KEEP_PATIENCE_MS;
	keep_try(v);
}
