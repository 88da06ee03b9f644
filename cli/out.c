#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>

#include "cli/esc.h"
#include "cli/out.h"
#include "cli/size.h"
#include "common/err.h"
#include "common/num.h"
#include "common/util.h"
#include "proto/jbuf.h"
#include "proto/objects.h"

#define JSON_DEPTH 32
#define UID_SHOWN 12

struct out_table {
	struct libscols_table *tb;
};

struct out_table *
out_table_new(FILE *to, const char *const *heads, size_t n)
{
	struct out_table *t = calloc(1, sizeof(*t));
	size_t i;

	if (t == NULL || (t->tb = scols_new_table()) == NULL)
		goto bad;
	(void)scols_table_set_stream(t->tb, to);
	/* no second escaping: what comes here has had ours */
	if (scols_table_enable_noencoding(t->tb, 1) != 0 ||
	    scols_table_set_column_separator(t->tb, "  ") != 0)
		goto bad;
	for (i = 0; i < n; i++) {
		/* the last column gives way on a narrow terminal */
		if (scols_table_new_column(t->tb, heads[i], 0,
			i + 1 == n ? SCOLS_FL_TRUNC : 0) == NULL)
			goto bad;
	}
	return t;
bad:
	out_table_free(t);
	return NULL;
}

void
out_table_free(struct out_table *t)
{
	if (t == NULL)
		return;
	scols_unref_table(t->tb);
	free(t);
}

int
out_table_row(struct out_table *t, const char *const *cells, size_t n)
{
	struct libscols_line *line = scols_table_new_line(t->tb, NULL);
	char safe[OUT_CELL_MAX];
	size_t i;

	if (line == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		esc_text(safe, sizeof(safe), cells[i]);
		if (scols_line_set_data(
			line, i, safe[0] == '\0' ? "-" : safe) != 0)
			return -ENOMEM;
	}
	return 0;
}

int
out_table_print(struct out_table *t)
{
	return scols_print_table(t->tb) == 0 ? 0 : -ENOMEM;
}

static int
ps_row(struct out_table *t, const struct vm_view *vm, int64_t now)
{
	char uid[HEX64_LEN + 1], cpus[16], mem[SIZE_TEXT_MAX];
	char age[AGE_TEXT_MAX] = "", status[OUT_CELL_MAX];
	const char *state =
	    vm->status < VM_STATUS_COUNT ? vm_status_names[vm->status] : "?";
	/* "stopped (stopped)" says nothing twice */
	const bool plain =
	    vm->reason[0] == '\0' || strcmp(vm->reason, state) == 0;
	const char *cells[] = { vm->name, uid, vm->image, status,
		vm->ready ? "yes" : "no", cpus, mem, vm->ip_address, age };

	num_format_hex64(vm->uid, uid);
	uid[UID_SHOWN] = '\0';
	(void)snprintf(status, sizeof(status), "%s%s%s%s", state,
	    plain ? "" : " (", plain ? "" : vm->reason, plain ? "" : ")");
	(void)snprintf(cpus, sizeof(cpus), "%" PRIu32, vm->cpu_cores);
	size_format_mib(vm->memory_mb, mem);
	if (vm->created_at != 0)
		size_format_age((now - vm->created_at) / 1000000000, age);
	return out_table_row(t, cells, nitems(cells));
}

int
out_ps(FILE *to, const struct vm_view *vms, size_t n, int64_t now)
{
	static const char *const heads[] = { "NAME", "UID", "IMAGE", "STATUS",
		"READY", "CPUS", "MEM", "IP", "AGE" };
	struct out_table *t = out_table_new(to, heads, nitems(heads));
	size_t i;
	int r = t == NULL ? -ENOMEM : 0;

	/* the library prints nothing at all for a table without rows */
	if (r == 0 && n == 0)
		for (i = 0; i < nitems(heads); i++)
			(void)fprintf(to, "%s%s", heads[i],
			    i + 1 < nitems(heads) ? "  " : "\n");
	for (i = 0; r == 0 && i < n; i++)
		r = ps_row(t, &vms[i], now);
	if (r == 0 && n > 0)
		r = out_table_print(t);
	out_table_free(t);
	return r;
}

static struct json_object *
parse(const char *text, size_t len, struct err *e)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH);
	struct json_object *o = NULL;
	const char *why = "out of memory";

	if (tok != NULL && len <= INT32_MAX) {
		json_tokener_set_flags(
		    tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		o = json_tokener_parse_ex(tok, text, (int)len);
		why = json_tokener_error_desc(json_tokener_get_error(tok));
	}
	if (o == NULL)
		(void)err_set(
		    e, -EBADMSG, "what the API sent is not JSON: %s", why);
	json_tokener_free(tok);
	return o;
}

void
out_json_line(FILE *to, const char *text, size_t len)
{
	char *safe = esc_dup(text, len, ESC_JSON);

	if (safe != NULL)
		(void)fprintf(to, "%s\n", safe);
	free(safe);
}

int
out_json(FILE *to, const char *text, size_t len, struct err *e)
{
	struct json_object *o = len == 0 ? NULL : parse(text, len, e);
	size_t n = 0;
	const char *s;

	if (len == 0)
		return err_set(e, -EBADMSG, "the API sent nothing");
	if (o == NULL)
		return -EBADMSG;
	s = json_object_to_json_string_length(o,
	    JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
		JSON_C_TO_STRING_NOSLASHESCAPE,
	    &n);
	if (s != NULL)
		out_json_line(to, s, n);
	json_object_put(o);
	return s == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;
}

void
out_result(FILE *to, const char *name, bool ok, const char *error)
{
	struct jbuf b;

	jbuf_init(&b, 65536);
	jbuf_text(&b, "{\"name\":");
	jbuf_str(&b, name, strlen(name));
	jbuf_text(&b, ok ? ",\"ok\":true" : ",\"ok\":false");
	if (error != NULL) {
		jbuf_text(&b, ",\"error\":");
		jbuf_str(&b, error, strlen(error));
	}
	jbuf_text(&b, "}");
	if (b.r == 0)
		out_json_line(to, b.p, b.len);
	jbuf_free(&b);
}

void
out_line(FILE *to, const char *text)
{
	char *safe = esc_dup(text, strlen(text), 0);

	if (safe != NULL)
		(void)fprintf(to, "%s\n", safe);
	free(safe);
}
