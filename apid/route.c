#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apid/route.h"
#include "common/url.h"
#include "common/util.h"
#include "proto/api.h"
#include "proto/launch.h"

const struct route routes[] = {
	{ HTTP_GET, "/healthz", ROUTE_HEALTH, 0, 0, 0, BODY_NONE_MAX, 200,
	    "getHealth", NULL, NULL, "Does the suite serve?" },
	{ HTTP_GET, "/openapi", ROUTE_OPENAPI, 0, 0, 0, BODY_NONE_MAX, 200,
	    "getOpenAPI", NULL, NULL, "This description." },
	{ HTTP_GET, "/api/v1/vms", ROUTE_ASK, API_VM_LIST, 0, API_DOC_VMS,
	    BODY_NONE_MAX, 200, "listVMs", NULL, "VM[]", "VMs." },
	{ HTTP_POST, "/api/v1/vms", ROUTE_ASK, API_VM_CREATE, 0, API_DOC_VM,
	    BODY_CREATE_MAX, 201, "createVM", "VMCreate", "VM",
	    "Makes a VM and starts it." },
	{ HTTP_GET, "/api/v1/vms/:name", ROUTE_ASK, API_VM_GET, 0, API_DOC_VM,
	    BODY_NONE_MAX, 200, "getVMByName", NULL, "VM", "One VM." },
	{ HTTP_DELETE, "/api/v1/vms/:name", ROUTE_ASK, API_VM_DELETE, 0,
	    API_DOC_NONE, BODY_NONE_MAX, 204, "destroyVM", NULL, NULL,
	    "Stops and removes a VM." },
	{ HTTP_POST, "/api/v1/vms/:name/start", ROUTE_ASK, API_VM_START, 0,
	    API_DOC_VM, BODY_NONE_MAX, 200, "startVM", NULL, "VM",
	    "Starts a VM." },
	{ HTTP_POST, "/api/v1/vms/:name/stop", ROUTE_ASK, API_VM_STOP, 0,
	    API_DOC_VM, BODY_NONE_MAX, 200, "stopVM", NULL, "VM",
	    "Stops a VM." },
	{ HTTP_GET, "/api/v1/vms/:name/exec", ROUTE_EXEC, API_STREAM,
	    STREAM_EXEC, API_DOC_NONE, BODY_NONE_MAX, 101, "vmExecWebSocket",
	    NULL, NULL, "Runs a program: WebSocket v5.channel.k8s.io." },
	{ HTTP_GET, "/ws/v1/vms/:name/console", ROUTE_CONSOLE, API_STREAM,
	    STREAM_CONSOLE, API_DOC_NONE, BODY_NONE_MAX, 101,
	    "vmConsoleWebSocket", NULL, NULL,
	    "The serial console: WebSocket, binary frames." },
	{ HTTP_GET, "/api/v1/vms/:name/console-log", ROUTE_LOG, API_STREAM,
	    STREAM_CONSOLE_LOG, API_DOC_NONE, BODY_NONE_MAX, 200,
	    "getVMConsoleLog", NULL, NULL,
	    "What the serial console said; ?follow=1 goes on." },
	{ HTTP_GET, "/api/v1/events/vms", ROUTE_EVENTS, API_EVENTS, 0,
	    API_DOC_EVENTS, BODY_NONE_MAX, 200, "streamVMEvents", NULL, NULL,
	    "Events, as server-sent events." },
	{ HTTP_GET, "/api/v1/system/doctor", ROUTE_ASK, API_DOCTOR, 0,
	    API_DOC_CHECKS, BODY_NONE_MAX, 200, "getDoctor", NULL, "Check[]",
	    "What this host can do." },
};
const size_t nroutes = nitems(routes);

static bool
is_match(const char *pattern, const struct url_path *u, const char **name)
{
	const char *p = pattern;
	size_t i, len;

	*name = NULL;
	for (i = 0; i < u->n; i++) {
		if (*p++ != '/')
			return false;
		len = strcspn(p, "/");
		if (*p == ':')
			*name = u->seg[i].text;
		else if (len != u->seg[i].len ||
		    memcmp(p, u->seg[i].text, len) != 0)
			return false;
		p += len;
	}
	return *p == '\0';
}

int
route_find(const struct url_path *u, enum http_method m,
    const struct route **ret, const char **name, char allow[ROUTE_ALLOW_MAX])
{
	const char *found;
	size_t i, n = 0;

	allow[0] = '\0';
	for (i = 0; i < nroutes; i++) {
		if (!is_match(routes[i].path, u, &found))
			continue;
		if (routes[i].method == m) {
			*ret = &routes[i];
			*name = found;
			return 0;
		}
		n += (size_t)snprintf(allow + n, ROUTE_ALLOW_MAX - n, "%s%s",
		    n > 0 ? ", " : "", http_method_name(routes[i].method));
		if (n >= ROUTE_ALLOW_MAX)
			n = ROUTE_ALLOW_MAX - 1; /* never with this table */
	}
	return n > 0 ? -EOPNOTSUPP : -ENOENT;
}
