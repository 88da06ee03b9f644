#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"
#include "orchd/stored.h"
#include "orchd/text.h"
#include "orchd/vm/event.h"
#include "orchd/vm/vm.h"
#include "proto/jbuf.h"

/* What it is called at that moment: of a rename in the same transaction, all
 * that comes before it has the old name. */
static void
put_names(const struct vm *vm, const struct note *n, struct event_view *ev)
{
	const bool renamed = vm->rename[0] != '\0' &&
	    !write_follows(&vm->obj, n, EVENT_VM_RENAMED);

	(void)snprintf(ev->name, sizeof(ev->name), "%s",
	    renamed ? vm->rename : vm->row.name);
	if (n->type == EVENT_VM_RENAMED)
		(void)snprintf(
		    ev->old_name, sizeof(ev->old_name), "%s", vm->row.name);
}

uint64_t
event_vm(struct txn *t, const struct vm *vm, const struct note *n)
{
	struct event_row row = { .tenant = vm->row.tenant };
	struct event_view ev = { 0 };
	struct jbuf b;
	struct err e = { 0 };

	row.seq = ++vm->obj.tenant->row.last_seq;
	row.at_ns = clock_wall_ns();
	ev.type = n->type;
	ev.status = n->status;
	put_names(vm, n, &ev);
	text_ipv4(vm->row.ipv4, ev.ip_address, sizeof(ev.ip_address));
	text_mac(vm->row.mac, ev.mac_address, sizeof(ev.mac_address));
	ev.pid = (int32_t)vm->run.pid; /* checked where it came from */
	ev.timestamp = row.at_ns;
	if (n->type == EVENT_VM_RENAMED)
		(void)snprintf(ev.message, sizeof(ev.message),
		    "vm renamed: it was %s", ev.old_name);
	else
		text_clean(ev.message, sizeof(ev.message),
		    n->why != NULL ? n->why : vm->row.detail);
	ev.uid = vm->row.vmid;
	ev.seq = (int64_t)row.seq;
	jbuf_init(&b, TABLE_JSON_MAX);
	if (table_store(&stored_event, &ev, &b, &e) == 0) {
		row.body =
		    (struct store_doc){ b.p, b.len, stored_event.version };
		txn_event(t, &row);
	} else {
		log_error("vm %s: event %s: %s", vm->row.name,
		    event_type_names[n->type], e.msg);
	}
	jbuf_free(&b);
	return row.seq;
}
