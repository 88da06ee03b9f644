#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/util.h"
#include "launchd/budget.h"
#include "launchd/keeplink.h"
#include "launchd/launchd.h"
#include "launchd/vm.h"

#define KEEP_RETRY_MS 2
#define KEEP_PATIENCE_MS 3000 /* from connecting to the first answer */

static void
keep_failed(struct vm *v, const char *why)
{
	if (v->state == VM_GONE || v->state == VM_FREEING ||
	    v->state == VM_KILLING)
		return;
	vm_end(v, vm_may_run(v) ? EXIT_KEEPER : EXIT_START_FAILED, why);
}

/* It lives, or its pidfd would have said so: a start cannot wait for it. */
static void
keep_late(struct vm *v, const char *why)
{
	if (!vm_may_run(v)) {
		link_close(&v->keep);
		keep_failed(v, why);
	} else if (!v->keep.said) {
		v->keep.said = true;
		log_warn("vm %s: %s: the VM is left alone", v->name, why);
	}
}

/* Once more, later. */
static void
keep_again(struct vm *v)
{
	link_close(&v->keep);
	v->keep.phase = LINK_CONNECT;
	link_arm(&v->keep, link_backoff(&v->keep, KEEP_RETRY_MS));
}

/* The descriptors that go with it. */
static int
send_fds(struct vm *v)
{
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
	return r;
}

/* The keeper's program is the staged tree's, which mewsd chose when it
 * started: it may be of another build than we are. */
static bool
knows_machines(struct vm *v)
{
	char text[VM_DETAIL];

	if (v->keep_state.version == KEEP_VERSION)
		return true;
	(void)snprintf(text, sizeof(text),
	    "the staged tree's keeper speaks version %u, launchd %d: restart "
	    "the suite",
	    v->keep_state.version, KEEP_VERSION);
	keep_failed(v, text);
	return false;
}

void
keeplink_go(struct vm *v)
{
	const struct machine *m = &v->machine;
	int r;

	if (!knows_machines(v))
		return;
	if ((r = send_fds(v)) == 0)
		r = chan_send(v->keep.chan, KEEP_GO2, 0, m, machine_len(m), -1);
	if (r < 0)
		keep_failed(v, "keeper does not listen");
	else
		v->is_kept = true;
}

void
keeplink_term(struct vm *v)
{
	if (v->keep.phase == LINK_UP)
		(void)chan_send(v->keep.chan, KEEP_TERM, 0, NULL, 0, -1);
}

int
keeplink_bye(struct vm *v)
{
	if (v->keep.phase != LINK_UP)
		return -EPIPE;
	return chan_send(v->keep.chan, KEEP_BYE, 0, NULL, 0, -1);
}

static int
on_keep_state(void *arg, struct chan *c, struct msg *m)
{
	struct vm *v = arg;

	(void)c;
	budget_heard(&v->keep, BUDGET_KEEPER, BUDGET_NEWS);
	/* what it runs goes on to orchd, so it is checked like a request */
	if (keep_state_get(
		m->type, m->data, m->len, &v->keep_state, &v->machine) < 0)
		return -EINVAL;
	if (v->keep.phase == LINK_HELLO) {
		if (m->id == 0)
			return 0; /* news that crossed our hello */
		v->keep.phase = LINK_UP;
		v->keep.said = false;
		v->at_us[T_KEEPER] = clock_us();
		link_arm(&v->keep, -1);
	}
	if (v->keep_state.phase == KEEP_ENDED)
		v->has_ended = true;
	vm_wake(v);
	return 0;
}

static void
keep_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct vm *v = arg;

	(void)end;
	(void)c;
	log_debug("vm %s: keeper: %s", v->name, why);
	/* mostly it has died, and its pidfd says so next; one that never
	 * answers gets no more time by hanging up */
	if (v->keep.phase == LINK_UP)
		link_patience(&v->keep, KEEP_PATIENCE_MS);
	keep_again(v);
}

static const struct msg_handler handlers[] = {
	{ KEEP_STATE, sizeof(struct keep_state), 0, 0, PH_ANY, keep_state_check,
	    on_keep_state },
	{ KEEP_STATE2, sizeof(struct keep_state2),
	    MSG_PAYLOAD_MAX - sizeof(struct keep_state2), 0, PH_ANY,
	    keep_state2_check, on_keep_state },
};
static const struct chan_ops ops = { handlers, nitems(handlers), keep_gone };

static void
keep_try(struct vm *v)
{
	struct keep_hello h = { .version = KEEP_VERSION };
	int fd = -1, r;

	r = link_open(v->name, "keeper.sock", v->uid, v->pid, &fd);
	if (r == -EPERM) {
		keep_failed(v, "keeper is not the recorded one");
		return;
	}
	if (r < 0) {
		keep_again(v);
		if (r != -ECONNREFUSED && r != -EAGAIN) {
			log_debug(
			    "vm %s: keeper: %s", v->name, strerrordesc_np(-r));
			keep_late(v, "no way to the keeper");
		}
		return;
	}
	v->keep.chan = chan_new(v->ld->base, fd, "keeper", &ops, v);
	v->keep.phase = LINK_HELLO;
	if (v->keep.chan == NULL ||
	    chan_send(v->keep.chan, KEEP_HELLO, 1, &h, sizeof(h), -1) < 0) {
		keep_again(v);
		keep_late(v, "no way to the keeper");
		return;
	}
	link_arm(&v->keep, KEEP_PATIENCE_MS);
}

void
keeplink_due(struct vm *v)
{
	if (v->pid == 0)
		return;
	if (v->keep.phase == LINK_CONNECT &&
	    (vm_may_run(v) || !link_is_lost(&v->keep)))
		keep_try(v);
	else /* that it was asked, it reads when it goes on */
		keep_late(v, "keeper does not answer");
}

void
keeplink_connect(struct vm *v)
{
	v->keep.phase = LINK_CONNECT;
	link_patience(&v->keep, KEEP_PATIENCE_MS);
	keep_try(v);
}
