#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/api.h"
#include "agent/boot.h"
#include "agent/conn.h"
#include "agent/detach.h"
#include "agent/exec.h"
#include "agent/hold.h"
#include "agent/power.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/util.h"
#include "proto/table.h"

static void
get_health(struct conn *c)
{
	struct timespec ts = { 0 };
	char json[400];

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	(void)snprintf(json, sizeof(json),
	    "{\"status\":\"ok\",\"version\":\"%s\",\"boot_spec\":%d,"
	    "\"uptime_ms\":%lld,\"ready\":%s,\"vsock\":%s,\"pid\":%d,"
	    "\"oom_kills\":%lu,\"oom_last\":\"%s\",\"time_ns\":%lld,"
	    "\"signals\":true,\"end\":true}",
	    AGENT_VERSION, BOOT_SPEC_VERSION,
	    (long long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000,
	    c->a->is_booted ? "true" : "false",
	    c->a->vsock.is_there ? "true" : "false", (int)getpid(),
	    c->a->oom.kills, c->a->oom.last, (long long)clock_wall_ns());
	conn_answer(c, 200, json);
}

static void
get_stats(struct conn *c)
{
	struct sysinfo si = { 0 };
	char json[256];

	(void)sysinfo(&si);
	(void)snprintf(json, sizeof(json),
	    "{\"mem_total_bytes\":%llu,\"mem_free_bytes\":%llu,"
	    "\"load1_milli\":%llu,\"procs\":%u,\"execs\":%zu}",
	    (unsigned long long)si.totalram * si.mem_unit,
	    (unsigned long long)si.freeram * si.mem_unit,
	    (unsigned long long)si.loads[0] * 1000 / 65536,
	    (unsigned int)si.procs, c->a->nexecs);
	conn_answer(c, 200, json);
}

/*
 * Once: a second spec would give a running workload another identity.  A
 * spec that could not be applied may be sent again, unless the workload
 * stands already.
 */
static void
put_boot(struct conn *c)
{
	struct agent *a = c->a;
	struct err e = { 0 };
	int r;

	if (a->is_booted) {
		conn_error(c, 409, "this guest has its boot spec");
		return;
	}
	if (table_decode(&boot_spec_table, TABLE_STRICT | TABLE_NEWER, c->body,
		c->body_len, &a->spec, &e) < 0) {
		conn_error(c, 400, e.msg);
		return;
	}
	if (strcmp(a->spec.image, "busybox") != 0)
		r = err_set(
		    &e, -1, "no image %.128s in this guest", a->spec.image);
	else if ((r = boot_apply(&a->spec, &e)) == 0)
		r = work_start(&a->work, &a->spec, &e);
	if (r < 0) {
		table_clear(&boot_spec_table, &a->spec);
		conn_error(c, 500, e.msg);
		return;
	}
	/* it has served; nothing needs to hold it */
	explicit_bzero(a->spec.entropy, sizeof(a->spec.entropy));
	hold_limit(a->work.limits.own);
	a->is_booted = true;
	power_listen(a);
	conn_answer(c, 200, "{\"ready\":true}");
}

#define K struct key_request
struct key_request {
	uint64_t has;
	char key[GATE_HEX + 1];
};
static const struct field key_fields[] = {
	{ F_(K, key, FT_STR), .flags = FF_REQUIRED, .min = GATE_HEX,
	    .max = GATE_HEX, .doc = "in hexadecimal" },
};
static const struct table key_table = { .name = "key",
	.size = sizeof(K),
	.fields = key_fields,
	.nfields = nitems(key_fields),
	.doc = "What a connection by AF_VSOCK begins with." };
#undef K

/* A new warden sets a new one.  Only who came by virtio-serial can: what is
 * at its other end is this guest's own jail. */
static void
put_vsock(struct conn *c)
{
	struct key_request req = { 0 };
	uint8_t key[GATE_KEY] = { 0 };
	struct err e = { 0 };
	int r;

	if (c->d.ys == NULL)
		conn_error(c, 403, "not by this way");
	else if (table_decode(&key_table, TABLE_STRICT, c->body, c->body_len,
		     &req, &e) < 0)
		conn_error(c, 400, e.msg);
	else if (gate_parse(req.key, key) < 0)
		conn_error(c, 400, "key: not hexadecimal");
	else if ((r = vsock_key(&c->a->vsock, key)) < 0)
		conn_error(c, r == -ENODEV ? 404 : 500, strerrordesc_np(-r));
	else
		conn_answer(c, 200, "{\"port\":1024}");
	explicit_bzero(&req, sizeof(req));
	explicit_bzero(key, sizeof(key));
}

#define O struct offset_request
struct offset_request {
	uint64_t has;
	int64_t offset_ns;
};
static const struct field offset_fields[] = {
	{ F_INTF(O, offset_ns, FF_REQUIRED), .min = INT64_MIN / 2,
	    .max = INT64_MAX / 2, .doc = "what the clock lacks" },
};
static const struct table offset_table = { .name = "offset",
	.size = sizeof(O),
	.fields = offset_fields,
	.nfields = nitems(offset_fields),
	.doc = "How wrong the guest's clock is." };
#undef O

/* What the warden found by /healthz' time_ns. */
static void
put_clock(struct conn *c)
{
	struct offset_request req = { 0 };
	struct err e = { 0 };

	if (c->d.ys == NULL)
		conn_error(c, 403, "not by this way");
	else if (table_decode(&offset_table, TABLE_STRICT, c->body, c->body_len,
		     &req, &e) < 0)
		conn_error(c, 400, e.msg);
	else if (boot_clock(req.offset_ns, &e) < 0)
		conn_error(c, 500, e.msg);
	else
		conn_answer(c, 200, "{}");
}

/* What the guest itself has wrong is not the agent's failure. */
static int
exec_refusal(int r)
{
	if (r == -EBUSY)
		return 503;
	if (r == -EINVAL)
		return 400;
	return r == -ENOENT || r == -EPROTO ? 422 : 500;
}

static void
post_exec(struct conn *c)
{
	struct exec_request req;
	struct exec *ex = NULL;
	struct err e = { 0 };
	int r;

	if (c->http->upgrade == NULL ||
	    !http_list_has(c->http->upgrade, "mews-exec")) {
		conn_error(c, 426, "exec needs Upgrade: mews-exec");
		return;
	}
	if (table_decode(&exec_request_table, TABLE_STRICT, c->body,
		c->body_len, &req, &e) < 0) {
		conn_error(c, 400, e.msg);
		return;
	}
	if (req.detach && (req.tty || req.stdin))
		r = err_set(&e, -EINVAL, "detach: without tty and stdin");
	else if (req.detach)
		r = detach_start(c, &req, &e);
	else if (!exec_has_room(c->a))
		r = err_set(&e, -EBUSY,
		    "%d commands run in this vm, or are being ended as their "
		    "clients are gone: try again in some seconds",
		    EXECS_MAX);
	else if ((r = exec_start(c, &req, &ex, &e)) == 0)
		conn_upgrade(c, &exec_taker, ex);
	if (r < 0)
		conn_error(c, exec_refusal(r), e.msg);
	table_clear(&exec_request_table, &req);
}

/* To the commands that run, whoever started them. */
static void
post_kill(struct conn *c)
{
	struct vm_signal req = { 0 };
	struct err e = { 0 };
	char json[48];
	size_t n;

	if (table_decode(&vm_signal_table, TABLE_STRICT, c->body, c->body_len,
		&req, &e) < 0) {
		conn_error(c, 400, e.msg);
		return;
	}
	n = exec_signal_all(req.signal) + detach_signal_all(req.signal);
	if (n == 0) {
		conn_error(c, 409, "no command runs in this vm");
		return;
	}
	(void)snprintf(json, sizeof(json), "{\"signalled\":%zu}", n);
	conn_answer(c, 200, json);
}

#define P struct power_request
struct power_request {
	uint64_t has;
	uint8_t action;
	uint32_t grace_ms;
};
enum { POWER_OFF, POWER_REBOOT };
static const char *const power_names[] = { "off", "reboot", NULL };
static const struct field power_fields[] = {
	{ F_(P, action, FT_ENUM), .flags = FF_REQUIRED, .names = power_names,
	    .doc = "off or reboot" },
	{ F_INTF(P, grace_ms, FF_OPTIONAL), .max = UINT32_MAX,
	    .doc = "so long programs have to end" },
};
static const struct table power_table = { .name = "power",
	.size = sizeof(P),
	.fields = power_fields,
	.nfields = nitems(power_fields),
	.doc = "How the guest ends." };
#undef P

static void
post_power(struct conn *c)
{
	struct power_request req = { 0 };
	struct err e = { 0 };

	if (table_decode(&power_table, TABLE_STRICT, c->body, c->body_len, &req,
		&e) < 0) {
		conn_error(c, 400, e.msg);
		return;
	}
	conn_answer(c, 202, "{}");
	power_begin(c->a, req.action == POWER_OFF ? RB_POWER_OFF : RB_AUTOBOOT,
	    req.grace_ms);
}

/* Its answer is the end: of this machine, and in good order. */
static void
get_end(struct conn *c)
{
	if (c->d.ys == NULL)
		conn_error(c, 403, "not by this way");
	else if (word_ask(&c->a->word, c) < 0)
		conn_error(c, 409, "another one waits for it");
}

static const struct route {
	const char *path;
	enum http_method method;
	bool before_boot; /* served while the guest has no identity yet */
	void (*fn)(struct conn *c);
} routes[] = {
	{ "/healthz", HTTP_GET, true, get_health },
	{ "/v1/boot", HTTP_PUT, true, put_boot },
	{ "/v1/vsock", HTTP_PUT, true, put_vsock },
	{ "/v1/clock", HTTP_PUT, true, put_clock },
	{ "/v1/power", HTTP_POST, true, post_power },
	{ "/v1/end", HTTP_GET, true, get_end },
	{ "/v1/stats", HTTP_GET, false, get_stats },
	{ "/v1/exec", HTTP_POST, false, post_exec },
	{ "/v1/kill", HTTP_POST, false, post_kill },
};

void
api_request(struct conn *c)
{
	const struct route *rt = NULL;
	size_t i;

	for (i = 0; i < nitems(routes) && rt == NULL; i++) {
		if (strcmp(routes[i].path, c->http->path) == 0)
			rt = &routes[i];
	}
	if ((rt == NULL || !rt->before_boot) && !c->a->is_booted)
		conn_error(c, 503, "the guest has no boot spec yet");
	else if (rt == NULL)
		conn_error(c, 404, "no such path");
	else if (rt->method != c->http->method)
		conn_error(c, 405, "no such method here");
	else
		rt->fn(c);
}
