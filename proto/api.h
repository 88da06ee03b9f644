#ifndef MEWS_API_H
#define MEWS_API_H

#include <stdint.h>

#include "common/share.h"

/*
 * apid <-> orchd.  apid holds no right (I1): every request names a
 * connection that orchd accepted and identified, and orchd decides.
 * A connection has at most one request under way, as HTTP/1.1 has.
 */
enum api_msg {
	/* orchd -> apid */
	API_CONN = 0x0201, /* api_caller + the accepted socket */
	API_GONE = 0x0202, /* api_conn: the peer hung up, or was shut down */
	API_RES = 0x0203, /* api_res [+ document or descriptor] */
	/* apid -> orchd */
	API_CLOSED = 0x0210, /* api_conn: apid is done with the connection;
				a request under way is forgotten */
	API_VM_LIST = 0x0211, /* tail: vm_query */
	API_VM_GET = 0x0212, /* var: the VM */
	API_VM_CREATE = 0x0213, /* key; tail: vm_create */
	API_VM_DELETE = 0x0214, /* var, key */
	API_VM_START = 0x0215, /* var, key */
	API_VM_STOP = 0x0216, /* var, key; tail: vm_stop, or none */
	API_STREAM = 0x0217, /* var, kind, flags, since_ns -> API_RES 101 +
				socket */
	API_EVENTS = 0x0218, /* after, flags: -> API_RES with the next events,
				once there are any; how apid paces a slow
				reader.  API_AT_ONCE, when it begins: now,
				also with none */
	API_DOCTOR = 0x0219, /* -> checks of this host */
	API_VM_RENAME = 0x021a, /* var, key; tail: vm_rename */
	API_TENANT_LIST = 0x021b, /* those that the caller is in */
	API_TENANT_GET = 0x021c, /* var: the tenant */
	API_TENANT_CREATE = 0x021d, /* key; tail: tenant_create */
	API_TENANT_CHANGE = 0x021e, /* var, key; tail: tenant_change */
	API_TENANT_DELETE = 0x021f, /* var, key; tail: tenant_delete, or none */
};

struct api_conn {
	uint64_t conn; /* 64 bits, never reused, never 0 */
};

/* Who is at the other end of a connection, as the kernel said at accept. */
enum api_role { ROLE_NONE, ROLE_USER, ROLE_ADMIN };

/* For a caller without one. */
#define API_NOT_LISTED                                         \
	"access denied: your user is not listed in mews.conf " \
	"(users, admins), and is in no tenant"

/* apid shares out what it has by that; what a caller may do orchd decides. */
struct api_caller {
	uint64_t conn;
	uint32_t uid;
	uint32_t role; /* enum api_role */
	uint32_t share; /* enum share_kind */
	uint32_t pad;
};

#define API_VARS_MAX 2 /* variables of a path */
#define API_NAME_MAX 64 /* one: a name or the beginning of a uid; its NUL */
#define API_KEY_MAX 128 /* Idempotency-Key, with its NUL */

struct api_req {
	uint64_t conn;
	uint64_t after; /* EVENTS: sequence already seen; API_NOW: from now */
	int64_t since_ns; /* STREAM of a log: as in launch_log */
	uint32_t kind; /* STREAM: enum launch_stream_kind */
	uint32_t flags; /* of the verb: STREAM_FOLLOW; EVENTS: API_AT_ONCE */
	char var[API_VARS_MAX][API_NAME_MAX]; /* of the path, in its order; ""
						 behind the last */
	char key[API_KEY_MAX]; /* "" when none was sent */
	char tenant[API_NAME_MAX]; /* chosen by the caller; "": none was */
};
#define API_NOW UINT64_MAX
#define API_AT_ONCE 1U

/* Documents longer than this travel as a sealed memfd. */
#define API_TAIL_MAX 8192
/* And no document is longer than this: a list of all VMs fits. */
#define API_DOC_MAX 8388608UL

struct api_res {
	uint64_t conn;
	uint32_t status; /* HTTP status */
	uint32_t doc; /* enum api_doc: what the tail or memfd holds */
	uint64_t total; /* LIST: after filtering, before paging; EVENTS: 0, or
			   those up to this number less 1 are missing: they
			   are kept no more, or the reader's number is one
			   that was never given */
	uint64_t last; /* EVENTS: sequence of the last one given, or that
			  the reader is at when there is none */
};

/*
 * Documents: objects in their tables' wire form; of which table, the verb
 * says that was asked.  A list is { u32 count, then per item u32 length and
 * that many bytes }, host order; event items begin with their u64 sequence
 * number.
 */
enum api_doc {
	API_DOC_NONE = 0, /* 204, or a stream's 101 */
	API_DOC_ERROR = 1, /* text for {"error": ...}, no NUL */
	API_DOC_OBJECT = 2,
	API_DOC_LIST = 3,
	API_DOC_EVENTS = 4, /* list of seq + event */
	API_DOC_MAX_KIND = 4
};

int api_conn_check(const void *p);
int api_caller_check(const void *p);
int api_req_check(const void *p);
int api_res_check(const void *p);

#endif
