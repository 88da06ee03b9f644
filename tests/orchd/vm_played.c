#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/link/link.h"
#include "orchd/link/link_launch.h"
#include "orchd/object/idem.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/vm/vm.h"
#include "orchd/vm/vm_converge.h"
#include "orchd/vm/vm_step.h"
#include "tests/orchd/vm_played.h"
#include "tests/suite/t.h"

int64_t wall_ns;

int64_t
clock_us(void)
{
	return 0;
}

int64_t
clock_ms(void)
{
	return 0;
}

int64_t
clock_wall_ns(void)
{
	return wall_ns;
}

char asked[256];
int refuse;

static void
note(const char *what, const char *name)
{
	size_t n = strlen(asked);

	(void)snprintf(asked + n, sizeof(asked) - n, "%s%s%s%s",
	    n > 0 ? " " : "", what, *name != '\0' ? ":" : "", name);
}

#define SEND(fn, what)                             \
	static int fn(struct part *p, uint64_t id) \
	{                                          \
		(void)id;                          \
		note((what), p->kind->name);       \
		return refuse;                     \
	}
SEND(send_make, "make")
SEND(send_adopt, "adopt")
SEND(send_stop, "stop")
SEND(send_release, "release")

static int
send_start(struct part *p, uint64_t id)
{
	unsigned int i;

	for (i = 0; i < p->vm->nparts; i++) {
		if (p->vm->part[i].state == PART_READY)
			p->vm->part[i].state = PART_USED;
	}
	p->state = PART_USED;
	return send_make(p, id);
}

static int
send_stop_noted(struct part *p, uint64_t id)
{
	p->stopping = true;
	return send_stop(p, id);
}

unsigned int forgotten;

static void
forget(struct part *p)
{
	(void)p;
	forgotten++;
}

#define THING(n)                                                 \
	{                                                        \
		.name = (n), .link = LINK_NET, .gate = GATE_NET, \
		.gone = -EPERM, .forget = forget, .send = {      \
			[ASK_MAKE] = send_make,                  \
			[ASK_ADOPT] = send_adopt,                \
			[ASK_RELEASE] = send_release,            \
		}                                                \
	}
const struct part_kind kinds[] = { THING("tap"), THING("disk"),
	{ .name = "jail",
	    .link = LINK_LAUNCH,
	    .gate = GATE_LAUNCH,
	    .is_life = true,
	    .send = { [ASK_MAKE] = send_start,
		[ASK_STOP] = send_stop_noted,
		[ASK_RELEASE] = send_release } } };

static const struct part_kind *const parts[] = { &kinds[0], &kinds[1],
	&kinds[2] };

bool listed;

bool
link_all_listed(const struct orchd *orchd)
{
	(void)orchd;
	return listed;
}

void
link_launch_spec(struct vm *to)
{
	(void)to;
	note("spec", "");
}

/* --- the store --- */

struct txn {
	void (*done)(void *arg, int r);
	void *arg;
};

struct txn *
txn_new(struct store *s, void (*done)(void *arg, int r), void *arg)
{
	struct txn *t = malloc(sizeof(*t));

	(void)s;
	if (t == NULL)
		abort();
	t->done = done;
	t->arg = arg;
	return t;
}

void
txn_free(struct txn *t)
{
	free(t);
}

void
txn_commit(struct txn *t)
{
	t->done(t->arg, 0);
	free(t);
}

int
idem_use(struct orchd *orchd, const struct idem_row *row)
{
	(void)orchd;
	(void)row;
	return 0;
}

bool
idem_put(struct orchd *orchd, struct txn *t, const struct idem_row *row,
    struct idem_row *old)
{
	(void)orchd;
	(void)t;
	(void)row;
	(void)old;
	return false;
}

void
idem_forget(struct orchd *orchd, const struct idem_row *row)
{
	(void)orchd;
	(void)row;
}

static const char *
title(const struct object *obj)
{
	(void)obj;
	return "v";
}

static int
save(struct txn *t, const struct object *obj, enum write_op op)
{
	(void)t;
	(void)obj;
	if (op == WRITE_DEL)
		note("delete", "");
	return 0;
}

static uint64_t
event(struct txn *t, const struct object *obj, const struct note *n)
{
	(void)t;
	(void)obj;
	note("event", event_type_names[n->type]);
	return 1;
}

/* As long as anybody waits for it. */
static uint64_t
patience_ms(const struct object *obj, uint32_t what)
{
	(void)obj;
	t_eq(what, FOR_STOPPED);
	return 500000;
}

const struct object_kind kind = { .name = "vm",
	.patience_ms = patience_ms,
	.row = offsetof(struct vm, row),
	.rowlen = sizeof(struct vm_row),
	.title = title,
	.save = save,
	.event = event,
	.converge = vm_converge };

struct orchd o;
static struct tenant tenant;
struct vm *vm;

static long blocks;

/* turns() has them instead. */
static void
on_turn(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

void
begin(enum vm_state s)
{
	unsigned int i;

	log_init("vm", LOG_ERROR);
	memset(&o, 0, sizeof(o));
	blocks = t_live();
	o.base = event_base_new();
	TAILQ_INIT(&o.objects.woken);
	TAILQ_INIT(&o.vms.list);
	for (i = 0; i < GATES; i++) {
		gate_init(&o.gate[i], GATE_LAUNCH_MAX);
		line_init(&o.host[i], NULL);
		line_init(&tenant.line[i], &tenant.want.weight);
	}
	o.objects.turn = event_new(o.base, -1, 0, on_turn, NULL);
	listed = true;
	refuse = 0;
	ev = (struct ev){ .fail_new = 0 };
	asked[0] = '\0';
	forgotten = 0;
	if ((vm = vm_new(&o, &kind, parts, nitems(parts))) == NULL)
		abort();
	vm->obj.tenant = &tenant;
	vm->obj.life = OBJECT_STORED;
	vm->row.state = s;
}

void
end(void)
{
	vm_free(vm);
	event_free(o.objects.turn);
	event_base_free(o.base);
	t_eq(t_live(), blocks);
}

void
turns(void)
{
	int i;

	for (i = 0; i < 8; i++) {
		write_settle(&vm->obj);
		if (vm->obj.life == OBJECT_STORED && object_settled(&vm->obj))
			vm_converge(&vm->obj);
		write_send(&vm->obj);
	}
}

void
answer(unsigned int i, int r)
{
	struct part *p = &vm->part[i];

	t_true(part_by_ask(&o, p->ask_id) == p);
	if (r == 0 && p->ask == ASK_MAKE && !p->kind->is_life)
		p->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	part_answered(p, r, "because");
}
