#ifndef MEWS_OBJECTS_H
#define MEWS_OBJECTS_H

#include "common/name.h"
#include "proto/table.h"

/*
 * The API's objects and their tables.  Keys, their order and presence are
 * Volant's where Volant has the object; ours come after them.
 */

/* Index of vm_status_names; the numbers are also the store's. */
enum vm_status {
	VM_STATUS_NONE, /* "": only in events */
	VM_STATUS_PENDING,
	VM_STATUS_STARTING,
	VM_STATUS_RUNNING,
	VM_STATUS_STOPPED,
	VM_STATUS_CRASHED,
	VM_STATUS_PAUSED,
	VM_STATUS_STOPPING,
	VM_STATUS_CREATED,
	VM_STATUS_DELETING,
	VM_STATUS_BROKEN, /* its row in the store cannot be read */
	VM_STATUS_COUNT,
};
extern const char *const vm_status_names[];

enum vm_accel { VM_ACCEL_NONE, VM_ACCEL_KVM, VM_ACCEL_TCG };
extern const char *const vm_accel_names[];
extern const char *const vm_hypervisor_names[]; /* by enum machine_backend */

#define VM_CPUS_MAX 512
#define VM_MEMORY_MB_MAX 16777216
#define CMDLINE_EXTRA_MAX 2048 /* what a request may add */
#define CMDLINE_MAX 3071 /* ours and the addition */
#define ENV_MAX 256
#define ENV_BYTES_MAX 65536
/* Of a command; what carries all of it has a limit of its own (ward.h). */
#define CMD_MAX 16384 /* words */
#define CMD_BYTES_MAX 262144
#define CMD_ENV_BYTES_MAX 262144
#define CMD_WORD_MAX 131071 /* Linux' own: MAX_ARG_STRLEN, less its NUL */

/* What was read back from a running hypervisor (I12). */
struct vm_confinement {
	uint64_t has;
	bool verified;
	uint16_t seccomp_filters;
	char cgroup[16];
	uint32_t vsock_cid;
};
enum {
	VM_CONFINEMENT_VERIFIED,
	VM_CONFINEMENT_SECCOMP_FILTERS,
	VM_CONFINEMENT_CGROUP,
	VM_CONFINEMENT_VSOCK_CID
};

struct vm_view {
	uint64_t has; /* matters for VM_EXIT_STATUS and VM_CONFINEMENT */
	int64_t id; /* per tenant, as Volant counts */
	char name[NAME_LEN_MAX + 1];
	uint8_t status; /* enum vm_status */
	char runtime[129];
	int32_t pid;
	char ip_address[16];
	char mac_address[18];
	uint32_t cpu_cores;
	uint32_t memory_mb;
	char kernel_cmdline[CMDLINE_MAX + 1];
	char serial_socket[256];
	int64_t created_at;
	int64_t updated_at;
	uint64_t uid;
	char image[256];
	char tenant[NAME_LEN_MAX + 1];
	bool ready;
	char reason[256];
	int32_t exit_status;
	uint8_t accel; /* enum vm_accel */
	struct vm_confinement confinement;
	bool temporary;
	uint8_t hypervisor; /* enum machine_backend; 0: not known */
	bool adopted;
};
/* Field numbers, for `has`; the unit test holds them against the table. */
enum { VM_EXIT_STATUS = 18, VM_CONFINEMENT = 20 };

/*
 * POST /api/v1/vms.  cpu_cores and memory_mb <= 0 mean the default, as in
 * Volant; which of plugin and image is needed is orchd's business.
 */
struct vm_create {
	uint64_t has;
	char name[NAME_LEN_MAX + 1];
	char plugin[129];
	char image[256];
	char runtime[129];
	int32_t cpu_cores;
	int32_t memory_mb;
	char kernel_cmdline[CMDLINE_EXTRA_MAX + 1];
	struct strs env;
	char hostname[NAME_LEN_MAX + 1];
	bool temporary;
	uint32_t
	    owner; /* on the wire and stored: orchd's, whatever apid says */
	bool adopted; /* likewise: it was an orphan */
};

/* GET /api/v1/vms/NAME/console-log?..., vmm-log?... */
struct log_query {
	uint64_t has;
	uint8_t follow;
	char since[64]; /* as in common/when.h */
};

/* POST /api/v1/vms/NAME/rename */
struct vm_rename {
	uint64_t has;
	char name[NAME_LEN_MAX + 1];
};

/* Index of vm_sort_names; created_at is what anything unknown means. */
enum vm_sort {
	VM_SORT_CREATED_AT,
	VM_SORT_NAME,
	VM_SORT_STATUS,
	VM_SORT_RUNTIME,
	VM_SORT_UPDATED_AT,
};
extern const char *const vm_sort_names[];

enum vm_order { VM_ORDER_ASC, VM_ORDER_DESC };

/* GET /api/v1/vms?...: `has` tells a parameter from its absence. */
struct vm_query {
	uint64_t has;
	uint32_t status; /* bit per enum vm_status; given and 0: none match */
	char runtime[129];
	char plugin[129];
	char q[129];
	uint32_t limit;
	uint32_t offset;
	uint8_t sort; /* enum vm_sort */
	uint8_t order; /* enum vm_order */
};
enum {
	VM_QUERY_STATUS,
	VM_QUERY_RUNTIME,
	VM_QUERY_PLUGIN,
	VM_QUERY_Q,
	VM_QUERY_LIMIT,
	VM_QUERY_OFFSET,
	VM_QUERY_SORT,
	VM_QUERY_ORDER
};

/* POST /api/v1/vms/NAME/stop?...: how long its guest has. */
#define STOP_TIMEOUT_MAX_S 3600
struct vm_stop {
	uint64_t has;
	uint32_t timeout; /* seconds */
};
enum { VM_STOP_TIMEOUT };

/* POST /api/v1/vms/NAME/kill, and the same to the agent. */
struct vm_signal {
	uint64_t has;
	uint8_t signal; /* its number: index of signal_names */
};
extern const char *const signal_names[];
#define SIGNALS_MAX 31 /* Linux' own, all but those of real time */

/* How many commands have got it. */
struct vm_signalled {
	uint64_t has;
	uint32_t signalled;
};

struct exec_request {
	uint64_t has;
	struct strs cmd;
	struct strs env;
	char cwd[1024];
	bool tty;
	bool stdin;
	char user[128]; /* USER or USER:GROUP; "": root */
	bool detach; /* nobody waits for it */
};

/* A detached command. */
struct exec_started {
	uint64_t has;
	int32_t pid; /* as the guest's programs see it */
};

/* The last word on an exec's channel 3, as Kubernetes' Status. */
struct exec_cause {
	uint64_t has;
	char reason[64];
	char message[256];
};
struct exec_details {
	uint64_t has;
	struct objs causes; /* struct exec_cause */
};
struct empty {
	uint64_t has;
};
struct exec_status {
	uint64_t has;
	struct empty metadata;
	uint8_t status; /* 0: Success, 1: Failure */
	char message[256];
	char reason[64];
	struct exec_details details;
};

/*
 * exec_status_write: the program ended with code (0 to 255; signal n is
 * 128 + n).  exec_status_fail: it never ran; why is one line.
 * Appended to b, whose r tells how it went.
 */
void exec_status_write(struct jbuf *b, int code);
void exec_status_fail(struct jbuf *b, const char *why);
/*
 * 0 with *code; -ENOEXEC: it never ran, e has the other side's line;
 * -EINVAL or -EBADMSG: no such status.  Unknown keys are ignored.
 */
int exec_status_parse(const char *text, size_t len, int *code, struct err *e);

/* Volant's event types, then ours; index of event_type_names. */
enum event_type {
	EVENT_VM_CREATED,
	EVENT_VM_RUNNING,
	EVENT_VM_STOPPED,
	EVENT_VM_CRASHED,
	EVENT_VM_DELETED,
	EVENT_VM_LOG,
	EVENT_VM_PAUSED,
	EVENT_VM_READY,
	EVENT_VM_RENAMED,
};
extern const char *const event_type_names[];

enum event_stream { STREAM_NONE, STREAM_STDOUT, STREAM_STDERR };

struct event_view {
	uint64_t has;
	uint8_t type; /* enum event_type */
	char name[NAME_LEN_MAX + 1];
	uint8_t status; /* enum vm_status */
	char ip_address[16];
	char mac_address[18];
	int32_t pid;
	int64_t timestamp;
	char message[512];
	uint8_t stream; /* enum event_stream */
	char line[4096];
	uint64_t uid;
	int64_t seq; /* the SSE id; on the wire only */
	char old_name[NAME_LEN_MAX + 1]; /* VM_RENAMED */
};

/* Among events: those behind `after` and up to `last` are not told, or cannot
 * be, because the numbering begins again.  Who keeps a list makes it anew. */
enum gap_type { EVENT_GAP };
struct event_gap {
	uint64_t has;
	uint8_t type; /* enum gap_type */
	int64_t after; /* what the reader had */
	int64_t last; /* it goes on behind this one */
	char message[256];
};

/*
 * GET /api/v1/orphans: a VM that runs and that no tenant has, because the store
 * does not know it.
 */
struct orphan_view {
	uint64_t has;
	uint64_t uid;
	uint8_t status; /* enum vm_status: as far as its launcher says */
	int32_t pid;
	char ip_address[16];
	char mac_address[18];
	uint32_t cpu_cores; /* 0: not known, as yet */
	uint32_t memory_mb;
	int64_t found_at;
	int64_t ends_at;
	char reason[256];
};

/* POST /api/v1/orphans/UID/adopt */
struct orphan_adopt {
	uint64_t has;
	char name[NAME_LEN_MAX + 1];
};

/* What somebody may do in a tenant, each more than the one before; the numbers
 * are also the store's.  A host admin's is never given. */
enum tenant_role {
	TENANT_NONE,
	TENANT_VIEWER,
	TENANT_OPERATOR,
	TENANT_ADMIN,
	TENANT_HOST
};
extern const char *const tenant_role_names[];

enum member_kind { MEMBER_USER, MEMBER_GROUP };
#define TENANT_MEMBERS_MAX 128
struct tenant_member {
	uint64_t has;
	uint8_t kind; /* enum member_kind */
	uint32_t id; /* uid or gid of this host */
	uint8_t role; /* enum tenant_role; NONE in a change: it goes */
};

/*
 * What a tenant has, or may have: VMs, their processors and memory, running or
 * not; requests that change something and are not answered; streams (commands,
 * consoles, logs) and readers of events that are open; requests a second.  As a
 * quota 0 is none of its own.  All are uint64_t, in the order of the enum.
 */
enum tenant_amount {
	TENANT_VMS,
	TENANT_CPUS,
	TENANT_MEMORY_MB,
	TENANT_OPERATIONS,
	TENANT_STREAMS,
	TENANT_READERS,
	TENANT_REQUESTS,
	TENANT_AMOUNTS
};
struct tenant_amounts {
	uint64_t has;
	uint64_t vms;
	uint64_t cpus;
	uint64_t memory_mb;
	uint64_t operations;
	uint64_t streams;
	uint64_t readers;
	uint64_t requests;
};
/* What a tenant's turns weigh against another's, and where nobody says. */
#define TENANT_WEIGHT_MAX 100
#define TENANT_WEIGHT 1
#define TENANT_AMOUNT_MAX (INT64_C(1) << 40)
/* One of them; NULL has none. */
uint64_t *tenant_amount(struct tenant_amounts *a, enum tenant_amount which);
/* Their names. */
const char *tenant_amount_name(enum tenant_amount which);

/* What is stored of one, and what its makers say. */
struct tenant_spec {
	uint64_t has;
	bool suspended; /* its members may only look */
	bool deleting; /* stored only */
	int64_t created_at; /* stored only */
	struct tenant_amounts quotas;
	struct objs members; /* struct tenant_member */
	uint32_t weight; /* 0: TENANT_WEIGHT */
};

/* POST /api/v1/tenants */
struct tenant_create {
	uint64_t has;
	char name[NAME_LEN_MAX + 1];
	bool suspended;
	struct tenant_amounts quotas;
	struct objs members;
	uint32_t weight; /* if it is given */
};
enum { TENANT_CREATE_WEIGHT = 4 };

/* PATCH /api/v1/tenants/NAME: what is not given stays, also of a list. */
struct tenant_change {
	uint64_t has;
	bool suspended;
	struct tenant_amounts quotas;
	struct objs members;
	uint32_t weight;
};
enum {
	TENANT_CHANGE_SUSPENDED,
	TENANT_CHANGE_QUOTAS,
	TENANT_CHANGE_MEMBERS,
	TENANT_CHANGE_WEIGHT
};

/* DELETE /api/v1/tenants/NAME?... */
struct tenant_delete {
	uint64_t has;
	uint8_t force; /* 1: with all that it has */
};

enum tenant_status {
	TENANT_ACTIVE,
	TENANT_SUSPENDED,
	TENANT_DELETING,
	TENANT_BROKEN, /* its row in the store cannot be read */
	TENANT_STATUSES
};
extern const char *const tenant_status_names[];
struct tenant_view {
	uint64_t has;
	char name[NAME_LEN_MAX + 1];
	uint8_t status; /* enum tenant_status */
	uint8_t role; /* enum tenant_role: of who asks */
	int64_t created_at;
	struct tenant_amounts quotas;
	struct tenant_amounts used;
	struct objs members;
	uint32_t weight;
};

/* Who did what, or was not let: a row of the audit trail, as it is stored. */
enum audit_result { TRAIL_ALLOWED, TRAIL_REFUSED, TRAIL_FAILED };
struct audit_entry {
	uint64_t has;
	char tenant[NAME_LEN_MAX + 1]; /* "": the host */
	uint32_t user; /* only if has TABLE_HAS(TRAIL_USER) */
	int32_t pid;
	uint8_t role; /* enum tenant_role */
	char credential[16];
	char action[32];
	char object[64];
	uint64_t uid;
	uint8_t result; /* enum audit_result */
	char room[16];
	uint32_t status;
	char detail[256];
};
enum { TRAIL_USER = 1 };

struct audit_view {
	uint64_t has;
	int64_t cursor;
	int64_t number; /* of its tenant; 0: the host's own */
	int64_t n;
	int64_t at;
	bool intact;
	uint8_t prev[32];
	uint8_t hash[32];
	struct audit_entry entry;
};

enum { AUDIT_VIEW_ENTRY = 7 };

/* Where a chain begins and ends. */
struct audit_head_view {
	uint64_t has;
	int64_t number; /* of its tenant; 0: the host's own */
	char tenant[NAME_LEN_MAX + 1]; /* "": the host, or it is no more */
	int64_t first;
	int64_t last;
	uint8_t hash[32]; /* of last */
};

/* GET /api/v1/audit?... */
struct audit_query_view {
	uint64_t has;
	char since[64]; /* as in common/when.h */
	int64_t after;
};

#define AUDIT_PAGE_MAX 50
#define AUDIT_HEADS_MAX 1100
struct audit_page {
	uint64_t has;
	struct objs rows; /* struct audit_view */
	int64_t next; /* 0: these were the last */
	struct objs heads; /* struct audit_head_view, on the last page */
};

/* GET /api/v1/system/doctor: what this host can do, a line each. */
struct check_view {
	uint64_t has;
	char name[64];
	bool ok;
	char detail[256];
};

struct api_error {
	uint64_t has;
	char error[256];
};

/*
 * orchd -> agent: who the guest is.  JSON, strict but for unknown keys, in a
 * sealed memfd.  Its version is that of the oldest agent that can honour a
 * spec: an agent ignores keys that it does not know and refuses a later
 * version, so a key that must not be ignored raises it.  /healthz says the
 * latest that an agent takes.
 */
#define BOOT_SPEC_VERSION 1
struct boot_ipv4 {
	uint64_t has;
	char address[16];
	uint8_t prefix;
	char gateway[16];
};
struct boot_spec {
	uint64_t has;
	int32_t version;
	uint64_t uid;
	char hostname[NAME_LEN_MAX + 1];
	struct boot_ipv4 ipv4; /* only if has TABLE_HAS(BOOT_IPV4) */
	struct strs dns;
	char mac[18];
	struct strs env;
	char image[256];
	int64_t time_ns;
	uint8_t entropy[64];
	uint8_t key[32]; /* of this boot: who knows it may command the agent */
};
enum { BOOT_IPV4 = 3 };

extern const struct table vm_confinement_table, vm_table, vm_create_table;
extern const struct table vm_rename_table, log_query_table;
extern const struct table vm_query_table, vm_stop_table, vm_signal_table;
extern const struct table vm_signalled_table, exec_request_table;
extern const struct table exec_started_table, exec_cause_table,
    exec_details_table, empty_table;
extern const struct table exec_status_table, event_table, event_gap_table;
extern const struct table tenant_member_table, tenant_amounts_table;
extern const struct table tenant_spec_table, tenant_create_table;
extern const struct table tenant_change_table, tenant_delete_table;
extern const struct table tenant_table;
extern const struct table audit_entry_table, audit_table, audit_head_table;
extern const struct table audit_query_table, audit_page_table;
extern const struct table orphan_table, orphan_adopt_table;
extern const struct table check_table, api_error_table;
extern const struct table boot_ipv4_table, boot_spec_table;

/* All of them, NULL-terminated, for the description, tests and fuzzers. */
struct object_info {
	const struct table *table;
	unsigned int flags; /* TABLE_STRICT: how requests of it are decoded */
	bool api; /* part of the API's description */
};
extern const struct object_info objects[];

/* The flags of that table's row. */
unsigned int object_flags(const struct table *t);
/* The members of components.schemas, without the braces. */
void objects_openapi(struct jbuf *b);

#endif
