#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "orchd/orchd.h"
#include "orchd/vm.h"

static int
cmp_uid(const struct vm *a, const struct vm *b)
{
	return a->row.vmid < b->row.vmid ? -1 : a->row.vmid > b->row.vmid;
}

static int
cmp_name(const struct vm *a, const struct vm *b)
{
	if (a->row.tenant != b->row.tenant)
		return a->row.tenant < b->row.tenant ? -1 : 1;
	return strcmp(a->row.name, b->row.name);
}

RB_GENERATE_STATIC(vm_uid_tree, vm, by_uid, cmp_uid)
static int
cmp_ask(const struct vm *a, const struct vm *b)
{
	return a->ask_id < b->ask_id ? -1 : a->ask_id > b->ask_id;
}

RB_GENERATE_STATIC(vm_name_tree, vm, by_name, cmp_name)
RB_GENERATE_STATIC(vm_ask_tree, vm, by_ask, cmp_ask)

struct vm *
vm_new(struct orchd *o)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (vm == NULL)
		return NULL;
	vm->orchd = o;
	vm->tap_fd = -1;
	TAILQ_INIT(&vm->waiters);
	return vm;
}

void
vm_free(struct vm *vm)
{
	if (vm == NULL)
		return;
	vm_ask_clear(vm);
	if (RB_FIND(vm_uid_tree, &vm->orchd->by_uid, vm) == vm) {
		(void)RB_REMOVE(vm_uid_tree, &vm->orchd->by_uid, vm);
		(void)RB_REMOVE(vm_name_tree, &vm->orchd->by_name, vm);
		TAILQ_REMOVE(&vm->orchd->vms, vm, entry);
		vm->orchd->nvms--;
	}
	vm_wait_end(vm);
	if (vm->timer != NULL)
		event_free(vm->timer);
	if (vm->life != NULL)
		event_free(vm->life);
	close_fd(&vm->tap_fd);
	table_clear(&vm_create_table, &vm->spec);
	free(vm);
}

int
vm_add(struct vm *vm)
{
	struct orchd *o = vm->orchd;

	if (RB_FIND(vm_name_tree, &o->by_name, vm) != NULL ||
	    RB_INSERT(vm_uid_tree, &o->by_uid, vm) != NULL)
		return -EEXIST;
	(void)RB_INSERT(vm_name_tree, &o->by_name, vm);
	TAILQ_INSERT_TAIL(&o->vms, vm, entry); /* ids only grow */
	o->nvms++;
	return 0;
}

struct vm *
vm_by_uid(struct orchd *o, uint64_t uid)
{
	struct vm key = { .row = { .vmid = uid } };

	return RB_FIND(vm_uid_tree, &o->by_uid, &key);
}

struct vm *
vm_by_ask(struct orchd *o, uint64_t id)
{
	struct vm key = { .ask_id = id };

	return id == 0 ? NULL : RB_FIND(vm_ask_tree, &o->by_ask, &key);
}

void
vm_ask_set(struct vm *vm, enum vm_ask what)
{
	vm->ask = what;
	vm->ask_id = ++vm->orchd->last_ask;
	(void)RB_INSERT(vm_ask_tree, &vm->orchd->by_ask, vm);
}

void
vm_ask_clear(struct vm *vm)
{
	if (vm->ask_id != 0)
		(void)RB_REMOVE(vm_ask_tree, &vm->orchd->by_ask, vm);
	vm->ask = ASK_NONE;
	vm->ask_id = 0;
}

struct vm *
vm_by_name(struct orchd *o, int64_t tenant, const char *name)
{
	struct vm key = { .row = { .tenant = tenant } };

	(void)snprintf(key.row.name, sizeof(key.row.name), "%s", name);
	return RB_FIND(vm_name_tree, &o->by_name, &key);
}

/* Smallest and greatest uid that begin with these hex digits. */
static int
prefix_range(const char *s, uint64_t *lo, uint64_t *hi)
{
	char buf[HEX64_LEN + 1];
	size_t len = strlen(s);

	if (len < VM_PREFIX_MIN || len > HEX64_LEN)
		return -EINVAL;
	memset(buf, '0', HEX64_LEN);
	buf[HEX64_LEN] = '\0';
	memcpy(buf, s, len);
	if (parse_hex64(buf, lo) < 0)
		return -EINVAL;
	memset(buf + len, 'f', HEX64_LEN - len);
	return parse_hex64(buf, hi);
}

int
vm_find(struct orchd *o, int64_t tenant, const char *name, struct vm **ret)
{
	struct vm *vm = vm_by_name(o, tenant, name), *hit = NULL;
	struct vm key = { 0 };
	uint64_t lo, hi;

	if (vm != NULL) {
		*ret = vm;
		return 0;
	}
	if (prefix_range(name, &lo, &hi) < 0)
		return -ENOENT;
	key.row.vmid = lo;
	vm = RB_NFIND(vm_uid_tree, &o->by_uid, &key);
	for (; vm != NULL && vm->row.vmid <= hi;
	     vm = RB_NEXT(vm_uid_tree, &o->by_uid, vm)) {
		if (vm->row.tenant != tenant)
			continue;
		if (hit != NULL)
			return -EEXIST;
		hit = vm;
	}
	if (hit == NULL)
		return -ENOENT;
	*ret = hit;
	return 0;
}

/* A write that has to be told about, by uid: the VM may be gone by then. */
struct pending_write {
	struct orchd *orchd;
	uint64_t uid;
	const char *type; /* of its event, NULL */
	bool asked; /* by a person: was and the rest say how to undo it */
	struct vm_row was;
	uint32_t to;
	enum wait_for what;
	struct idem_row key;
};

/* What a person asked cannot be kept: as if it had never been asked, unless
 * something else has happened to the VM since. */
static bool
undo(struct vm *vm, const struct pending_write *p, int r)
{
	if (!p->asked || vm->writes > 0 || vm->row.state != p->to)
		return false;
	vm->row = p->was;
	idem_forget(vm->orchd, &p->key);
	vm_wait_fail(vm, p->what, r == -ENOSPC ? 507 : 500,
	    r == -ENOSPC ? "not done: the store is full"
			 : "not done: the store cannot be written");
	return true;
}

static void
on_saved(void *arg, int r)
{
	struct pending_write *p = arg;
	struct orchd *o = p->orchd;
	struct vm *vm = vm_by_uid(o, p->uid);

	if (vm == NULL)
		goto out;
	vm->writes--;
	if (r < 0) {
		log_error("vm %s: state not written: %s", vm->row.name,
		    strerrordesc_np(-r));
		/* what was seen stays true here; it is written later */
		if (!undo(vm, p, r)) {
			vm->dirty = true;
			if (p->type != NULL)
				vm->lost = p->type;
		}
	} else {
		vm->dirty = false;
		vm->lost = NULL; /* the VM has moved on: it would be false */
		events_wake(o);
	}
	vm_wake(vm);
	vm_converge(vm);
out:
	free(p);
}

/* A write of the row as it is, with its event.  NULL when out of memory. */
static struct txn *
save_txn(struct vm *vm, const char *type, const char *why,
    struct pending_write **ret)
{
	struct pending_write *p = calloc(1, sizeof(*p));
	struct txn *t;

	if (p == NULL)
		return NULL;
	p->orchd = vm->orchd;
	p->uid = vm->row.vmid;
	p->type = type;
	if ((t = txn_new(vm->orchd->store, on_saved, p)) == NULL) {
		free(p);
		return NULL;
	}
	txn_vm_set(t, &vm->row);
	if (type != NULL)
		event_add_vm(t, vm, type, vm_state_name(vm->row.state), why);
	*ret = p;
	return t;
}

void
vm_save(struct vm *vm)
{
	struct pending_write *p = NULL;
	const char *type = vm->lost;
	struct txn *t = save_txn(vm, type, vm->row.detail, &p);

	if (t == NULL) {
		vm->dirty = true;
		vm_converge(vm); /* which comes back to it */
		return;
	}
	vm->lost = NULL;
	vm->writes++;
	txn_commit(t);
}

/* Volant's event of a step; NULL: that step is nobody's news. */
static const char *
step_event(enum vm_state to, enum vm_event ev)
{
	if (ev == EV_RUNNING && to == VM_RUNNING)
		return "VM_RUNNING";
	if (ev == EV_READY && to == VM_RUNNING)
		return "VM_READY";
	if (to == VM_STOPPED)
		return "VM_STOPPED";
	if (to == VM_CRASHED)
		return "VM_CRASHED";
	return NULL;
}

/* The new state is in the row.  Writes it, with its event, later if need be. */
static void
step_save(struct vm *vm, const char *type, const char *why)
{
	struct pending_write *p = NULL;
	struct txn *t = save_txn(vm, type, why, &p);

	if (t != NULL) {
		vm->writes++;
		txn_commit(t);
		return;
	}
	vm->dirty = true;
	vm->lost = type;
	vm_converge(vm);
}

static void
step_to(struct vm *vm, int to, const char *why)
{
	log_info("vm %s: %s -> %s (%s)", vm->row.name,
	    vm_state_name(vm->row.state), vm_state_name((uint32_t)to), why);
	if (vm->life != NULL && vm->row.state != (uint32_t)to)
		(void)evtimer_del(vm->life);
	vm->row.state = (uint32_t)to;
	vm->row.updated_ns = now_ns();
}

/* The next state, or VM_REFUSED; the event of that step in *type. */
static int
step_find(const struct vm *vm, enum vm_event ev, const char **type)
{
	const enum vm_state from = (enum vm_state)vm->row.state;
	const int to = vm_next(from, ev);

	if (to == VM_REFUSED) {
		log_debug("vm %s: %s refused while %s", vm->row.name,
		    vm_event_name(ev), vm_state_name(from));
		return to;
	}
	/* facts that come again, with a new launchd, are no news */
	*type =
	    (enum vm_state)to != from || (ev == EV_READY && !vm->row.told_ready)
	    ? step_event((enum vm_state)to, ev)
	    : NULL;
	return to;
}

int
vm_step(struct vm *vm, enum vm_event ev, const char *why)
{
	const char *type = NULL;
	const int to = step_find(vm, ev, &type);

	if (to == VM_REFUSED)
		return -EPERM;
	if ((uint32_t)to == vm->row.state && type == NULL) {
		vm_converge(vm); /* told twice, or late: nothing to write */
		return 0;
	}
	step_to(vm, to, why);
	vm->row.told_ready =
	    to == VM_RUNNING && (ev == EV_READY || vm->row.told_ready);
	step_save(vm, type, why);
	return 0;
}

int
vm_request(struct vm *vm, enum vm_event ev, const char *why,
    enum vm_desired want, enum wait_for what, struct idem_row *key)
{
	const struct vm_row was = vm->row;
	struct pending_write *p = NULL;
	const char *type = NULL;
	const int to = step_find(vm, ev, &type);
	struct txn *t;

	if (to == VM_REFUSED)
		return -EPERM;
	key->vm = vm->row.vmid;
	vm->row.desired = want;
	if (ev == EV_START) {
		vm->row.reason = EXIT_NONE;
		vm->row.exit_status = 0;
		vm->row.detail[0] = '\0';
	}
	step_to(vm, to, why);
	if ((t = save_txn(vm, type, why, &p)) == NULL ||
	    idem_use(vm->orchd, t, key) < 0) {
		if (t != NULL)
			free(p);
		txn_free(t);
		vm->row = was;
		return -ENOMEM;
	}
	p->asked = true;
	p->was = was;
	p->to = (uint32_t)to;
	p->what = what;
	p->key = *key;
	vm->writes++;
	txn_commit(t);
	return 0;
}

int
vm_remember(struct vm *vm, struct idem_row *key)
{
	struct pending_write *p = NULL;
	struct txn *t;

	if (key->key[0] == '\0')
		return 0;
	key->vm = vm->row.vmid;
	if ((t = save_txn(vm, NULL, "", &p)) == NULL)
		return -ENOMEM;
	if (idem_use(vm->orchd, t, key) < 0) {
		free(p);
		txn_free(t);
		return -ENOMEM;
	}
	vm->writes++;
	txn_commit(t);
	return 0;
}
