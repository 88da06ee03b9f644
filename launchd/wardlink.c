#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "launchd/budget.h"
#include "launchd/dial.h"
#include "launchd/launchd.h"
#include "launchd/spawnlink.h"
#include "launchd/streams.h"
#include "launchd/vm.h"
#include "launchd/wardlink.h"

#define WARD_RETRY_MS 5
#define WARD_PATIENCE_MS 15000 /* a lost warden has this long to return */
#define VERIFY_RETRY_MS 20 /* then twice as long each time */
#define POWER_OFF_MS 1000 /* a guest without processes needs that */
#define VERIFY_PATIENCE_MS 2000 /* for children on their way to exec */

void
wardlink_close(struct vm *v)
{
	link_close(&v->ward);
	dial_clear(v);
	streams_clear(v);
	budget_fds_clear(v);
}

static void
ward_failed(struct vm *v, const char *why)
{
	bool starts = v->state == VM_WARDEN || v->state == VM_VERIFIED;

	wardlink_close(v);
	if (vm_wants_warden(v))
		vm_end(v, starts ? EXIT_START_FAILED : EXIT_VMM_ERROR, why);
}

/* A start cannot wait for it. */
static void
ward_late(struct vm *v, const char *why)
{
	if (!vm_may_run(v)) {
		ward_failed(v, why);
	} else if (!v->ward.said) {
		v->ward.said = true;
		log_warn("vm %s: %s: the VM is left alone", v->name, why);
	}
}

/* Another one, or the same once more. */
static void
ward_again(struct vm *v)
{
	wardlink_close(v);
	v->spec_sent = false;
	if (!vm_wants_warden(v))
		return;
	v->ward.phase = LINK_CONNECT;
	link_arm(&v->ward, link_backoff(&v->ward, WARD_RETRY_MS));
}

static void
ask_verify(struct vm *v)
{
	v->at_us[T_VERIFY] = clock_us();
	link_arm(&v->ward, -1);
	spawnlink_verify(v);
}

void
wardlink_verify(struct vm *v)
{
	v->ward.phase = LINK_VERIFY;
	v->verify_ms = VERIFY_RETRY_MS;
	link_patience(&v->ward, VERIFY_PATIENCE_MS);
	ask_verify(v);
}

/* It was heard, and is again in time, if it is of today: that is what the
 * timer is for, unless it is a read-back's. */
static void
ward_beats(struct vm *v)
{
	v->ward_silent = false;
	if (v->ward.phase != LINK_VERIFY)
		link_arm(&v->ward,
		    v->ward_state.version >= WARD_VERSION_BEAT ? WARD_SILENT_MS
							       : -1);
}

/* Before any stream of the next orchd goes to that warden. */
static void
say_orphans(struct vm *v)
{
	if (!v->has_orphans || v->ward.phase != LINK_UP)
		return;
	v->has_orphans = false;
	if (v->ward_state.version >= WARD_VERSION_ORPHANS && RULE(ORPHANS))
		(void)chan_send(v->ward.chan, WARD_ORPHANS, 0, NULL, 0, -1);
}

void
wardlink_verified(struct vm *v)
{
	const int code = v->spawn_code;

	if (v->ward.phase != LINK_VERIFY)
		return; /* another warden by now: it is verified in its turn */
	if (code == 0) {
		v->at_us[T_VERIFIED] = clock_us();
		v->ward.phase = LINK_UP;
		v->ward.said = false;
		say_orphans(v);
		ward_beats(v);
		return;
	}
	/* a warden that died in between, or its child on the way to exec */
	if ((code == -EAGAIN || code == -ESRCH) && !link_is_lost(&v->ward)) {
		link_arm(&v->ward, v->verify_ms);
		v->verify_ms *= 2;
		return;
	}
	log_error("vm %s: not verified: %s", v->name, v->spawn_why);
	ward_failed(v, v->spawn_why);
}

void
wardlink_run(struct vm *v)
{
	v->is_run = v->ward_state.running ||
	    chan_send(v->ward.chan, WARD_RUN, 0, NULL, 0, -1) == 0;
	if (!v->is_run) {
		ward_again(v);
		ward_late(v, "warden does not listen");
	}
}

void
wardlink_spec(struct vm *v)
{
	int fd;

	if (v->ward.phase != LINK_UP || v->spec_sent || v->boot_spec < 0 ||
	    !budget_fd(v))
		return;
	fd = fcntl(v->boot_spec, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return; /* asked for again with the next news */
	if (chan_send(v->ward.chan, WARD_SPEC, 0, NULL, 0, fd) == 0) {
		v->spec_sent = true;
		v->spec_asked = false;
	}
}

/* The last of it the guest needs to power off by itself. */
static uint32_t
guest_grace_ms(uint32_t ms)
{
	return ms > 2 * POWER_OFF_MS ? ms - POWER_OFF_MS : (ms + 1) / 2;
}

void
wardlink_rung(struct vm *v, uint32_t grace_ms)
{
	struct ward_rung r = { .rung = v->rung };

	if (v->rung == STOP_AGENT &&
	    v->ward_state.version >= WARD_VERSION_SIGNAL)
		r.grace_ms = guest_grace_ms(grace_ms);
	if (v->rung < STOP_TERM && v->ward.phase == LINK_UP)
		(void)chan_send(v->ward.chan, WARD_RUNG, 0, &r, sizeof(r), -1);
}

void
wardlink_orphans(struct vm *v)
{
	streams_clear(v);
	v->has_orphans = true;
	say_orphans(v);
}

int
wardlink_stream(struct vm *v, const struct launch_stream *s, int fd)
{
	if (v->ward.phase == LINK_UP)
		return streams_add(v, s, fd);
	fd_close(&fd);
	return -EAGAIN;
}

static int
on_ward_state(void *arg, struct chan *c, struct msg *m)
{
	struct vm *v = arg;
	const uint8_t agent = v->ward_state.agent, ready = v->ward_state.ready;
	bool first = v->ward.phase == LINK_HELLO;

	(void)c;
	budget_heard(&v->ward, BUDGET_WARDEN, BUDGET_NEWS);
	if (first && m->id == 0)
		return 0;
	memcpy(&v->ward_state, m->data, sizeof(v->ward_state));
	v->has_run = v->has_run || v->ward_state.running != 0;
	if (!first) {
		/* several may come in one turn: what it once said of its
		 * guest, it has said; once that was heard, it is as it is */
		v->ward_state.agent |= agent;
		if (v->state != VM_READY && v->state != VM_MUTE)
			v->ward_state.ready |= ready;
	}
	ward_beats(v);
	v->ward_state.detail[sizeof(v->ward_state.detail) - 1] = '\0';
	if (first)
		v->ward.phase = LINK_QMP;
	vm_wake(v);
	return 0;
}

/* One that was not read back yet gets no answer: it has no guest to reach
 * before it was. */
static int
on_ward_dial(void *arg, struct chan *c, struct msg *m)
{
	struct vm *v = arg;
	struct ward_dial d;

	(void)c;
	budget_heard(&v->ward, BUDGET_WARDEN, BUDGET_DIAL);
	memcpy(&d, m->data, sizeof(d));
	if (v->ward.phase == LINK_UP)
		dial_ask(v, m->id, &d);
	return 0;
}

static void
ward_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct vm *v = arg;

	(void)end;
	(void)c;
	log_info("vm %s: warden: %s", v->name, why);
	ward_again(v);
	link_patience(&v->ward, WARD_PATIENCE_MS);
	vm_wake(v);
}

static const struct msg_handler handlers[] = {
	{ WARD_STATE, sizeof(struct ward_state), 0, 0, PH_ANY, ward_state_check,
	    on_ward_state },
	{ WARD_DIAL, sizeof(struct ward_dial), 0, 0, PH_ANY, ward_dial_check,
	    on_ward_dial },
};
static const struct chan_ops ops = { handlers, nitems(handlers), ward_gone };

static void
ward_try(struct vm *v)
{
	struct ward_hello h = { .version = WARD_VERSION };
	int fd = -1, r;

	r = link_open(v->name, "warden.sock", v->uid, 0, &fd);
	if (r == -EPERM) {
		ward_failed(v, "warden has another uid");
		return;
	}
	if (r < 0) {
		/* a start waits for it to listen, and not for long */
		link_arm(&v->ward,
		    vm_may_run(v) ? link_backoff(&v->ward, WARD_RETRY_MS)
				  : WARD_RETRY_MS);
		if (r != -ECONNREFUSED && r != -EAGAIN) {
			log_debug(
			    "vm %s: warden: %s", v->name, strerrordesc_np(-r));
			ward_late(v, "no way to the warden");
		}
		return;
	}
	v->ward.chan = chan_new(v->ld->base, fd, "warden", &ops, v);
	v->ward.phase = LINK_HELLO;
	if (v->ward.chan == NULL ||
	    chan_send(v->ward.chan, WARD_HELLO, 1, &h, sizeof(h), -1) < 0) {
		ward_again(v);
		ward_late(v, "no way to the warden");
		return;
	}
	link_arm(&v->ward, WARD_PATIENCE_MS);
}

void
wardlink_due(struct vm *v)
{
	if (v->pid == 0)
		return;
	if (v->ward.phase == LINK_VERIFY && v->ward.chan != NULL)
		ask_verify(v);
	else if (v->ward.phase == LINK_QMP || v->ward.phase == LINK_UP)
		v->ward_silent = true;
	else if (v->ward.phase == LINK_CONNECT &&
	    (vm_may_run(v) || !link_is_lost(&v->ward)))
		ward_try(v);
	else /* that it was asked, it reads when it goes on */
		ward_late(v, "warden does not answer");
}

void
wardlink_connect(struct vm *v)
{
	v->ward.phase = LINK_CONNECT;
	link_patience(&v->ward, WARD_PATIENCE_MS);
	ward_try(v);
}
