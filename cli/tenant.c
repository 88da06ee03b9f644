#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/cli.h"
#include "cli/size.h"
#include "cli/tenant.h"
#include "cli/vm.h"
#include "common/num.h"
#include "common/util.h"

#define TENANTS "/api/v1/tenants"

/* --- requests --- */

static int
decode(const struct api_reply *rp, struct tenant_view *ret, struct err *e)
{
	struct err de = { 0 };
	int r =
	    table_decode(&tenant_table, 0, rp->body.p, rp->body.len, ret, &de);

	return r < 0
	    ? err_set(e, -EPROTO,
		  "what the API says of a tenant makes no sense: %.120s",
		  de.msg)
	    : 0;
}

/* ret NULL: nothing comes. */
static int
ask(struct cli *c, const struct api_request *rq, int want,
    struct tenant_view *ret, struct err *e)
{
	struct api_reply rp = { 0 };
	int r = api_call(c->api, rq, &rp, e);

	if (r == 0 && rp.status != want)
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, NULL, e);
	else if (r == 0 && ret != NULL)
		r = decode(&rp, ret, e);
	api_reply_free(&rp);
	return r;
}

/* With a body of that table. */
static int
ask_with(struct cli *c, const char *method, const char *target,
    const struct table *t, const void *obj, int want, struct tenant_view *ret,
    struct err *e)
{
	struct api_request rq = {
		.method = method, .target = target, .keyed = true
	};
	struct jbuf b;
	int r;

	jbuf_init(&b, TABLE_JSON_MAX);
	table_encode(t, 0, obj, &b);
	jbuf_raw(&b, "", 1);
	rq.body = b.p;
	r = b.r < 0 ? err_set(e, b.r, "out of memory")
		    : ask(c, &rq, want, ret, e);
	jbuf_free(&b);
	return r;
}

int
tenant_list(struct cli *c, struct objs *ret, struct err *e)
{
	struct api_request rq = { .method = "GET", .target = TENANTS };
	struct api_reply rp = { 0 };
	struct err de = { 0 };
	int r = api_call(c->api, &rq, &rp, e);

	if (r == 0 && rp.status != 200)
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, NULL, e);
	else if (r == 0 &&
	    table_decode_list(
		&tenant_table, 0, rp.body.p, rp.body.len, ret, &de) < 0)
		r = err_set(e, -EPROTO,
		    "the list of tenants makes no sense: %.160s", de.msg);
	api_reply_free(&rp);
	return r;
}

int
tenant_get(
    struct cli *c, const char *name, struct tenant_view *ret, struct err *e)
{
	char target[API_TARGET_MAX];
	struct api_request rq = { .method = "GET", .target = target };
	int r = vm_target(target, TENANTS "/", name, "", e);

	return r < 0 ? r : ask(c, &rq, 200, ret, e);
}

int
tenant_create(struct cli *c, const struct tenant_create *rq,
    struct tenant_view *ret, struct err *e)
{
	return ask_with(
	    c, "POST", TENANTS, &tenant_create_table, rq, 201, ret, e);
}

int
tenant_change(struct cli *c, const char *name, const struct tenant_change *rq,
    struct tenant_view *ret, struct err *e)
{
	char target[API_TARGET_MAX];
	int r = vm_target(target, TENANTS "/", name, "", e);

	return r < 0 ? r
		     : ask_with(c, "PATCH", target, &tenant_change_table, rq,
			   200, ret, e);
}

int
tenant_delete(struct cli *c, const char *name, bool force, struct err *e)
{
	char target[API_TARGET_MAX];
	struct api_request rq = {
		.method = "DELETE", .target = target, .keyed = true
	};
	int r =
	    vm_target(target, TENANTS "/", name, force ? "?force=1" : "", e);

	return r < 0 ? r : ask(c, &rq, 204, NULL, e);
}

/* --- words of the command line --- */

const char *
tenant_amount_text(enum tenant_amount which)
{
	return which == TENANT_MEMORY_MB ? "memory" : tenant_amount_name(which);
}

static int
one_quota(const char *text, struct tenant_amounts *q, struct err *e)
{
	const size_t len = strcspn(text, "=");
	const char *value = text + len + (text[len] == '=');
	uint32_t mib = 0;
	unsigned int i;
	long long v;
	int r;

	for (i = 0; i < TENANT_AMOUNTS; i++) {
		const char *name = tenant_amount_text((enum tenant_amount)i);

		if (strlen(name) == len && strncmp(name, text, len) == 0)
			break;
	}
	if (i == TENANT_AMOUNTS || text[len] == '\0')
		return err_set(e, -EINVAL,
		    "%.40s: it is vms=N, cpus=N, memory=SIZE, operations=N, "
		    "streams=N, readers=N or requests=N",
		    text);
	r = num_parse(value, 0, INT32_MAX, &v);
	if (i == TENANT_MEMORY_MB && (r < 0 || v != 0)) {
		if (size_parse_mib(value, INT32_MAX, &mib, e) < 0)
			return -EINVAL;
		v = mib;
		r = 0;
	}
	if (r < 0)
		return err_set(e, -EINVAL, "%.40s: it is a number, 0 to %d",
		    text, INT32_MAX);
	*tenant_amount(q, (enum tenant_amount)i) = (uint64_t)v;
	q->has |= TABLE_HAS(i);
	return 0;
}

int
tenant_quota(const char *text, struct tenant_amounts *q, struct err *e)
{
	char one[64];
	size_t n;

	for (;; text += n + 1) {
		n = strcspn(text, ",");
		if (n >= sizeof(one))
			return err_set(e, -EINVAL, "%.40s: too long", text);
		memcpy(one, text, n);
		one[n] = '\0';
		if (one_quota(one, q, e) < 0)
			return -EINVAL;
		if (text[n] == '\0')
			return 0;
	}
}

static int
member_id(const char *name, uint8_t kind, uint32_t *ret, struct err *e)
{
	const struct passwd *pw;
	const struct group *gr;
	long long v;

	if (num_parse(name, 0, UINT32_MAX - 1, &v) == 0) {
		*ret = (uint32_t)v;
		return 0;
	}
	if (kind == MEMBER_USER && (pw = getpwnam(name)) != NULL) {
		*ret = pw->pw_uid;
		return 0;
	}
	if (kind == MEMBER_GROUP && (gr = getgrnam(name)) != NULL) {
		*ret = gr->gr_gid;
		return 0;
	}
	return err_set(e, -EINVAL, "there is no %s %.64s on this host",
	    kind == MEMBER_USER ? "user" : "group", name);
}

int
tenant_member(
    const char *text, uint8_t kind, struct tenant_member *m, struct err *e)
{
	const char *role = strchr(text, ':');
	char name[256];
	int i;

	memset(m, 0, sizeof(*m));
	m->kind = kind;
	m->role = TENANT_OPERATOR;
	if ((size_t)snprintf(name, sizeof(name), "%.*s",
		(int)strcspn(text, ":"), text) >= sizeof(name))
		return err_set(e, -EINVAL, "%.40s: too long", text);
	if (role != NULL) {
		for (i = 0; i <= TENANT_ADMIN; i++)
			if (strcmp(role + 1, tenant_role_names[i]) == 0)
				break;
		if (i > TENANT_ADMIN)
			return err_set(e, -EINVAL,
			    "%.64s is no role: viewer, operator, admin, none",
			    role + 1);
		m->role = (uint8_t)i;
	}
	return member_id(name, kind, &m->id, e);
}

void
tenant_member_text(const struct tenant_member *m, char buf[MEMBER_TEXT_MAX])
{
	const struct passwd *pw;
	const struct group *gr;
	const char *name = NULL;

	if (m->kind == MEMBER_USER && (pw = getpwuid(m->id)) != NULL)
		name = pw->pw_name;
	else if (m->kind == MEMBER_GROUP && (gr = getgrgid(m->id)) != NULL)
		name = gr->gr_name;
	if (name != NULL)
		(void)snprintf(buf, MEMBER_TEXT_MAX, "%s %.64s",
		    m->kind == MEMBER_USER ? "user" : "group", name);
	else
		(void)snprintf(buf, MEMBER_TEXT_MAX, "%s %u",
		    m->kind == MEMBER_USER ? "user" : "group", m->id);
}

void
tenant_bar(uint64_t used, uint64_t limit, char buf[BAR_TEXT_MAX])
{
	uint64_t full;

	buf[0] = '\0';
	if (limit == 0)
		return;
	full = used >= limit ? BAR_CELLS : used * BAR_CELLS / limit;
	if (full == 0 && used > 0)
		full = 1;
	memset(buf + 1, ' ', BAR_CELLS);
	memset(buf + 1, '#', full);
	buf[0] = '[';
	buf[BAR_CELLS + 1] = ']';
	buf[BAR_CELLS + 2] = '\0';
}
