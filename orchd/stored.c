#include "orchd/stored.h"
#include "proto/objects.h"

/* 2: nobody told the guest of an API; 3: whose it is, and whether for now; 4:
 * whether it was an orphan */
static const struct stored_step request_steps[] = {
	{ 1, &vm_create_table, "api_host", NULL, NULL },
	{ 1, &vm_create_table, "api_port", NULL, NULL },
	{ 0 },
};
const struct stored stored_request = { &vm_create_table, 4, request_steps };
/* 2: its weight */
const struct stored stored_tenant = { &tenant_spec_table, 2, NULL };
const struct stored stored_audit = { &audit_entry_table, 1, NULL };
/* 2: a status more; 3: VM_RENAMED */
const struct stored stored_event = { &event_table, 3, NULL };
