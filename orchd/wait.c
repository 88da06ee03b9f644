#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/util.h"
#include "orchd/orchd.h"

#define PATIENCE_MIN_MS 17000U

static void
waiter_free(struct waiter *w)
{
	if (w->deadline != NULL)
		event_free(w->deadline);
	free(w);
}

/* Out of the list before it is answered: an apid that does not take the
 * answer ends the connection, and that looks for waiters. */
static void
waiter_unlink(struct vm *vm, struct waiter *w)
{
	struct conn *c = conn_find(vm->orchd, w->conn);

	if (c != NULL && c->waits == vm)
		c->waits = NULL;
	TAILQ_REMOVE(&vm->waiters, w, entry);
	vm->nwaiters--;
}

/* What a VM that does not move lacks, as far as that is known here. */
static const char *
what_lacks(const struct vm *vm)
{
	const struct orchd *o = vm->orchd;

	if (vm->dirty || !vm->committed || vm->writes > 0)
		return "the store cannot be written";
	if (!o->launch.listed)
		return "the launcher is not there";
	if (!o->net.listed)
		return "the network helper is not there";
	return "its helpers have not answered";
}

/* The wish stays: it comes true without whoever asked for it. */
static void
on_deadline(int fd, short what, void *arg)
{
	struct waiter *w = arg;
	struct vm *vm = w->vm;

	(void)fd;
	(void)what;
	waiter_unlink(vm, w);
	res_error(vm->orchd, w->conn, w->id, 503,
	    "vm %s is still %s: %s; it goes on by itself once that is over",
	    vm->row.name, vm_state_name(vm->row.state), what_lacks(vm));
	waiter_free(w);
}

/* As long as a guest may take to come up; before it is down, the ladder. */
static struct timeval
patience(const struct vm *vm, enum wait_for what)
{
	const bool run = what == FOR_RUNNING || what == FOR_RUNNING_AGAIN;
	const struct orchd_conf *c = &vm->orchd->conf;
	/* a helper that does not answer is found out before (ASK_MS) */
	uint64_t ms =
	    c->ready_ms > PATIENCE_MIN_MS ? c->ready_ms : PATIENCE_MIN_MS;
	size_t i;

	for (i = 0; i < nitems(c->stop_ms) && !run; i++)
		ms += c->stop_ms[i];
	return (struct timeval){ .tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000) * 1000 };
}

int
vm_wait(struct vm *vm, struct conn *c, enum wait_for what, unsigned int status)
{
	const struct timeval tv = patience(vm, what);
	struct waiter *w;

	if (vm->nwaiters >= VM_WAITERS_MAX)
		return -EBUSY;
	if ((w = calloc(1, sizeof(*w))) == NULL)
		return -ENOMEM;
	w->vm = vm;
	w->deadline = evtimer_new(vm->orchd->base, on_deadline, w);
	if (w->deadline == NULL || event_add(w->deadline, &tv) < 0) {
		waiter_free(w);
		return -ENOMEM;
	}
	w->conn = c->id;
	w->id = c->req;
	w->what = what;
	w->status = status;
	c->waits = vm;
	TAILQ_INSERT_TAIL(&vm->waiters, w, entry);
	vm->nwaiters++;
	return 0;
}

void
vm_wait_drop(struct vm *vm, uint64_t conn)
{
	struct waiter *w, *next;

	for (w = TAILQ_FIRST(&vm->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->conn != conn)
			continue;
		waiter_unlink(vm, w);
		waiter_free(w);
	}
}

void
vm_wait_end(struct vm *vm)
{
	while (!TAILQ_EMPTY(&vm->waiters))
		vm_wait_drop(vm, TAILQ_FIRST(&vm->waiters)->conn);
}

/* Whether what w waits for has come, or cannot come any more. */
static bool
is_due(const struct vm *vm, const struct waiter *w)
{
	const enum vm_state s = (enum vm_state)vm->row.state;

	/* an answered request is on the disk (I8) */
	if (!vm->committed || vm->dirty || vm->writes > 0)
		return false;
	switch (w->what) {
	case FOR_RUNNING:
	case FOR_RUNNING_AGAIN:
		return s != VM_PENDING && s != VM_STARTING;
	case FOR_STOPPED:
		return s == VM_STOPPED || s == VM_CRASHED || s == VM_DELETING;
	case FOR_STOPPED_AGAIN:
		return s != VM_STOPPING;
	case FOR_GONE:
		return false; /* vm_gone() answers */
	}
	return false;
}

static void
answer(struct vm *vm, const struct waiter *w)
{
	const bool again =
	    w->what == FOR_RUNNING_AGAIN || w->what == FOR_STOPPED_AGAIN;
	const bool run = w->what == FOR_RUNNING || w->what == FOR_RUNNING_AGAIN;
	const enum vm_state s = (enum vm_state)vm->row.state;
	struct orchd *o = vm->orchd;

	if (s == VM_DELETING)
		res_error(o, w->conn, w->id, again ? 410 : 409,
		    again ? "vm %s is being deleted"
			  : "vm %s was deleted meanwhile",
		    vm->row.name);
	else if (run && s == VM_CRASHED)
		res_error(o, w->conn, w->id, 500, "vm %s did not start: %s",
		    vm->row.name, vm->row.detail);
	else if (w->what == FOR_RUNNING && s != VM_RUNNING)
		res_error(o, w->conn, w->id, 409,
		    "vm %s was stopped while it started", vm->row.name);
	else
		res_vm(o, w->conn, w->id, w->status, vm);
}

void
vm_wake(struct vm *vm)
{
	struct waiter *w, *next;

	for (w = TAILQ_FIRST(&vm->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (!is_due(vm, w))
			continue;
		waiter_unlink(vm, w);
		answer(vm, w);
		waiter_free(w);
	}
}

void
vm_wait_fail(
    struct vm *vm, enum wait_for what, unsigned int status, const char *why)
{
	struct waiter *w, *next;

	for (w = TAILQ_FIRST(&vm->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->what != what)
			continue;
		waiter_unlink(vm, w);
		res_error(vm->orchd, w->conn, w->id, status, "vm %s: %s",
		    vm->row.name, why);
		waiter_free(w);
	}
}

void
vm_gone(struct vm *vm)
{
	struct orchd *o = vm->orchd;
	struct waiter *w, *next;

	for (w = TAILQ_FIRST(&vm->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		waiter_unlink(vm, w);
		if (w->what == FOR_GONE)
			res_empty(o, w->conn, w->id, w->status);
		else
			res_error(o, w->conn, w->id, 409,
			    "vm %s was deleted meanwhile", vm->row.name);
		waiter_free(w);
	}
	log_info("vm %s: gone", vm->row.name);
	vm_free(vm);
	orchd_title(o);
}
