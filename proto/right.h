#ifndef MEWS_RIGHT_H
#define MEWS_RIGHT_H

#include <stdint.h>

#include "proto/api.h"
#include "proto/launch.h"
#include "proto/objects.h"

/*
 * Who may ask for what: the one table of it.  Routes are rows that point here,
 * orchd checks by it, the API's description and docs/api.md say it; a route or
 * a verb that has no row here does not build.
 */
enum right_of {
	OF_ANYBODY, /* a stranger, too */
	OF_CALLER, /* who is in some tenant, as that or more */
	OF_CHOSEN, /* in the tenant that the request chooses */
	OF_NAMED, /* in the tenant that the path names */
};

enum right_does { READS, ACTS };

/* verb, kind of stream, in which tenant, the least role there; ACTS: the audit
 * trail tells of it, also when it was let */
#define API_RIGHTS(R)                                                          \
	R(HEALTH, 0, 0, OF_ANYBODY, TENANT_NONE, READS)                        \
	R(OPENAPI, 0, 0, OF_CALLER, TENANT_VIEWER, READS)                      \
	R(VM_LIST, API_VM_LIST, 0, OF_CHOSEN, TENANT_VIEWER, READS)            \
	R(VM_GET, API_VM_GET, 0, OF_CHOSEN, TENANT_VIEWER, READS)              \
	R(VM_CREATE, API_VM_CREATE, 0, OF_CHOSEN, TENANT_OPERATOR, ACTS)       \
	R(VM_DELETE, API_VM_DELETE, 0, OF_CHOSEN, TENANT_OPERATOR, ACTS)       \
	R(VM_START, API_VM_START, 0, OF_CHOSEN, TENANT_OPERATOR, ACTS)         \
	R(VM_STOP, API_VM_STOP, 0, OF_CHOSEN, TENANT_OPERATOR, ACTS)           \
	R(VM_RENAME, API_VM_RENAME, 0, OF_CHOSEN, TENANT_OPERATOR, ACTS)       \
	R(EXEC, API_STREAM, STREAM_EXEC, OF_CHOSEN, TENANT_OPERATOR, ACTS)     \
	R(SIGNAL, API_STREAM, STREAM_SIGNAL, OF_CHOSEN, TENANT_OPERATOR, ACTS) \
	R(CONSOLE, API_STREAM, STREAM_CONSOLE, OF_CHOSEN, TENANT_OPERATOR,     \
	    ACTS)                                                              \
	R(CONSOLE_LOG, API_STREAM, STREAM_CONSOLE_LOG, OF_CHOSEN,              \
	    TENANT_VIEWER, READS)                                              \
	R(VMM_LOG, API_STREAM, STREAM_VMM_LOG, OF_CHOSEN, TENANT_VIEWER,       \
	    READS)                                                             \
	R(EVENTS, API_EVENTS, 0, OF_CHOSEN, TENANT_VIEWER, READS)              \
	R(DOCTOR, API_DOCTOR, 0, OF_CALLER, TENANT_VIEWER, READS)              \
	R(AUDIT, API_AUDIT, 0, OF_CHOSEN, TENANT_ADMIN, READS)                 \
	R(TENANT_LIST, API_TENANT_LIST, 0, OF_CALLER, TENANT_VIEWER, READS)    \
	R(TENANT_GET, API_TENANT_GET, 0, OF_NAMED, TENANT_VIEWER, READS)       \
	R(TENANT_CREATE, API_TENANT_CREATE, 0, OF_CALLER, TENANT_HOST, ACTS)   \
	R(TENANT_CHANGE, API_TENANT_CHANGE, 0, OF_NAMED, TENANT_ADMIN, ACTS)   \
	R(TENANT_DELETE, API_TENANT_DELETE, 0, OF_NAMED, TENANT_HOST, ACTS)    \
	R(ORPHAN_LIST, API_ORPHAN_LIST, 0, OF_CALLER, TENANT_HOST, READS)      \
	R(ORPHAN_ADOPT, API_ORPHAN_ADOPT, 0, OF_CHOSEN, TENANT_HOST, ACTS)     \
	R(ORPHAN_DELETE, API_ORPHAN_DELETE, 0, OF_CALLER, TENANT_HOST, ACTS)   \
	R(STORE_BACKUP, API_STORE_BACKUP, 0, OF_CALLER, TENANT_HOST, ACTS)

#define RIGHT_NUMBER(name, verb, kind, of, role, acts) RIGHT_##name,
enum right_number { API_RIGHTS(RIGHT_NUMBER) RIGHTS };

struct right {
	uint32_t verb; /* enum api_msg; 0: apid answers by itself */
	uint32_t stream; /* API_STREAM: enum launch_stream_kind */
	enum right_of of;
	enum tenant_role role; /* at least */
	enum right_does does;
	const char *name; /* VM_CREATE */
};
extern const struct right api_rights[RIGHTS];

/* That of a verb; NULL: nobody may. */
const struct right *right_find(uint32_t verb, uint32_t stream);

#endif
