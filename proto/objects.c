#include "proto/objects.h"
#include "common/util.h"
#include "proto/jbuf.h"
#include "proto/machine.h"
#include "proto/rules.h"

const char *const vm_status_names[] = { "", "pending", "starting", "running",
	"stopped", "crashed", "paused", "stopping", "created", "deleting",
	"broken", NULL };
const char *const vm_accel_names[] = { "", "kvm", "tcg", NULL };
const char *const vm_hypervisor_names[] = { "", "qemu", "qemu-microvm", NULL };
_Static_assert(nitems(vm_hypervisor_names) == BACKENDS + 1, "a word each");
const char *const vm_sort_names[] = { "created_at", "name", "status", "runtime",
	"updated_at", NULL };
static const char *const vm_order_names[] = { "asc", "desc", NULL };
const char *const event_type_names[] = { "VM_CREATED", "VM_RUNNING",
	"VM_STOPPED", "VM_CRASHED", "VM_DELETED", "VM_LOG", "VM_PAUSED",
	"VM_READY", "VM_RENAMED", NULL };
static const char *const event_stream_names[] = { "", "stdout", "stderr",
	NULL };
/* As Linux numbers them on x86. */
const char *const signal_names[] = { "", "HUP", "INT", "QUIT", "ILL", "TRAP",
	"ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
	"TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
	"XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS", NULL };
_Static_assert(nitems(signal_names) == SIGNALS_MAX + 2, "a name each");
static const char *const exec_result_names[] = { "Success", "Failure", NULL };

#define REQ FF_REQUIRED
#define OMIT FF_OMIT_EMPTY

#define C struct vm_confinement
static const struct field vm_confinement_fields[] = {
	{ F_(C, verified, FT_BOOL), .flags = REQ,
	    .doc = "read back from the running process and as it should be" },
	{ F_INTF(C, seccomp_filters, REQ), .max = 1024,
	    .doc = "filters in force on every thread" },
	{ F_(C, cgroup, FT_STR), .flags = OMIT, .max = 15, .rule = &rule_line,
	    .doc = "limits in force: v2, or none" },
	{ F_INTF(C, vsock_cid, OMIT), .max = UINT32_MAX,
	    .doc = "its AF_VSOCK address, if it has one" },
};
#undef C

#define V struct vm_view
static const struct field vm_fields[] = {
	{ F_INTF(V, id, REQ), .max = INT64_MAX, .doc = "number" },
	{ F_(V, name, FT_STR), .flags = REQ, .min = 1, .max = NAME_LEN_MAX,
	    .rule = &rule_name, .doc = "name, unique in its tenant" },
	{ F_(V, status, FT_ENUM), .flags = REQ, .min = VM_STATUS_PENDING,
	    .names = vm_status_names, .doc = "where it is in its life" },
	{ F_(V, runtime, FT_STR), .flags = REQ, .max = 128, .rule = &rule_line,
	    .doc = "what it runs" },
	{ F_INTF(V, pid, OMIT), .max = INT32_MAX,
	    .doc = "the hypervisor's process on the host" },
	{ F_(V, ip_address, FT_STR), .flags = REQ, .max = 15,
	    .rule = &rule_ipv4, .doc = "IPv4 address, empty if none is ours" },
	{ F_(V, mac_address, FT_STR), .flags = REQ, .max = 17,
	    .rule = &rule_mac, .doc = "MAC address" },
	{ F_INTF(V, cpu_cores, REQ), .max = VM_CPUS_MAX,
	    .doc = "virtual CPUs" },
	{ F_INTF(V, memory_mb, REQ), .max = VM_MEMORY_MB_MAX,
	    .doc = "memory in MiB" },
	{ F_(V, kernel_cmdline, FT_STR), .flags = REQ, .max = CMDLINE_MAX,
	    .rule = &rule_line, .doc = "kernel command line" },
	{ F_(V, serial_socket, FT_STR), .flags = REQ, .max = 255,
	    .rule = &rule_line, .doc = "console socket, empty before a start" },
	{ F_(V, created_at, FT_TIME), .flags = OMIT, .doc = "when created" },
	{ F_(V, updated_at, FT_TIME), .flags = OMIT,
	    .doc = "when it last changed" },
	{ F_(V, uid, FT_UID), .flags = OMIT, .doc = "unique for all time" },
	{ F_(V, image, FT_STR), .flags = OMIT, .max = 255, .rule = &rule_image,
	    .doc = "image it was made from" },
	{ F_(V, tenant, FT_STR), .flags = OMIT, .max = NAME_LEN_MAX,
	    .rule = &rule_name, .doc = "whose it is" },
	{ F_(V, ready, FT_BOOL), .doc = "the workload can be reached" },
	{ F_(V, reason, FT_STR), .flags = OMIT, .max = 255, .rule = &rule_line,
	    .doc = "why it is in this state" },
	{ F_INTF(V, exit_status, FF_OPTIONAL), .max = 255,
	    .doc = "exit status of the workload's last run" },
	{ F_(V, accel, FT_ENUM), .flags = OMIT, .names = vm_accel_names,
	    .doc = "how its CPU runs" },
	{ F_(V, confinement, FT_OBJ), .flags = FF_OPTIONAL,
	    .sub = &vm_confinement_table,
	    .doc = "what holds the hypervisor, while it runs" },
	{ F_(V, temporary, FT_BOOL), .flags = OMIT,
	    .doc = "removed when it has ended, and when nobody uses it" },
	{ F_(V, hypervisor, FT_ENUM), .flags = OMIT,
	    .names = vm_hypervisor_names, .doc = "the program that runs it" },
	{ F_(V, adopted, FT_BOOL), .flags = OMIT,
	    .doc = "a host admin adopted it: environment, host name and kernel "
		   "arguments that it was made with are not known, and it is "
		   "started without them; created is when that was" },
};
#undef V

#define R struct vm_create
static const struct field vm_create_fields[] = {
	{ F_(R, name, FT_STR), .flags = REQ, .min = 1, .max = NAME_LEN_MAX,
	    .rule = &rule_name,
	    .doc = "letters, digits, dots, dashes and underscores; starts and "
		   "ends with a letter or digit" },
	{ F_(R, plugin, FT_STR), .flags = OMIT, .max = 128, .rule = &rule_word,
	    .doc = "plugin to run; this or image" },
	{ F_(R, image, FT_STR), .flags = OMIT, .max = 255, .rule = &rule_image,
	    .doc = "image to run; this or plugin" },
	{ F_(R, runtime, FT_STR), .flags = OMIT, .max = 128, .rule = &rule_word,
	    .doc = "default: the plugin's" },
	{ F_INTF(R, cpu_cores, OMIT), .min = INT32_MIN, .max = VM_CPUS_MAX,
	    .doc = "virtual CPUs; 0 or less is the default" },
	{ F_INTF(R, memory_mb, OMIT), .min = INT32_MIN, .max = VM_MEMORY_MB_MAX,
	    .doc = "memory in MiB; 0 or less is the default" },
	{ F_(R, kernel_cmdline, FT_STR), .flags = OMIT,
	    .max = CMDLINE_EXTRA_MAX, .rule = &rule_line,
	    .doc = "added to the kernel command line" },
	{ F_(R, env, FT_STRS), .flags = OMIT | FF_SECRET, .max = ENV_MAX,
	    .bytes = ENV_BYTES_MAX, .rule = &rule_env,
	    .doc = "environment, NAME=value; never shown again" },
	{ F_(R, hostname, FT_STR), .flags = OMIT, .max = NAME_LEN_MAX,
	    .rule = &rule_hostname, .doc = "default: made from the name" },
	{ F_(R, temporary, FT_BOOL), .flags = OMIT,
	    .doc = "removed when it has ended, and when nobody has had a "
		   "command or console of it open for temporary_timeout" },
	{ F_INTF(R, owner, OMIT | FF_WIRE), .max = UINT32_MAX,
	    .doc = "uid of who made it" },
	{ F_(R, adopted, FT_BOOL), .flags = OMIT | FF_WIRE,
	    .doc = "it was an orphan" },
};
#undef R

#define L struct log_query
static const struct field log_query_fields[] = {
	{ F_INTF(L, follow, OMIT), .max = 1, .doc = "1: and what comes" },
	{ F_(L, since, FT_STR), .flags = OMIT, .max = 63,
	    .doc = "only what came since then: how long ago (10m, 1h30m), or "
		   "an RFC 3339 time" },
};
#undef L

static const struct field vm_rename_fields[] = {
	{ F_(struct vm_rename, name, FT_STR), .flags = REQ, .min = 1,
	    .max = NAME_LEN_MAX, .rule = &rule_name,
	    .doc = "what it is to be called" },
};

#define Q struct vm_query
static const struct field vm_query_fields[] = {
	{ F_(Q, status, FT_ENUMSET), .flags = FF_OPTIONAL,
	    .min = VM_STATUS_PENDING, .names = vm_status_names,
	    .doc = "only these states" },
	{ F_(Q, runtime, FT_STR), .flags = OMIT, .max = 128,
	    .doc = "only this runtime, in any case" },
	{ F_(Q, plugin, FT_STR), .flags = OMIT, .max = 128,
	    .doc = "only of this plugin, in any case" },
	{ F_(Q, q, FT_STR), .flags = OMIT, .max = 128,
	    .doc = "part of name, address or runtime, in any case" },
	{ F_INTF(Q, limit, FF_OPTIONAL), .max = INT32_MAX,
	    .doc = "at most so many" },
	{ F_INTF(Q, offset, OMIT), .max = INT32_MAX, .doc = "after so many" },
	{ F_(Q, sort, FT_ENUM), .flags = OMIT, .names = vm_sort_names,
	    .doc = "sorted by" },
	{ F_(Q, order, FT_ENUM), .flags = OMIT, .names = vm_order_names,
	    .doc = "which way round" },
};
#undef Q

static const struct field vm_stop_fields[] = {
	{ F_INTF(struct vm_stop, timeout, FF_OPTIONAL),
	    .max = STOP_TIMEOUT_MAX_S,
	    .doc = "seconds that the guest has to end; then its hypervisor is "
		   "ended.  Default: mews.conf's" },
};

static const struct field vm_signal_fields[] = {
	{ F_(struct vm_signal, signal, FT_ENUM), .flags = REQ, .min = 1,
	    .names = signal_names, .doc = "without SIG" },
};

static const struct field vm_signalled_fields[] = {
	{ F_INTF(struct vm_signalled, signalled, REQ), .max = UINT32_MAX,
	    .doc = "commands that have got it" },
};

#define E struct exec_request
static const struct field exec_request_fields[] = {
	{ F_(E, cmd, FT_STRS), .flags = REQ, .min = 1, .max = CMD_MAX,
	    .bytes = CMD_BYTES_MAX, .doc = "program and arguments" },
	{ F_(E, env, FT_STRS), .flags = OMIT | FF_SECRET, .max = ENV_MAX,
	    .bytes = CMD_ENV_BYTES_MAX, .rule = &rule_env,
	    .doc = "added to the environment, NAME=value" },
	{ F_(E, cwd, FT_STR), .flags = OMIT, .max = 1023, .rule = &rule_path,
	    .doc = "directory it starts in" },
	{ F_(E, tty, FT_BOOL), .flags = OMIT, .doc = "with a terminal" },
	{ F_(E, stdin, FT_BOOL), .flags = OMIT, .doc = "with standard input" },
	{ F_(E, user, FT_STR), .flags = OMIT, .max = 127, .rule = &rule_user,
	    .doc =
		"USER or USER:GROUP that it runs as, names of the guest's or "
		"numbers; default: root" },
	{ F_(E, detach, FT_BOOL), .flags = OMIT,
	    .doc = "nobody waits for it; implied, and only there, by POST" },
};
#undef E

static const struct field exec_started_fields[] = {
	{ F_INTF(struct exec_started, pid, REQ), .min = 1, .max = INT32_MAX,
	    .doc = "its process, as the guest's programs see it" },
};

static const struct field exec_cause_fields[] = {
	{ F_(struct exec_cause, reason, FT_STR), .flags = OMIT, .max = 63,
	    .doc = "ExitCode" },
	{ F_(struct exec_cause, message, FT_STR), .flags = OMIT, .max = 255,
	    .doc = "the exit status in decimal" },
};

static const struct field exec_details_fields[] = {
	{ F_(struct exec_details, causes, FT_OBJS), .flags = OMIT, .max = 8,
	    .sub = &exec_cause_table, .doc = "what led to it" },
};

#define S struct exec_status
static const struct field exec_status_fields[] = {
	{ F_(S, metadata, FT_OBJ), .sub = &empty_table, .doc = "empty" },
	{ F_(S, status, FT_ENUM), .flags = REQ, .names = exec_result_names,
	    .doc = "how it went" },
	{ F_(S, message, FT_STR), .flags = OMIT, .max = 255,
	    .doc = "for a person" },
	{ F_(S, reason, FT_STR), .flags = OMIT, .max = 63,
	    .doc = "NonZeroExitCode if it ran" },
	{ F_(S, details, FT_OBJ), .flags = OMIT, .sub = &exec_details_table,
	    .doc = "the exit status is in here" },
};
#undef S

#define E struct event_view
static const struct field event_fields[] = {
	{ F_(E, type, FT_ENUM), .flags = REQ, .names = event_type_names,
	    .doc = "what happened" },
	{ F_(E, name, FT_STR), .flags = REQ, .min = 1, .max = NAME_LEN_MAX,
	    .rule = &rule_name, .doc = "to which VM" },
	{ F_(E, status, FT_ENUM), .flags = REQ, .names = vm_status_names,
	    .doc = "its state since then" },
	{ F_(E, ip_address, FT_STR), .flags = OMIT, .max = 15,
	    .rule = &rule_ipv4, .doc = "IPv4 address" },
	{ F_(E, mac_address, FT_STR), .flags = OMIT, .max = 17,
	    .rule = &rule_mac, .doc = "MAC address" },
	{ F_INTF(E, pid, OMIT), .max = INT32_MAX,
	    .doc = "the hypervisor's process on the host" },
	{ F_(E, timestamp, FT_TIME), .flags = REQ | FF_NANOS, .doc = "when" },
	{ F_(E, message, FT_STR), .flags = OMIT, .max = 511, .rule = &rule_line,
	    .doc = "for a person" },
	{ F_(E, stream, FT_ENUM), .flags = OMIT, .names = event_stream_names,
	    .doc = "where the line came from" },
	{ F_(E, line, FT_STR), .flags = OMIT, .max = 4095,
	    .doc = "one line of its output" },
	{ F_(E, uid, FT_UID), .flags = OMIT, .doc = "the VM's uid" },
	{ F_INTF(E, seq, FF_WIRE), .max = INT64_MAX, .doc = "the SSE id" },
	{ F_(E, old_name, FT_STR), .flags = OMIT, .max = NAME_LEN_MAX,
	    .rule = &rule_name, .doc = "VM_RENAMED: what it was called" },
};
#undef E

static const char *const gap_type_names[] = { "GAP", NULL };
#define G struct event_gap
static const struct field event_gap_fields[] = {
	{ F_(G, type, FT_ENUM), .flags = REQ, .names = gap_type_names,
	    .doc = "events are missing here" },
	{ F_INTF(G, after, REQ), .max = INT64_MAX,
	    .doc = "the last id before them" },
	{ F_INTF(G, last, REQ), .max = INT64_MAX,
	    .doc = "the id that it goes on behind" },
	{ F_(G, message, FT_STR), .flags = REQ, .max = 255, .rule = &rule_line,
	    .doc = "for a person" },
};
#undef G

const char *const tenant_role_names[] = { "none", "viewer", "operator", "admin",
	"host admin", NULL };
/* Those that can be given. */
static const char *const member_role_names[] = { "none", "viewer", "operator",
	"admin", NULL };
static const char *const member_kind_names[] = { "user", "group", NULL };
const char *const tenant_status_names[TENANT_STATUSES + 1] = { "active",
	"suspended", "deleting", "broken", NULL };
static const char *const no_yes_names[] = { "0", "1", NULL };

#define M struct tenant_member
static const struct field tenant_member_fields[] = {
	{ F_(M, kind, FT_ENUM), .flags = REQ, .names = member_kind_names,
	    .doc = "a user of the host, or all who are in a group of it" },
	{ F_INTF(M, id, REQ), .max = UINT32_MAX - 1,
	    .doc = "its number on the host" },
	{ F_(M, role, FT_ENUM), .flags = REQ, .names = member_role_names,
	    .doc = "what it may do; none takes it out" },
};
#undef M

#define A struct tenant_amounts
#define AMOUNT(m, text)                                              \
	{                                                            \
		F_INTF(A, m, FF_OPTIONAL), .max = TENANT_AMOUNT_MAX, \
					   .doc = (text)             \
	}
static const struct field tenant_amounts_fields[] = {
	AMOUNT(vms, "VMs"),
	AMOUNT(cpus, "virtual CPUs of all of them"),
	AMOUNT(memory_mb, "memory of all of them, in MiB"),
	AMOUNT(operations, "requests under way that change something"),
	AMOUNT(streams, "commands, consoles and logs that are open"),
	AMOUNT(readers, "readers of events"),
	AMOUNT(requests, "requests a second"),
};
_Static_assert(
    nitems(tenant_amounts_fields) == TENANT_AMOUNTS, "in the enum's order");
#undef A

#define MEMBERS(T, text)                                       \
	{                                                      \
		F_(T, members, FT_OBJS),                       \
		    .flags = OMIT, .max = TENANT_MEMBERS_MAX,  \
		    .sub = &tenant_member_table, .doc = (text) \
	}
#define QUOTAS(T)                                                      \
	{                                                              \
		F_(T, quotas, FT_OBJ),                                 \
		    .sub = &tenant_amounts_table,                      \
		    .doc = "the most that it may have; 0: as the host" \
	}
#define WEIGHT_TEXT                                                          \
	"its turns for one of a tenant of weight 1, where they wait for the" \
	" same"
#define SUSPENDED(T, fl)                                                      \
	{                                                                     \
		F_(T, suspended, FT_BOOL), .flags = (fl),                     \
					   .doc = "its members may only look" \
	}

#define S struct tenant_spec
static const struct field tenant_spec_fields[] = {
	SUSPENDED(S, OMIT),
	{ F_(S, deleting, FT_BOOL), .flags = OMIT, .doc = "it is to go" },
	{ F_(S, created_at, FT_TIME), .flags = OMIT, .doc = "when created" },
	QUOTAS(S),
	MEMBERS(S, "who is in it"),
	{ F_INTF(S, weight, OMIT), .max = TENANT_WEIGHT_MAX,
	    .doc = WEIGHT_TEXT },
};
#undef S

#define C struct tenant_create
static const struct field tenant_create_fields[] = {
	{ F_(C, name, FT_STR), .flags = REQ, .min = 1, .max = NAME_LEN_MAX,
	    .rule = &rule_name, .doc = "name, unique on the host" },
	SUSPENDED(C, OMIT),
	QUOTAS(C),
	MEMBERS(C, "who is in it"),
	{ F_INTF(C, weight, FF_OPTIONAL), .min = 1, .max = TENANT_WEIGHT_MAX,
	    .doc = WEIGHT_TEXT },
};
#undef C

#define C struct tenant_change
static const struct field tenant_change_fields[] = {
	SUSPENDED(C, FF_OPTIONAL),
	{ F_(C, quotas, FT_OBJ), .flags = FF_OPTIONAL,
	    .sub = &tenant_amounts_table,
	    .doc = "those that are given, 0: as the host" },
	MEMBERS(C, "those that come, go or have another role"),
	{ F_INTF(C, weight, FF_OPTIONAL), .min = 1, .max = TENANT_WEIGHT_MAX,
	    .doc = WEIGHT_TEXT },
};
#undef C

static const struct field tenant_delete_fields[] = {
	{ F_(struct tenant_delete, force, FT_ENUM), .names = no_yes_names,
	    .doc = "1: its VMs go with it" },
};

#define V struct tenant_view
static const struct field tenant_fields[] = {
	{ F_(V, name, FT_STR), .flags = REQ, .min = 1, .max = NAME_LEN_MAX,
	    .rule = &rule_name, .doc = "name, unique on the host" },
	{ F_(V, status, FT_ENUM), .flags = REQ, .names = tenant_status_names,
	    .doc = "suspended: its members may only look" },
	{ F_(V, role, FT_ENUM), .flags = REQ, .names = tenant_role_names,
	    .doc = "what you may do in it" },
	{ F_(V, created_at, FT_TIME), .flags = OMIT, .doc = "when created" },
	QUOTAS(V),
	{ F_(V, used, FT_OBJ), .sub = &tenant_amounts_table,
	    .doc = "what it has of that" },
	MEMBERS(V, "who is in it, but for those that mews.conf lists"),
	{ F_INT(V, weight), .max = TENANT_WEIGHT_MAX, .doc = WEIGHT_TEXT },
};
#undef V

static const char *const audit_result_names[] = { "allowed", "refused",
	"failed", NULL };

#define A struct audit_entry
static const struct field audit_entry_fields[] = {
	{ F_(A, tenant, FT_STR), .flags = OMIT, .max = NAME_LEN_MAX,
	    .rule = &rule_name, .doc = "whose things; absent: the host's" },
	{ F_INTF(A, user, FF_OPTIONAL), .max = UINT32_MAX,
	    .doc = "who asked, a uid of the host; absent: nobody, the suite "
		   "did it" },
	{ F_INTF(A, pid, OMIT), .max = INT32_MAX,
	    .doc = "the process that connected" },
	{ F_(A, role, FT_ENUM), .flags = OMIT, .names = tenant_role_names,
	    .doc = "as what" },
	{ F_(A, credential, FT_STR), .flags = OMIT, .max = 15,
	    .rule = &rule_word, .doc = "how that was known" },
	{ F_(A, action, FT_STR), .flags = REQ, .min = 1, .max = 31,
	    .rule = &rule_word, .doc = "what was asked for" },
	{ F_(A, object, FT_STR), .flags = OMIT, .max = 63, .rule = &rule_line,
	    .doc = "on what, as it is called or was named" },
	{ F_(A, uid, FT_UID), .flags = OMIT,
	    .doc = "its uid; a tenant's number" },
	{ F_(A, result, FT_ENUM), .flags = REQ, .names = audit_result_names,
	    .doc = "whether it was done" },
	{ F_(A, room, FT_STR), .flags = OMIT, .max = 15, .rule = &rule_word,
	    .doc = "which part of the suite refused it, or could not" },
	{ F_INTF(A, status, OMIT), .max = 599,
	    .doc = "HTTP status of the answer, where it was not done" },
	{ F_(A, detail, FT_STR), .flags = OMIT, .max = 255, .rule = &rule_line,
	    .doc = "why, for a person" },
};
#undef A

#define A struct audit_view
static const struct field audit_fields[] = {
	{ F_INTF(A, cursor, REQ), .max = INT64_MAX,
	    .doc = "after: what comes behind this row" },
	{ F_INTF(A, number, REQ), .max = INT64_MAX,
	    .doc = "its tenant's number; 0 is the host" },
	{ F_INTF(A, n, REQ), .max = INT64_MAX,
	    .doc = "its place in its tenant's chain" },
	{ F_(A, at, FT_TIME), .flags = REQ | FF_NANOS, .doc = "when" },
	{ F_(A, intact, FT_BOOL), .flags = REQ,
	    .doc = "it is what its hash says and follows the row before" },
	{ F_(A, prev, FT_HEX), .flags = REQ,
	    .doc = "hash of the row before, zeros of the first" },
	{ F_(A, hash, FT_HEX), .flags = REQ, .doc = "SHA-256 of the row" },
	{ F_(A, entry, FT_OBJ), .flags = FF_OPTIONAL, .sub = &audit_entry_table,
	    .doc = "who did what; absent: it cannot be read" },
};
#undef A

#define H struct audit_head_view
static const struct field audit_head_fields[] = {
	{ F_INTF(H, number, REQ), .max = INT64_MAX,
	    .doc = "the tenant's; 0 is the host" },
	{ F_(H, tenant, FT_STR), .flags = OMIT, .max = NAME_LEN_MAX,
	    .rule = &rule_name, .doc = "absent: the host, or it is no more" },
	{ F_INTF(H, first, REQ), .max = INT64_MAX,
	    .doc = "oldest row that is kept" },
	{ F_INTF(H, last, REQ), .max = INT64_MAX, .doc = "newest row" },
	{ F_(H, hash, FT_HEX), .flags = REQ, .doc = "that row's" },
};
#undef H

#define Q struct audit_query_view
static const struct field audit_query_fields[] = {
	{ F_(Q, since, FT_STR), .max = 63, .rule = &rule_line,
	    .doc = "how long ago (10m, 2d) or an RFC 3339 time" },
	{ F_INT(Q, after), .max = INT64_MAX,
	    .doc = "only what comes behind this row's cursor" },
};
#undef Q

#define P struct audit_page
static const struct field audit_page_fields[] = {
	{ F_(P, rows, FT_OBJS), .flags = REQ, .max = AUDIT_PAGE_MAX,
	    .sub = &audit_table, .doc = "oldest first" },
	{ F_INTF(P, next, OMIT), .max = INT64_MAX,
	    .doc = "after: to go on with; absent: these were the last" },
	{ F_(P, heads, FT_OBJS), .flags = OMIT, .max = AUDIT_HEADS_MAX,
	    .sub = &audit_head_table,
	    .doc = "where each chain begins and ends, with the last rows" },
};
#undef P
#define V struct orphan_view
static const struct field orphan_fields[] = {
	{ F_(V, uid, FT_UID), .flags = REQ, .doc = "unique for all time" },
	{ F_(V, status, FT_ENUM), .flags = REQ, .min = VM_STATUS_PENDING,
	    .names = vm_status_names, .doc = "where it is in its life" },
	{ F_INTF(V, pid, OMIT), .max = INT32_MAX,
	    .doc = "the hypervisor's process on the host" },
	{ F_(V, ip_address, FT_STR), .flags = REQ, .max = 15,
	    .rule = &rule_ipv4, .doc = "IPv4 address, empty if not known" },
	{ F_(V, mac_address, FT_STR), .flags = REQ, .max = 17,
	    .rule = &rule_mac, .doc = "MAC address, empty if not known" },
	{ F_INTF(V, cpu_cores, OMIT), .max = VM_CPUS_MAX,
	    .doc = "virtual CPUs" },
	{ F_INTF(V, memory_mb, OMIT), .max = VM_MEMORY_MB_MAX,
	    .doc = "memory in MiB" },
	{ F_(V, found_at, FT_TIME), .flags = REQ,
	    .doc = "since when the suite that runs now knows of it" },
	{ F_(V, ends_at, FT_TIME), .flags = REQ,
	    .doc = "when it is ended, if nobody adopts it" },
	{ F_(V, reason, FT_STR), .flags = OMIT, .max = 255, .rule = &rule_line,
	    .doc = "why it cannot be adopted, now or at all" },
};
#undef V

static const struct field orphan_adopt_fields[] = {
	{ F_(struct orphan_adopt, name, FT_STR), .flags = REQ, .min = 1,
	    .max = NAME_LEN_MAX, .rule = &rule_name,
	    .doc = "what it is to be called" },
};

#define C struct check_view
static const struct field check_fields[] = {
	{ F_(C, name, FT_STR), .flags = REQ, .min = 1, .max = 63,
	    .rule = &rule_line, .doc = "what was looked at" },
	{ F_(C, ok, FT_BOOL), .flags = REQ,
	    .doc = "whether it is as good as "
		   "it gets" },
	{ F_(C, detail, FT_STR), .flags = REQ, .max = 255, .rule = &rule_line,
	    .doc = "what was found, for a person" },
};
#undef C

static const struct field api_error_fields[] = {
	{ F_(struct api_error, error, FT_STR), .flags = REQ, .min = 1,
	    .max = 255, .doc = "what is wrong, for a person" },
};

#define I struct boot_ipv4
static const struct field boot_ipv4_fields[] = {
	{ F_(I, address, FT_STR), .flags = REQ, .min = 7, .max = 15,
	    .rule = &rule_ipv4, .doc = "the guest's own" },
	{ F_INTF(I, prefix, REQ), .min = 1, .max = 32,
	    .doc = "bits of the network" },
	{ F_(I, gateway, FT_STR), .flags = OMIT, .max = 15, .rule = &rule_ipv4,
	    .doc = "default route" },
};
#undef I

#define B struct boot_spec
static const struct field boot_spec_fields[] = {
	{ F_INTF(B, version, REQ), .min = BOOT_SPEC_VERSION,
	    .max = BOOT_SPEC_VERSION, .doc = "of this object" },
	{ F_(B, uid, FT_UID), .flags = REQ, .doc = "the VM's uid" },
	{ F_(B, hostname, FT_STR), .flags = REQ, .min = 1, .max = NAME_LEN_MAX,
	    .rule = &rule_hostname, .doc = "host name" },
	{ F_(B, ipv4, FT_OBJ), .flags = FF_OPTIONAL, .sub = &boot_ipv4_table,
	    .doc = "absent: no network of ours" },
	{ F_(B, dns, FT_STRS), .flags = OMIT, .max = 8, .bytes = 128,
	    .rule = &rule_ipv4, .doc = "name servers" },
	{ F_(B, mac, FT_STR), .flags = OMIT, .max = 17, .rule = &rule_mac,
	    .doc = "of the NIC that gets the address" },
	{ F_(B, env, FT_STRS), .flags = OMIT | FF_SECRET, .max = ENV_MAX,
	    .bytes = ENV_BYTES_MAX, .rule = &rule_env,
	    .doc = "the workload's environment" },
	{ F_(B, image, FT_STR), .flags = REQ, .min = 1, .max = 255,
	    .rule = &rule_image, .doc = "what to run it on" },
	{ F_INTF(B, time_ns, REQ), .max = INT64_MAX,
	    .doc = "the host's clock" },
	{ F_(B, entropy, FT_HEX), .flags = REQ | FF_SECRET,
	    .doc = "seed of the guest's random numbers" },
	{ F_(B, key, FT_HEX), .flags = REQ | FF_SECRET,
	    .doc = "key of this boot" },
};
#undef B

#define TABLE_OF(sym, type, title, text)                    \
	const struct table sym##_table = { .name = (title), \
		.size = sizeof(type),                       \
		.fields = sym##_fields,                     \
		.nfields = nitems(sym##_fields),            \
		.doc = (text) }
#define TABLE(sym, title, text) TABLE_OF(sym, struct sym, title, text)

TABLE(vm_confinement, "Confinement", "What holds a hypervisor.");
TABLE_OF(vm, struct vm_view, "VM", "A virtual machine.");
TABLE(vm_create, "VMCreate", "What a VM is to be.");
TABLE(log_query, "LogQuery", "What of a log.");
TABLE(vm_rename, "VMRename", "What a VM is to be called.");
TABLE(vm_query, "VMQuery", "Which VMs to list.");
TABLE(vm_stop, "VMStop", "How a VM is stopped.");
TABLE(vm_signal, "VMSignal", "A signal for the commands of a VM.");
TABLE(vm_signalled, "VMSignalled", "What a signal reached.");
TABLE(exec_request, "ExecRequest", "A program to run in a VM.");
TABLE(exec_started, "ExecStarted", "A command that goes on by itself.");
TABLE(exec_cause, "ExecCause", "One cause of a status.");
TABLE(exec_details, "ExecDetails", "The causes of a status.");
TABLE(exec_status, "ExecStatus", "How a program in a VM ended.");
TABLE_OF(event, struct event_view, "Event", "Something that happened to a VM.");
TABLE(event_gap, "EventGap", "Events that a reader does not get.");
TABLE(tenant_member, "TenantMember", "Who is in a tenant, and as what.");
TABLE(tenant_amounts, "TenantAmounts", "What a tenant has, or may have.");
TABLE(tenant_spec, "TenantSpec", "A tenant, as it is stored.");
TABLE(tenant_create, "TenantCreate", "What a tenant is to be.");
TABLE(tenant_change, "TenantChange", "What changes about a tenant.");
TABLE(tenant_delete, "TenantDelete", "How a tenant goes.");
TABLE_OF(tenant, struct tenant_view, "Tenant", "Whose things are.");
TABLE(audit_entry, "AuditEntry", "Who did what, or was not let.");
TABLE_OF(audit, struct audit_view, "AuditRow", "A row of the audit trail.");
TABLE_OF(audit_head, struct audit_head_view, "AuditHead",
    "Where a chain of the audit trail begins and ends.");
TABLE_OF(audit_query, struct audit_query_view, "AuditQuery",
    "What of the audit trail.");
TABLE(audit_page, "AuditPage", "A part of the audit trail.");
TABLE_OF(orphan, struct orphan_view, "Orphan", "A VM that no tenant has.");
TABLE(orphan_adopt, "OrphanAdopt", "What an orphan is to be.");
TABLE_OF(check, struct check_view, "Check", "What was found of one thing.");
TABLE(api_error, "Error", "Every answer that is not what was asked for.");
TABLE(boot_ipv4, "BootIPv4", "A guest's IPv4 settings.");
TABLE(boot_spec, "BootSpec", "Who a guest is.");
const struct table empty_table = { .name = "Empty",
	.size = sizeof(struct empty),
	.doc = "An object without keys." };

const struct object_info objects[] = {
	{ &vm_confinement_table, 0, true },
	{ &vm_table, 0, true },
	{ &vm_create_table, 0, true },
	{ &log_query_table, 0, false },
	{ &vm_rename_table, TABLE_STRICT, true },
	{ &vm_query_table, 0, false },
	{ &vm_stop_table, 0, false },
	{ &vm_signal_table, TABLE_STRICT, true },
	{ &vm_signalled_table, 0, true },
	{ &exec_request_table, TABLE_STRICT, true },
	{ &exec_started_table, 0, true },
	{ &exec_cause_table, 0, true },
	{ &exec_details_table, 0, true },
	{ &empty_table, 0, true },
	{ &exec_status_table, 0, true },
	{ &event_table, 0, true },
	{ &event_gap_table, 0, true },
	{ &tenant_member_table, TABLE_STRICT, true },
	{ &tenant_amounts_table, TABLE_STRICT, true },
	{ &tenant_spec_table, TABLE_STRICT, false },
	{ &tenant_create_table, TABLE_STRICT, true },
	{ &tenant_change_table, TABLE_STRICT, true },
	{ &tenant_delete_table, 0, false },
	{ &tenant_table, 0, true },
	{ &audit_entry_table, TABLE_STRICT, true },
	{ &audit_table, 0, true },
	{ &audit_head_table, 0, true },
	{ &audit_query_table, 0, false },
	{ &audit_page_table, 0, true },
	{ &orphan_table, 0, true },
	{ &orphan_adopt_table, TABLE_STRICT, true },
	{ &check_table, 0, true },
	{ &api_error_table, 0, true },
	{ &boot_ipv4_table, TABLE_STRICT, false },
	{ &boot_spec_table, TABLE_STRICT, false },
	{ NULL, 0, false },
};

uint64_t *
tenant_amount(struct tenant_amounts *a, enum tenant_amount which)
{
	return (uint64_t *)(void *)((char *)a +
	    tenant_amounts_fields[which].offset);
}

const char *
tenant_amount_name(enum tenant_amount which)
{
	return tenant_amounts_fields[which].name;
}

unsigned int
object_flags(const struct table *t)
{
	const struct object_info *o;

	for (o = objects; o->table != NULL; o++)
		if (o->table == t)
			return o->flags;
	return 0;
}

void
objects_openapi(struct jbuf *b)
{
	const struct object_info *o;
	const char *sep = "";

	for (o = objects; o->table != NULL; o++) {
		if (!o->api)
			continue;
		jbuf_text(b, sep);
		table_openapi(o->table, o->flags, b);
		sep = ",";
	}
}
