#include <stdio.h>

#include "common/clock.h"
#include "common/cur.h"
#include "common/log.h"
#include "orchd/orchd.h"
#include "orchd/text.h"
#include "orchd/vm/event.h"
#include "orchd/vm/vm.h"

#define EVENT_WIRE_MAX 6144

uint64_t
event_vm(struct txn *t, const struct vm *vm, const struct note *n)
{
	struct orchd *o = vm->obj.orchd;
	struct event_row row = { .tenant = vm->row.tenant };
	uint8_t buf[EVENT_WIRE_MAX];
	struct event_view ev = { 0 };
	struct wcur w;

	row.seq = ++o->tenant.last_seq;
	row.at_ns = clock_wall_ns();
	ev.type = n->type;
	ev.status = n->status;
	(void)snprintf(ev.name, sizeof(ev.name), "%s", vm->row.name);
	text_ipv4(vm->row.ipv4, ev.ip_address, sizeof(ev.ip_address));
	text_mac(vm->row.mac, ev.mac_address, sizeof(ev.mac_address));
	ev.pid = (int32_t)vm->run.pid; /* checked where it came from */
	ev.timestamp = row.at_ns;
	text_clean(ev.message, sizeof(ev.message),
	    n->why != NULL ? n->why : vm->row.detail);
	ev.uid = vm->row.uid;
	ev.seq = (int64_t)row.seq;
	wcur_init(&w, buf, sizeof(buf));
	if (table_pack(&event_table, &ev, &w) < 0) {
		log_error("vm %s: event %s does not fit", vm->row.name,
		    event_type_names[n->type]);
		return row.seq;
	}
	row.body = buf;
	row.len = w.used;
	txn_event(t, &row);
	return row.seq;
}
