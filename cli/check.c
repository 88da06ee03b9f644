#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "cli/api.h"
#include "cli/check.h"
#include "cli/cli.h"
#include "cli/vm.h"
#include "common/clock.h"
#include "common/util.h"

#define NS_PER_S INT64_C(1000000000)
#define SLOW_S 120 /* longer is no start and no stop */

/* The API's checks by name; one that is not here stops VMs. */
static const struct {
	const char *name;
	bool stops, soon;
} kinds[] = {
	{ "accelerator", true, true },
	{ "cgroup", false, false }, /* VMs run without limits */
	{ "vsock", false, true },
	{ "network", true, true },
	{ "uplink", false, true }, /* VMs reach each other */
	{ "launcher", true, true },
	{ "staged tree", true, false },
	{ "store", true, false },
	{ "disk", false, false }, /* one that is full is the store's */
	{ "room for vms", true, false },
	{ "orphans", false, false },
	{ "vm", false, false }, /* one of them */
	{ "vms", false, false },
};

static struct check *
add(struct checks *ck)
{
	if (ck->n == nitems(ck->v))
		return NULL;
	ck->v[ck->n] = (struct check){ .ok = true };
	return &ck->v[ck->n++];
}

static const char *
member(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_string))
		return "";
	return json_object_get_string(v);
}

static void
set_kind(struct check *k)
{
	size_t i;

	k->stops = true;
	for (i = 0; i < nitems(kinds); i++) {
		if (strcmp(kinds[i].name, k->name) == 0) {
			k->stops = kinds[i].stops;
			k->soon = kinds[i].soon;
		}
	}
}

/* Unlike the tables, it takes any text: what is shown is escaped. */
static int
read_check(struct json_object *o, struct checks *ck)
{
	struct json_object *ok;
	struct check *k;

	if (!json_object_is_type(o, json_type_object) ||
	    member(o, "name")[0] == '\0' ||
	    !json_object_object_get_ex(o, "ok", &ok) ||
	    !json_object_is_type(ok, json_type_boolean) ||
	    (k = add(ck)) == NULL)
		return -EPROTO;
	(void)snprintf(k->name, sizeof(k->name), "%s", member(o, "name"));
	(void)snprintf(k->detail, sizeof(k->detail), "%s", member(o, "detail"));
	k->ok = json_object_get_boolean(ok);
	set_kind(k);
	return 0;
}

static int
read_report(const struct jbuf *b, struct checks *ck, struct err *e)
{
	struct json_object *o = b->p == NULL ? NULL : json_tokener_parse(b->p);
	int r = json_object_is_type(o, json_type_array) ? 0 : -EPROTO;
	size_t i;

	for (i = 0; r == 0 && i < json_object_array_length(o); i++)
		r = read_check(json_object_array_get_idx(o, i), ck);
	json_object_put(o);
	return r < 0 ? err_set(e, r, "the API's report makes no sense") : 0;
}

int
check_host(struct cli *c, struct checks *ret, struct err *e)
{
	struct api_request rq = { .method = "GET",
		.target = "/api/v1/system/doctor" };
	struct api_reply rp = { 0 };
	int r;

	ret->n = 0;
	r = api_call(c->api, &rq, &rp, e);
	if (r == 0 && rp.status != 200)
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, NULL, e);
	else if (r == 0)
		r = read_report(&rp.body, ret, e);
	api_reply_free(&rp);
	return r;
}

size_t
check_stops(const struct checks *ck, bool soon)
{
	size_t i, n = 0;

	for (i = 0; i < ck->n; i++) {
		if (!ck->v[i].ok && ck->v[i].stops && (!soon || ck->v[i].soon))
			n++;
	}
	return n;
}

/* ---- of the VMs ---- */

static void say(struct check *k, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds to the detail. */
static void
say(struct check *k, const char *fmt, ...)
{
	const size_t at = strlen(k->detail);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(k->detail + at, sizeof(k->detail) - at, fmt, ap);
	va_end(ap);
}

/* What is not as it should be, of one VM; NULL: nothing. */
static const char *
wrong_state(const struct vm_view *vm, int64_t now)
{
	const bool slow = (now - vm->updated_at) / NS_PER_S > SLOW_S;

	switch (vm->status) {
	case VM_STATUS_RUNNING:
		return vm->ready || !slow ? NULL : "is not ready";
	case VM_STATUS_PENDING:
	case VM_STATUS_STARTING:
		return slow ? "does not start" : NULL;
	case VM_STATUS_STOPPING:
	case VM_STATUS_DELETING:
		return slow ? "does not stop" : NULL;
	case VM_STATUS_CRASHED:
		return "has crashed";
	default:
		return NULL;
	}
}

static const char *
wrong_hold(const struct vm_view *vm, int64_t now)
{
	(void)now;
	if (vm->status != VM_STATUS_RUNNING ||
	    (vm->has & TABLE_HAS(VM_CONFINEMENT)) == 0)
		return NULL;
	return vm->confinement.verified ? NULL : "is not held as it should be";
}

/* Names the first that is wrong, and how many more are. */
static void
compare(struct checks *ck, const char *name, const char *good,
    const struct objs *list,
    const char *(*wrong)(const struct vm_view *vm, int64_t now))
{
	const struct vm_view *vms = list->items;
	const int64_t now = clock_wall_ns();
	struct check *k = add(ck);
	uint32_t i, n = 0;
	const char *why;

	if (k == NULL)
		return;
	(void)snprintf(k->name, sizeof(k->name), "%s", name);
	for (i = 0; i < list->count; i++) {
		if ((why = wrong(&vms[i], now)) == NULL)
			continue;
		if (n++ == 0)
			say(k, "%s %s", vms[i].name, why);
	}
	k->ok = n == 0;
	if (n == 0)
		say(k, "%s", good);
	else if (n > 1)
		say(k, ", and %" PRIu32 " more are not as they should be",
		    n - 1);
}

static void
memory(struct checks *ck, const struct objs *list)
{
	const struct vm_view *vms = list->items;
	uint64_t host, want = 0;
	uint32_t i, n = 0;
	struct sysinfo si;
	struct check *k;

	if (sysinfo(&si) < 0 || (k = add(ck)) == NULL)
		return;
	for (i = 0; i < list->count; i++) {
		if (!vm_at_rest(&vms[i])) {
			want += vms[i].memory_mb;
			n++;
		}
	}
	host = (uint64_t)si.totalram * si.mem_unit >> 20;
	(void)snprintf(k->name, sizeof(k->name), "memory");
	say(k,
	    "the %" PRIu32 " vms that run may use %" PRIu64
	    " MiB, and this host has %" PRIu64,
	    n, want, host);
	k->ok = want <= host;
}

int
check_vms(struct cli *c, struct checks *ck, struct err *e)
{
	struct objs vms = { 0 };
	int r;

	if ((r = vm_list(c, "", &vms, e)) < 0)
		return r;
	compare(ck, "vms", "each is in the state it should be in", &vms,
	    wrong_state);
	compare(ck, "confinement", "what runs was read back as it should be",
	    &vms, wrong_hold);
	memory(ck, &vms);
	table_clear_list(&vm_table, &vms);
	return 0;
}
