#include <errno.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/column.h"
#include "cli/esc.h"
#include "cli/out.h"
#include "common/err.h"
#include "common/util.h"
#include "proto/jbuf.h"
#include "proto/jread.h"
#include "proto/objects.h"

#define LIST_MAX ((size_t)256 << 20) /* bytes: of all VMs there can be */

#define JSON_DEPTH 32

/* `mews ps` without a format. */
static const struct {
	const char *head, *name;
} ps_columns[] = { { "NAME", "name" }, { "UID", "short" }, { "IMAGE", "image" },
	{ "STATUS", "state" }, { "READY", "ready" }, { "CPUS", "cpus" },
	{ "MEM", "memory" }, { "IP", "ip" }, { "UP", "up" }, { "AGE", "age" } };

struct out_table {
	struct libscols_table *tb;
};

/* There is one standard output: how its first loss came about. */
static struct {
	int fd;
	int code;
} lost;

int
out_lost(void)
{
	return lost.code;
}

const char *
out_lost_name(void)
{
	return lost.fd == STDERR_FILENO ? "standard error" : "standard output";
}

void
out_lose(int fd, int code)
{
	if (lost.code != 0)
		return;
	lost.fd = fd;
	lost.code = code;
}

/* One that was left non-blocking by somebody else is waited for. */
static int
put_all(const char *p, size_t len)
{
	struct pollfd pfd = { .fd = STDOUT_FILENO, .events = POLLOUT };
	ssize_t n;

	while (len > 0) {
		n = write(STDOUT_FILENO, p, len);
		if (n < 0 && errno == EAGAIN)
			(void)poll(&pfd, 1, -1);
		else if (n < 0 && errno != EINTR)
			return -errno;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* After a loss nothing more is written: it would look whole. */
static ssize_t
put(void *cookie, const char *p, size_t len)
{
	int r;

	(void)cookie;
	if (lost.code == 0 && (r = put_all(p, len)) < 0)
		out_lose(STDOUT_FILENO, r);
	return lost.code == 0 ? (ssize_t)len : 0;
}

int
out_begin(void)
{
	FILE *f =
	    fopencookie(NULL, "w", (cookie_io_functions_t){ .write = put });

	if (f == NULL)
		return -ENOMEM;
	(void)setvbuf(f, NULL, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, BUFSIZ);
	stdout = f;
	return 0;
}

int
out_flush(void)
{
	(void)fflush(stdout);
	return lost.code;
}

int
out_bytes(const void *p, size_t len)
{
	(void)fwrite(p, 1, len, stdout);
	return out_flush();
}

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
	char text[nitems(ps_columns)][OUT_CELL_MAX];
	const char *cells[nitems(ps_columns)];
	struct err e;
	size_t i;

	for (i = 0; i < nitems(ps_columns); i++) {
		const char *name = ps_columns[i].name;

		column_find(name, strlen(name), &e)
		    ->text(vm, now, text[i], sizeof(text[i]));
		cells[i] = text[i];
	}
	return out_table_row(t, cells, nitems(cells));
}

int
out_ps(FILE *to, const struct vm_view *vms, size_t n, int64_t now)
{
	const char *heads[nitems(ps_columns)];
	struct out_table *t;
	size_t i;
	int r;

	for (i = 0; i < nitems(ps_columns); i++)
		heads[i] = ps_columns[i].head;
	t = out_table_new(to, heads, nitems(heads));
	r = t == NULL ? -ENOMEM : 0;
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
	struct jread j;
	const char *why = "out of memory";

	/* not by json-c: its 0.18, when strict, takes ASCII alone */
	if (jread_open(&j, text, len) < 0) {
		why = "it breaks off or is malformed";
	} else if (tok != NULL && len <= INT32_MAX) {
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

/* Gives b away. */
static int
out_made(FILE *to, struct jbuf *b, struct err *e)
{
	int r = b->r < 0 ? err_set(e, b->r, "there is too much to show")
			 : out_json(to, b->p, b->len, e);

	jbuf_free(b);
	return r;
}

int
out_objs(
    FILE *to, const struct table *t, const struct objs *list, struct err *e)
{
	const char *items = list->items;
	struct jbuf b;
	uint32_t i;

	jbuf_init(&b, LIST_MAX);
	jbuf_text(&b, "[");
	for (i = 0; i < list->count; i++) {
		jbuf_text(&b, i > 0 ? "," : "");
		table_encode(t, 0, items + i * t->size, &b);
	}
	jbuf_text(&b, "]");
	return out_made(to, &b, e);
}

int
out_obj(FILE *to, const struct table *t, const void *obj, struct err *e)
{
	struct jbuf b;

	jbuf_init(&b, TABLE_JSON_MAX);
	table_encode(t, 0, obj, &b);
	return out_made(to, &b, e);
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
