#include <errno.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/link/link.h"
#include "orchd/orchd.h"
#include "orchd/vm/alloc.h"
#include "orchd/vm/part.h"
#include "orchd/vm/vm.h"

/* What a helper's parts are told of it. */
static void
each_part(struct orchd *o, enum link_id id, void (*fn)(struct part *))
{
	struct vm *vm;
	unsigned int i;

	TAILQ_FOREACH (vm, &o->vms.list, entry) {
		for (i = 0; i < vm->nparts; i++) {
			if (vm->part[i].kind->link == id)
				fn(&vm->part[i]);
		}
	}
}

static struct link *
link_of(struct orchd *o, const struct chan *c)
{
	size_t i;

	for (i = 0; i < nitems(o->link); i++) {
		if (o->link[i].chan == c)
			return &o->link[i];
	}
	return NULL;
}

void
link_close(struct link *l)
{
	chan_free(l->chan);
	l->chan = NULL;
	l->listed = false;
}

void
link_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct orchd *o = arg;
	struct link *l = link_of(o, c);
	uint32_t room;

	if (l == NULL)
		return;
	room = l->row->room;
	log_warn("%s: %s", room_name(room), why);
	boot_ended(o->parent, room, o->life[room], end);
	link_close(l);
	each_part(o, l->row->id, part_lost);
	if (l->row->lost != NULL)
		l->row->lost(o);
}

void
link_open(struct orchd *o, struct link *l, int sock)
{
	const struct link_row *row = l->row;

	if (l->chan != NULL)
		link_gone(o, l->chan, CHAN_REPLACED, "replaced");
	each_part(o, row->id, part_lost);
	l->listed = false;
	l->chan = chan_new(o->base, sock, room_name(row->room), &row->ops, o);
	if (l->chan == NULL) {
		log_error("%s: no channel", room_name(row->room));
		return;
	}
	chan_set_phase(l->chan, PH_LISTING);
	if (link_send(o, row->id, row->list, ++o->last_ask, NULL, 0, -1) < 0)
		log_error("%s: no channel", room_name(row->room));
}

bool
link_all_listed(const struct orchd *o)
{
	size_t i;

	for (i = 0; i < nitems(o->link); i++) {
		if (!o->link[i].listed)
			return false;
	}
	return true;
}

const char *
link_missing(const struct orchd *o)
{
	size_t i;

	/* the last first: what a VM that does not move lacks is mostly it */
	for (i = nitems(o->link); i-- > 0;) {
		if (!o->link[i].listed)
			return o->link[i].row->missing;
	}
	return NULL;
}

void
link_listed(struct orchd *o, enum link_id id)
{
	struct link *l = &o->link[id];
	struct vm *vm;

	l->listed = true;
	chan_set_phase(l->chan, PH_LISTED);
	each_part(o, id, part_listed);
	if (link_all_listed(o))
		alloc_make_way(o);
	TAILQ_FOREACH (vm, &o->vms.list, entry)
		object_wake(&vm->obj);
}

int
link_asker(struct orchd *o, enum link_id id, uint64_t ask, uint64_t vmid,
    unsigned int asks, struct part **ret)
{
	struct part *p = part_by_ask(o, ask);

	*ret = p;
	if (p == NULL)
		return 0;
	if (RULE(HELPER_OWN_ASK) &&
	    (p->kind->link != id || (asks & ASKED(p->ask)) == 0 ||
		(vmid != 0 && vmid != p->vm->row.vmid)))
		return -EPERM;
	return 0;
}

int
link_send(struct orchd *o, enum link_id id, uint32_t type, uint64_t ask,
    const void *data, size_t len, int fd)
{
	if (o->link[id].chan == NULL) {
		fd_close(&fd);
		return -EPIPE;
	}
	return chan_send(o->link[id].chan, type, ask, data, len, fd);
}

int
link_send2(struct orchd *o, enum link_id id, uint32_t type, uint64_t ask,
    const void *head, size_t headlen, const void *tail, size_t taillen)
{
	if (o->link[id].chan == NULL)
		return -EPIPE;
	return chan_send2(
	    o->link[id].chan, type, ask, head, headlen, tail, taillen, -1);
}

struct part *
link_part(struct vm *vm, const struct part_kind *kind, uint32_t index)
{
	unsigned int i;

	for (i = 0; i < vm->nparts; i++) {
		if (vm->part[i].kind == kind && vm->part[i].index == index)
			return &vm->part[i];
	}
	return NULL;
}
