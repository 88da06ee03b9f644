#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apid/route.h"
#include "common/err.h"
#include "common/url.h"
#include "common/util.h"
#include "proto/launch.h"
#include "proto/objects.h"
#include "proto/right.h"

#define VMS "/api/v1/vms"
#define VM VMS "/{name:vm}"
#define ORPHANS "/api/v1/orphans"
#define ORPHAN ORPHANS "/{name:orphan}"
#define TENANTS "/api/v1/tenants"
#define TENANT TENANTS "/{name:tenant}"

static uint32_t
stop_more_ms(const void *query)
{
	return ((const struct vm_stop *)query)->timeout * 1000;
}

static int
exec_detached(void *in, struct err *e)
{
	struct exec_request *rq = in;

	if (rq->tty || rq->stdin)
		return err_set(e, -EINVAL,
		    "%s: not for a command that nobody waits for",
		    rq->tty ? "tty" : "stdin");
	rq->detach = true;
	return 0;
}

/* Without a right there is no route. */
#define ROUTE(m, path, kind, right, ...)                                  \
	{                                                                 \
		HTTP_##m, path, ROUTE_##kind, &api_rights[RIGHT_##right], \
		    __VA_ARGS__                                           \
	}
static const struct route rows[] = {
	ROUTE(GET, "/healthz", HEALTH, HEALTH, .ok = 200, .op = "getHealth",
	    .about = "Does the suite serve?"),
	ROUTE(GET, "/openapi", OPENAPI, OPENAPI, .ok = 200, .op = "getOpenAPI",
	    .about = "This description."),

	ROUTE(GET, VMS, ASK, VM_LIST, .query = &vm_query_table,
	    .out = &vm_table, .list = true, .ok = 200, .op = "listVMs",
	    .about = "VMs."),
	ROUTE(POST, VMS, ASK, VM_CREATE, .in = &vm_create_table,
	    .out = &vm_table, .ok = 201, .op = "createVM",
	    .about = "Makes a VM and starts it."),
	ROUTE(GET, VM, ASK, VM_GET, .out = &vm_table, .ok = 200,
	    .op = "getVMByName", .about = "One VM."),
	ROUTE(DELETE, VM, ASK, VM_DELETE, .ok = 204, .op = "destroyVM",
	    .about = "Stops and removes a VM."),
	ROUTE(POST, VM "/start", ASK, VM_START, .out = &vm_table, .ok = 200,
	    .op = "startVM", .about = "Starts a VM."),
	ROUTE(POST, VM "/stop", ASK, VM_STOP, .query = &vm_stop_table,
	    .out = &vm_table, .more_ms = stop_more_ms, .ok = 200,
	    .op = "stopVM", .about = "Stops a VM."),
	ROUTE(POST, VM "/kill", CALL, SIGNAL, .in = &vm_signal_table,
	    .out = &vm_signalled_table, .ok = 200, .op = "signalVM",
	    .about = "Sends a signal to the commands that run in a VM."),
	ROUTE(POST, VM "/rename", ASK, VM_RENAME, .in = &vm_rename_table,
	    .out = &vm_table, .ok = 200, .op = "renameVM",
	    .about = "Gives a VM another name."),
	ROUTE(GET, VM "/exec", EXEC, EXEC, .ok = 101, .op = "vmExecWebSocket",
	    .about = "Runs a program: WebSocket v5.channel.k8s.io."),
	ROUTE(POST, VM "/exec", CALL, EXEC, .in = &exec_request_table,
	    .imply = exec_detached, .out = &exec_started_table, .ok = 201,
	    .op = "vmExecDetached",
	    .about = "Starts a program that goes on by itself."),
	ROUTE(GET, "/ws/v1/vms/{name:vm}/console", CONSOLE, CONSOLE, .ok = 101,
	    .op = "vmConsoleWebSocket",
	    .about = "The serial console: WebSocket, binary frames."),
	ROUTE(GET, VM "/console-log", LOG, CONSOLE_LOG, .ok = 200,
	    .op = "getVMConsoleLog", .query = &log_query_table,
	    .about = "What the serial console said; ?follow=1 goes on."),
	ROUTE(GET, VM "/vmm-log", LOG, VMM_LOG, .query = &log_query_table,
	    .ok = 200, .op = "getVMMLog",
	    .about = "What the hypervisor and its helpers said."),

	ROUTE(GET, TENANTS, ASK, TENANT_LIST, .out = &tenant_table,
	    .list = true, .ok = 200, .op = "listTenants",
	    .about = "Tenants that you are in."),
	ROUTE(POST, TENANTS, ASK, TENANT_CREATE, .in = &tenant_create_table,
	    .out = &tenant_table, .ok = 201, .op = "createTenant",
	    .about = "Makes a tenant."),
	ROUTE(GET, TENANT, ASK, TENANT_GET, .out = &tenant_table, .ok = 200,
	    .op = "getTenantByName", .about = "One tenant."),
	ROUTE(PATCH, TENANT, ASK, TENANT_CHANGE, .in = &tenant_change_table,
	    .out = &tenant_table, .ok = 200, .op = "changeTenant",
	    .about = "Changes what is given of a tenant."),
	ROUTE(DELETE, TENANT, ASK, TENANT_DELETE, .query = &tenant_delete_table,
	    .ok = 204, .op = "deleteTenant", .about = "Removes a tenant."),

	ROUTE(GET, "/api/v1/audit", ASK, AUDIT, .query = &audit_query_table,
	    .out = &audit_page_table, .ok = 200, .op = "getAudit",
	    .about = "Who did what, or was not let."),
	ROUTE(GET, "/api/v1/store/backup", FILE, STORE_BACKUP, .ok = 200,
	    .op = "backupStore",
	    .about = "The store as it is now: a file of SQLite, with secrets."),
	ROUTE(GET, ORPHANS, ASK, ORPHAN_LIST, .out = &orphan_table,
	    .list = true, .ok = 200, .op = "listOrphans",
	    .about = "VMs that run and that the store does not know."),
	ROUTE(DELETE, ORPHAN, ASK, ORPHAN_DELETE, .ok = 204,
	    .op = "destroyOrphan", .about = "Ends and removes such a VM."),
	ROUTE(POST, ORPHAN "/adopt", ASK, ORPHAN_ADOPT,
	    .in = &orphan_adopt_table, .out = &vm_table, .ok = 200,
	    .op = "adoptOrphan", .about = "Makes such a VM one of a tenant's."),

	ROUTE(GET, "/api/v1/events/vms", EVENTS, EVENTS, .ok = 200,
	    .op = "streamVMEvents", .about = "Events, as server-sent events."),
	ROUTE(GET, "/api/v1/system/doctor", ASK, DOCTOR, .out = &check_table,
	    .list = true, .ok = 200, .op = "getDoctor",
	    .about = "What this host can do."),
};
const struct route_table api_routes = { rows, nitems(rows) };

bool
route_var(const char *path, struct route_var *ret)
{
	const char *p = strchr(path, '{');

	if (p == NULL)
		return false;
	ret->name = ret->what = ++p;
	ret->name_len = ret->what_len = (int)strcspn(p, ":}");
	p += ret->name_len;
	if (*p == ':') {
		ret->what = ++p;
		ret->what_len = (int)strcspn(p, "}");
		p += ret->what_len;
	}
	ret->end = p + 1;
	return true;
}

static bool
is_match(const char *pattern, const struct url_path *u,
    const char *vars[API_VARS_MAX])
{
	const char *p = pattern;
	size_t i, len, n = 0;

	for (i = 0; i < API_VARS_MAX; i++)
		vars[i] = NULL;
	for (i = 0; i < u->n; i++) {
		if (*p++ != '/')
			return false;
		len = strcspn(p, "/");
		if (*p == '{' && n < API_VARS_MAX)
			vars[n++] = u->seg[i].text;
		else if (len != u->seg[i].len ||
		    memcmp(p, u->seg[i].text, len) != 0)
			return false;
		p += len;
	}
	return *p == '\0';
}

int
route_find(const struct route_table *t, const struct url_path *u,
    enum http_method m, const struct route **ret,
    const char *vars[API_VARS_MAX], char allow[ROUTE_ALLOW_MAX])
{
	size_t i, n = 0;

	allow[0] = '\0';
	for (i = 0; i < t->n; i++) {
		if (!is_match(t->rows[i].path, u, vars))
			continue;
		if (t->rows[i].method == m) {
			*ret = &t->rows[i];
			return 0;
		}
		n += (size_t)snprintf(allow + n, ROUTE_ALLOW_MAX - n, "%s%s",
		    n > 0 ? ", " : "", http_method_name(t->rows[i].method));
		if (n >= ROUTE_ALLOW_MAX)
			n = ROUTE_ALLOW_MAX - 1; /* never: each method once */
	}
	return n > 0 ? -EOPNOTSUPP : -ENOENT;
}

size_t
route_body_max(const struct route *r)
{
	return r->in != NULL ? BODY_MAX : BODY_NONE_MAX;
}
