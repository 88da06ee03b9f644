#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <string.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/link/link.h"
#include "orchd/link/link_net.h"
#include "orchd/orchd.h"
#include "orchd/text.h"
#include "orchd/vm/part.h"
#include "orchd/vm/vm.h"
#include "proto/net.h"

#define ENSURE_S 300
#define ALL_ASKS (ASKED(ASK_MAKE) | ASKED(ASK_ADOPT) | ASKED(ASK_RELEASE))

/* --- asks --- */

static int
tap_open(struct part *p, uint64_t id, uint16_t flags)
{
	const struct vm_row *row = &p->vm->row;
	struct net_tap req = { .vm = row->vmid,
		.slot = (uint16_t)row->slot,
		.nic = (uint16_t)p->index,
		.ipv4 = htonl(row->ipv4),
		.flags = flags };

	memcpy(req.mac, row->mac, sizeof(req.mac));
	return link_send(p->vm->obj.orchd, LINK_NET, NET_TAP_OPEN, id, &req,
	    sizeof(req), -1);
}

static int
tap_make(struct part *p, uint64_t id)
{
	return tap_open(p, id, 0);
}

static int
tap_adopt(struct part *p, uint64_t id)
{
	return tap_open(p, id, NET_ADOPT);
}

static int
tap_release(struct part *p, uint64_t id)
{
	const struct net_tap_close req = { .vm = p->vm->row.vmid,
		.slot = (uint16_t)vm_slot(p->vm),
		.nic = (uint16_t)p->index };

	fd_close(&p->fd);
	return link_send(p->vm->obj.orchd, LINK_NET, NET_TAP_CLOSE, id, &req,
	    sizeof(req), -1);
}

static uint64_t
tap_mac(const struct part *p)
{
	return machine_mac(p->vm->row.mac);
}

const struct part_kind link_net_tap = {
	.name = "tap",
	.link = LINK_NET,
	.gate = GATE_NET,
	.dev = DEV_NIC,
	.num = tap_mac,
	.gone = -EPERM, /* another VM's by now */
	.send = { [ASK_MAKE] = tap_make,
	    [ASK_ADOPT] = tap_adopt,
	    [ASK_RELEASE] = tap_release },
};

static void
on_ensure(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	link_net_ensure(arg);
}

void
link_net_ensure(struct orchd *o)
{
	const struct timeval tv = { .tv_sec = ENSURE_S };

	if (o->ensure == NULL)
		o->ensure = evtimer_new(o->base, on_ensure, o);
	if (o->ensure != NULL)
		(void)event_add(o->ensure, &tv);
	if (!o->link[LINK_NET].listed ||
	    link_send(o, LINK_NET, NET_ENSURE, ++o->last_ask, NULL, 0, -1) < 0)
		return;
	o->net.ask = o->last_ask;
	o->net.asked_ms = clock_ms();
}

/* --- answers --- */

static int
on_tap_ready(void *arg, struct chan *c, struct msg *m)
{
	struct net_tap_ready rdy;
	struct part *p;
	int r;

	(void)c;
	memcpy(&rdy, m->data, sizeof(rdy));
	r = link_asker(arg, LINK_NET, m->id, rdy.vm,
	    ASKED(ASK_MAKE) | ASKED(ASK_ADOPT), &p);
	if (r < 0 || p == NULL)
		return r;
	if (p->ask == ASK_MAKE) {
		if (m->fd < 0) {
			part_answered(p, -EBADF, "netd sent no tap");
			return 0;
		}
		fd_close(&p->fd);
		p->fd = m->fd;
		m->fd = -1;
	}
	part_answered(p, 0, "");
	return 0;
}

/* True: it is the answer to link_net_ensure(); what was wrong, or NULL. */
static bool
looked(struct orchd *o, uint64_t id, const struct net_err *err)
{
	struct net_look *l = &o->net;

	if (l->ask != id)
		return false;
	l->ask = 0;
	l->took_ms = clock_ms() - l->asked_ms;
	l->is_known = true;
	l->is_wrong = err != NULL;
	l->is_uplink = err != NULL && (err->flags & NET_ERR_UPLINK) != 0;
	text_clean(l->why, sizeof(l->why), err != NULL ? err->msg : "");
	return true;
}

static int
on_done(void *arg, struct chan *c, struct msg *m)
{
	struct part *p;
	int r;

	(void)c;
	if (looked(arg, m->id, NULL))
		return 0;
	r = link_asker(arg, LINK_NET, m->id, 0, ASKED(ASK_RELEASE), &p);
	if (r == 0 && p != NULL)
		part_answered(p, 0, "");
	return r;
}

static int
on_err(void *arg, struct chan *c, struct msg *m)
{
	struct net_err err;
	struct part *p;
	int r;

	(void)c;
	memcpy(&err, m->data, sizeof(err));
	if (looked(arg, m->id, &err)) {
		log_warn("netd: %s", err.msg);
		return 0;
	}
	if ((r = link_asker(arg, LINK_NET, m->id, 0, ALL_ASKS, &p)) < 0)
		return r;
	if (p != NULL)
		part_answered(p, err.code < 0 ? err.code : -EIO, err.msg);
	else
		log_warn("netd: %s", err.msg);
	return 0;
}

/* --- what it holds --- */

/* A tap that no VM has a part for must go. */
static void
close_stranger(struct orchd *o, const struct net_tap *tap)
{
	const struct net_tap_close req = {
		.vm = tap->vm, .slot = tap->slot, .nic = tap->nic
	};

	log_warn("netd holds tap %u of %016llx, which has none", tap->nic,
	    (unsigned long long)tap->vm);
	(void)link_send(
	    o, LINK_NET, NET_TAP_CLOSE, ++o->last_ask, &req, sizeof(req), -1);
}

/* What a row that is broken, or none, does not say. */
static void
held(struct vm *vm, const struct net_tap *tap)
{
	vm_held_at(vm, tap->slot);
	if (vm->row.ipv4 == 0)
		vm->row.ipv4 = ntohl(tap->ipv4);
	if (vm->orphan.is)
		memcpy(vm->row.mac, tap->mac, sizeof(vm->row.mac));
}

static int
on_held(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;
	int i, n = net_held_count(m->len);

	(void)c;
	if (n < 0)
		return n;
	for (i = 0; i < n; i++) {
		struct part *p;
		struct net_tap tap;
		struct vm *vm;

		memcpy(&tap, (const uint8_t *)m->data + (size_t)i * sizeof(tap),
		    sizeof(tap));
		if ((vm = vm_by_vmid(o, tap.vm)) == NULL &&
		    (vm = orphan_of(o, tap.vm)) == NULL)
			continue;
		if ((p = link_part(vm, &link_net_tap, tap.nic)) == NULL) {
			close_stranger(o, &tap);
			continue;
		}
		held(vm, &tap);
		p->listed = p->adopt = true;
	}
	return 0;
}

static int
on_list_end(void *arg, struct chan *c, struct msg *m)
{
	struct orchd *o = arg;

	(void)c;
	(void)m;
	o->net.is_known = false;
	link_listed(arg, LINK_NET);
	link_net_ensure(arg);
	return 0;
}

static const struct msg_handler handlers[] = {
	{ NET_TAP_READY, sizeof(struct net_tap_ready), 0, FD_OPT, PH_ANY,
	    net_tap_ready_check, on_tap_ready },
	{ NET_DONE, 0, 0, 0, PH_ANY, NULL, on_done },
	{ NET_ERR, sizeof(struct net_err), 0, 0, PH_ANY, net_err_check,
	    on_err },
	{ NET_HELD, sizeof(struct net_tap),
	    (NET_HELD_MAX - 1) * sizeof(struct net_tap), 0, PH_LISTING, NULL,
	    on_held },
	{ NET_LIST_END, sizeof(struct net_list_end), 0, 0, PH_LISTING,
	    net_list_end_check, on_list_end },
};
const struct link_row link_net = { .id = LINK_NET,
	.room = ROOM_NETD,
	.list = NET_LIST,
	.missing = "the network helper is not there",
	.ops = { handlers, nitems(handlers), link_gone } };
