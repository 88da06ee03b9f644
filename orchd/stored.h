#ifndef MEWS_STORED_H
#define MEWS_STORED_H

#include "proto/table.h"

/*
 * The objects that store.db holds whole, each with the version it is written
 * in and the steps from older ones (proto/table.h).  tests/golden/stored.txt
 * holds what they were when the version was last raised: a table that changes
 * is a new version, and `make golden` adds its line.
 */
extern const struct stored stored_request; /* struct vm_create; vm.request */
extern const struct stored stored_tenant; /* struct tenant_spec; tenant.spec */
extern const struct stored stored_audit; /* struct audit_entry; audit.entry */
extern const struct stored stored_event; /* struct event_view; event.body */

#endif
