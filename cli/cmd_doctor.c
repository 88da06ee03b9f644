#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/vm.h"
#include "common/util.h"

#define CHECKS_MAX 1024
#define EXIT_UNWELL 1

static const char *
member(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_string))
		return "";
	return json_object_get_string(v);
}

/* *bad counts the checks that say no. */
static int
show(struct json_object *checks, size_t *bad, struct err *e)
{
	static const char *const heads[] = { "CHECK", "OK", "DETAIL" };
	size_t i, n = json_object_array_length(checks);
	struct out_table *t = out_table_new(stdout, heads, nitems(heads));
	struct json_object *o, *ok = NULL;
	int r = t == NULL ? -ENOMEM : 0;

	for (i = 0; r == 0 && i < n && i < CHECKS_MAX; i++) {
		bool is_ok;

		o = json_object_array_get_idx(checks, i);
		if (!json_object_is_type(o, json_type_object) ||
		    member(o, "name")[0] == '\0' ||
		    !json_object_object_get_ex(o, "ok", &ok) ||
		    !json_object_is_type(ok, json_type_boolean)) {
			r = -EPROTO;
			break;
		}
		is_ok = json_object_get_boolean(ok);
		*bad += is_ok ? 0 : 1;
		r = out_table_row(t,
		    (const char *[]){ member(o, "name"), is_ok ? "yes" : "NO",
			member(o, "detail") },
		    nitems(heads));
	}
	if (r == 0)
		r = out_table_print(t);
	out_table_free(t);
	if (r == -EPROTO)
		return err_set(e, r, "the API's report makes no sense");
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

static int
report(struct cli *c, const struct jbuf *b, size_t *bad, struct err *e)
{
	struct json_object *o = b->p == NULL ? NULL : json_tokener_parse(b->p);
	struct json_object *checks = o;
	int r = 0;

	if (json_object_is_type(o, json_type_object))
		(void)json_object_object_get_ex(o, "checks", &checks);
	if (!json_object_is_type(checks, json_type_array))
		r = err_set(e, -EPROTO, "the API's report makes no sense");
	else if (c->json)
		r = out_json(stdout, b->p, b->len, e);
	else
		r = show(checks, bad, e);
	json_object_put(o);
	return r;
}

int
cmd_doctor(struct cli *c, int argc, char *argv[])
{
	struct api_request rq = { .method = "GET",
		.target = "/api/v1/system/doctor" };
	struct api_reply rp = { 0 };
	struct err e = { 0 };
	size_t bad = 0;
	int r;

	r = opt_none(c, argc, argv);
	if (r != 0)
		return r == OPT_HELP ? 0 : EXIT_OURS;
	if (optind != argc)
		return cli_usage(c, "doctor takes no arguments");
	r = api_call(c->api, &rq, &rp, &e);
	if (r == 0 && rp.status != 200)
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, NULL, &e);
	else if (r == 0)
		r = report(c, &rp.body, &bad, &e);
	api_reply_free(&rp);
	if (r < 0)
		cli_error(c, "%s", e.msg);
	if (r < 0)
		return EXIT_OURS;
	return bad > 0 ? EXIT_UNWELL : 0;
}
