#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "launchd/dial.h"
#include "launchd/launchd.h"

/* The warden may die and be started anew: then it is connected to, asked
 * and read back again; the VM runs on meanwhile. */
#define WARD_RETRY_MS 5
#define WARD_PATIENCE_MS 15000 /* a lost warden has this long to return */
#define WARD_BACKOFF_MAX_MS 1000
#define WARD_HEALTHY_MS 10000
#define WARD_NEWS_MAX 32 /* a start has about ten */
#define WARD_DIAL_RATE 128 /* one for each exec, in the same time */
#define WARD_NEWS_MS 500
#define VERIFY_RETRY_MS 20
#define VERIFY_PATIENCE_MS 2000 /* for children on their way to exec */

static bool
ward_wanted(const struct lvm *v)
{
	switch (v->state) {
	case L_WARDEN:
	case L_RUNNING:
	case L_READY:
	case L_STOPPING:
		return true;
	case L_NEW:
	case L_ACCEL:
	case L_PREPARE:
	case L_KEEPER:
	case L_KILLING:
	case L_ENDED:
	case L_GONE:
	case L_FREEING:
	case L_STATES:
		break;
	}
	return false;
}

static void
ward_failed(struct lvm *v, const char *why)
{
	link_close(&v->ward);
	dial_clear(v);
	if (!ward_wanted(v))
		return;
	lvm_kill(
	    v, v->state == L_WARDEN ? EXIT_START_FAILED : EXIT_VMM_ERROR, why);
}

/* Read-back once everything that is to be read is there (I4). */
static void
ward_verify(struct lvm *v)
{
	struct spawn_verify sv = { .vm = v->uid,
		.what = SPAWN_VERIFY_WARDEN | SPAWN_VERIFY_VMM };

	v->ward.phase = LINK_VERIFY;
	v->at_us[T_VERIFY] = clock_us();
	link_arm(&v->ward, -1);
	if (spawner_ask(v, SPAWN_VERIFY, &sv, sizeof(sv)) < 0)
		fatal("the spawner does not keep up");
}

void
ward_give_spec(struct lvm *v)
{
	int fd;

	if (v->ward.phase != LINK_UP || v->spec_sent || v->boot_spec < 0)
		return;
	fd = fcntl(v->boot_spec, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return; /* asked for again with the next news */
	if (chan_send(v->ward.chan, WARD_SPEC, 0, NULL, 0, fd) == 0) {
		v->spec_sent = true;
		v->asked_spec = false;
	}
}

/* News that matter once the warden is verified. */
static void
ward_act(struct lvm *v)
{
	const struct ward_state *s = &v->ward_state;

	if (v->ward.phase != LINK_UP)
		return;
	if (v->probe) {
		if (s->agent && v->state == L_RUNNING)
			probe_ended(v, ACCEL_KVM);
		return;
	}
	if (s->ready && v->state == L_RUNNING)
		(void)lvm_step(v, E_READY);
	if (!s->need_spec || v->spec_sent)
		return;
	ward_give_spec(v);
	if (!v->spec_sent && !v->asked_spec) {
		v->asked_spec = true;
		orchd_event(v, LE_NEED_SPEC);
	}
}

void
ward_verified(struct lvm *v, const struct spawn_verified *ok)
{
	if (v->ward.phase != LINK_VERIFY)
		return; /* another warden by now: it is verified in its turn */
	v->at_us[T_VERIFIED] = clock_us();
	v->conf = ok->conf;
	v->vmm_pid = (pid_t)ok->vmm_pid;
	v->ward.phase = LINK_UP;
	if (v->state == L_WARDEN) {
		if (!v->ward_state.running &&
		    chan_send(v->ward.chan, WARD_RUN, 0, NULL, 0, -1) < 0) {
			ward_failed(v, "warden does not listen");
			return;
		}
		(void)lvm_step(v, E_VERIFIED);
		ward_give_spec(v);
	} else if (ward_wanted(v)) {
		log_info("vm %s: a new warden serves", v->name);
		orchd_event(v, LE_WARDEN);
		if (v->state == L_STOPPING)
			stop_say(v); /* the old one may not have heard */
	}
	ward_act(v);
}

void
ward_not_verified(struct lvm *v, int code, const char *why)
{
	if (v->ward.phase != LINK_VERIFY)
		return;
	/* a warden that died in between, or its child on the way to exec */
	if ((code == -EAGAIN || code == -ESRCH) &&
	    clock_ms() < v->ward.until_ms) {
		link_arm(&v->ward, VERIFY_RETRY_MS);
		return;
	}
	log_error("vm %s: not verified: %s", v->name, why);
	ward_failed(v, why);
}

void
ward_calm(int fd, short what, void *arg)
{
	struct lvm *v = arg;

	(void)fd;
	(void)what;
	if (v->ward.chan != NULL)
		chan_hold(v->ward.chan, false);
}

/* A guest can make an honest warden talk, and a warden that was taken over
 * talks as it likes: what comes too fast waits at its own side (I9). */
static void
ward_count(struct lvm *v, unsigned int *count, unsigned int max)
{
	const long long now = clock_ms();
	struct timeval tv = { 0 };

	if (now - v->ward_since_ms >= WARD_NEWS_MS) {
		v->ward_since_ms = now;
		v->ward_news = 0;
		v->ward_dials = 0;
	}
	if (++*count < max || !RULE(WARD_NEWS))
		return;
	tv.tv_usec = (v->ward_since_ms + WARD_NEWS_MS - now) * 1000;
	if (event_add(v->ward_calm, &tv) == 0)
		chan_hold(v->ward.chan, true);
}

static int
on_ward_state(void *arg, struct chan *c, struct msg *m)
{
	struct lvm *v = arg;
	bool first = v->ward.phase == LINK_HELLO;

	(void)c;
	ward_count(v, &v->ward_news, WARD_NEWS_MAX);
	if (first && m->id == 0)
		return 0;
	memcpy(&v->ward_state, m->data, sizeof(v->ward_state));
	v->ward_state.detail[sizeof(v->ward_state.detail) - 1] = '\0';
	if (v->state == L_ENDED) {
		v->ward.phase = LINK_UP;
		link_arm(&v->ward, -1);
		lvm_vmm_ended(v);
		return 0;
	}
	if (first) {
		v->ward.phase = LINK_QMP;
		link_arm(&v->ward, -1);
	}
	/* at the start the hypervisor has to be there; later it just is */
	if (v->ward.phase == LINK_QMP &&
	    (v->ward_state.qmp || v->state != L_WARDEN)) {
		v->ward.until_ms = clock_ms() + VERIFY_PATIENCE_MS;
		ward_verify(v);
	} else
		ward_act(v);
	return 0;
}

/* One that was not read back yet gets no answer: it has no guest to reach
 * before it was. */
static int
on_ward_dial(void *arg, struct chan *c, struct msg *m)
{
	struct lvm *v = arg;
	struct ward_dial d;

	(void)c;
	ward_count(v, &v->ward_dials, WARD_DIAL_RATE);
	memcpy(&d, m->data, sizeof(d));
	if (v->ward.phase == LINK_UP)
		dial_ask(v, m->id, &d);
	return 0;
}

/* A warden that hangs up again and again, or a hypervisor in its place, must
 * not keep us and the spawner busy. */
static long long
ward_backoff(struct lvm *v)
{
	long long now = clock_ms();

	if (now - v->ward_lost_ms > WARD_HEALTHY_MS)
		v->ward_backoff_ms = WARD_RETRY_MS;
	else if (v->ward_backoff_ms < WARD_BACKOFF_MAX_MS)
		v->ward_backoff_ms *= 2;
	v->ward_lost_ms = now;
	return v->ward_backoff_ms;
}

static void
ward_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct lvm *v = arg;

	(void)end;
	(void)c;
	log_info("vm %s: warden: %s", v->name, why);
	link_close(&v->ward);
	dial_clear(v);
	v->spec_sent = false;
	if (v->state == L_ENDED) {
		lvm_vmm_ended(v);
		return;
	}
	if (!ward_wanted(v))
		return;
	v->ward.phase = LINK_CONNECT;
	v->ward.until_ms = clock_ms() + WARD_PATIENCE_MS;
	link_arm(&v->ward, ward_backoff(v));
}

static const struct msg_handler ward_handlers[] = {
	{ WARD_STATE, sizeof(struct ward_state), 0, 0, PH_ANY, ward_state_check,
	    on_ward_state },
	{ WARD_DIAL, sizeof(struct ward_dial), 0, 0, PH_ANY, ward_dial_check,
	    on_ward_dial },
};
static const struct chan_ops ward_ops = { ward_handlers, nitems(ward_handlers),
	ward_gone };

static void
ward_try(struct lvm *v)
{
	struct ward_hello h = { .version = WARD_VERSION };
	int fd = -1, r = link_open(v, "warden.sock", 0, &fd);

	if (r == -ECONNREFUSED || r == -EAGAIN) {
		link_arm(&v->ward, WARD_RETRY_MS);
		return;
	}
	if (r < 0) {
		log_warn("vm %s: warden: %s", v->name, strerrordesc_np(-r));
		ward_failed(v,
		    r == -EPERM ? "warden has another uid"
				: "no way to the warden");
		return;
	}
	v->ward.chan = chan_new(v->ld->base, fd, "warden", &ward_ops, v);
	v->ward.phase = LINK_HELLO;
	if (v->ward.chan == NULL ||
	    chan_send(v->ward.chan, WARD_HELLO, 1, &h, sizeof(h), -1) < 0) {
		ward_failed(v, "no way to the warden");
		return;
	}
	link_arm(&v->ward, WARD_PATIENCE_MS);
}

void
ward_timer(int fd, short what, void *arg)
{
	struct lvm *v = arg;

	(void)fd;
	(void)what;
	if (v->pid == 0)
		return;
	if (v->ward.phase == LINK_VERIFY && v->ward.chan != NULL)
		ward_verify(v);
	else if (v->ward.phase == LINK_CONNECT && clock_ms() < v->ward.until_ms)
		ward_try(v);
	else
		ward_failed(v, "warden does not answer");
}

void
ward_connect(struct lvm *v)
{
	v->ward.phase = LINK_CONNECT;
	v->ward.until_ms = clock_ms() + WARD_PATIENCE_MS;
	ward_try(v);
}
