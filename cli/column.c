#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

#include "cli/column.h"
#include "cli/esc.h"
#include "cli/near.h"
#include "cli/size.h"
#include "common/err.h"
#include "common/num.h"
#include "common/util.h"

#define NS_PER_S INT64_C(1000000000)
#define SHORT_UID 12

#define TEXT(fn)        \
	static void fn( \
	    const struct vm_view *vm, int64_t now, char *buf, size_t cap)

static const char *
state_word(const struct vm_view *vm)
{
	return vm->status < VM_STATUS_COUNT ? vm_status_names[vm->status] : "?";
}

TEXT(text_name)
{
	(void)now;
	(void)snprintf(buf, cap, "%s", vm->name);
}

TEXT(text_uid)
{
	char uid[HEX64_LEN + 1];

	(void)now;
	num_format_hex64(vm->uid, uid);
	(void)snprintf(buf, cap, "%s", uid);
}

TEXT(text_short)
{
	text_uid(vm, now, buf, cap);
	if (cap > SHORT_UID)
		buf[SHORT_UID] = '\0';
}

TEXT(text_image)
{
	(void)now;
	(void)snprintf(buf, cap, "%s", vm->image);
}

TEXT(text_status)
{
	(void)now;
	(void)snprintf(buf, cap, "%s", state_word(vm));
}

TEXT(text_reason)
{
	(void)now;
	(void)snprintf(buf, cap, "%s", vm->reason);
}

/* "stopped (stopped)" says nothing twice */
TEXT(text_state)
{
	const char *state = state_word(vm);
	const bool plain =
	    vm->reason[0] == '\0' || strcmp(vm->reason, state) == 0;

	(void)now;
	(void)snprintf(buf, cap, "%s%s%s%s", state, plain ? "" : " (",
	    plain ? "" : vm->reason, plain ? "" : ")");
}

TEXT(text_ready)
{
	(void)now;
	(void)snprintf(buf, cap, "%s", vm->ready ? "yes" : "no");
}

TEXT(text_cpus)
{
	(void)now;
	(void)snprintf(buf, cap, "%" PRIu32, vm->cpu_cores);
}

TEXT(text_memory)
{
	char mem[SIZE_TEXT_MAX];

	(void)now;
	size_format_mib(vm->memory_mb, mem);
	(void)snprintf(buf, cap, "%s", mem);
}

TEXT(text_ip)
{
	(void)now;
	(void)snprintf(buf, cap, "%s", vm->ip_address);
}

TEXT(text_mac)
{
	(void)now;
	(void)snprintf(buf, cap, "%s", vm->mac_address);
}

static void
since(int64_t then, int64_t now, char *buf, size_t cap)
{
	char age[AGE_TEXT_MAX] = "";

	if (then != 0)
		size_format_age((now - then) / NS_PER_S, age);
	(void)snprintf(buf, cap, "%s", age);
}

TEXT(text_age)
{
	since(vm->created_at, now, buf, cap);
}

/* What runs has not changed since it was up. */
TEXT(text_up)
{
	since(vm->status == VM_STATUS_RUNNING ? vm->updated_at : 0, now, buf,
	    cap);
}

TEXT(text_pid)
{
	(void)now;
	buf[0] = '\0';
	if (vm->pid != 0)
		(void)snprintf(buf, cap, "%" PRId32, vm->pid);
}

TEXT(text_exit)
{
	const bool has = (vm->has & TABLE_HAS(VM_EXIT_STATUS)) != 0;

	(void)now;
	buf[0] = '\0';
	if (has)
		(void)snprintf(buf, cap, "%" PRId32, vm->exit_status);
}

TEXT(text_accel)
{
	(void)now;
	(void)snprintf(buf, cap, "%s",
	    vm->accel <= VM_ACCEL_TCG ? vm_accel_names[vm->accel] : "?");
}

TEXT(text_tenant)
{
	(void)now;
	(void)snprintf(buf, cap, "%s", vm->tenant);
}

TEXT(text_cmdline)
{
	(void)now;
	(void)snprintf(buf, cap, "%s", vm->kernel_cmdline);
}

const struct column columns[] = { { "name", text_name }, { "uid", text_uid },
	{ "short", text_short }, { "image", text_image },
	{ "status", text_status }, { "reason", text_reason },
	{ "state", text_state }, { "ready", text_ready }, { "cpus", text_cpus },
	{ "memory", text_memory }, { "ip", text_ip }, { "mac", text_mac },
	{ "up", text_up }, { "age", text_age }, { "pid", text_pid },
	{ "exit", text_exit }, { "accel", text_accel },
	{ "tenant", text_tenant }, { "cmdline", text_cmdline },
	{ NULL, NULL } };

const struct column *
column_find(const char *name, size_t len, struct err *e)
{
	char word[NEAR_WORD_MAX + 2], hint[NEAR_TEXT_MAX], all[160] = "";
	const struct column *c;
	struct near near;
	size_t at = 0;

	(void)snprintf(word, sizeof(word), "%.*s", (int)len, name);
	near_init(&near, word);
	for (c = columns; c->name != NULL; c++) {
		if (strcmp(c->name, word) == 0)
			return c;
		near_try(&near, c->name);
		at += (size_t)snprintf(all + at, sizeof(all) - at, "%s%s",
		    at == 0 ? "" : " ", c->name);
	}
	near_text(&near, "", hint);
	(void)err_set(e, -EINVAL, "there is no column %s%s: there are %s", word,
	    hint, all);
	return NULL;
}

/* ---- formats ---- */

/* What an escape or "{{" stands for, and how long it is; 0: it is none. */
static size_t
literal(const char *p, char *c)
{
	static const char codes[] = "tn\\", chars[] = "\t\n\\";
	const char *at;

	if (p[0] == '{' && p[1] == '{') {
		*c = '{';
		return 2;
	}
	if (p[0] != '\\' || p[1] == '\0' || (at = strchr(codes, p[1])) == NULL)
		return 0;
	*c = chars[at - codes];
	return 2;
}

int
column_check(const char *format, struct err *e)
{
	const char *p = format, *end;
	size_t n;
	char c;

	while (*p != '\0') {
		if ((n = literal(p, &c)) > 0) {
			p += n;
			continue;
		}
		if (*p == '\\')
			return err_set(e, -EINVAL,
			    "after a backslash comes t, n or another one");
		if (*p++ != '{')
			continue;
		if ((end = strchr(p, '}')) == NULL)
			return err_set(e, -EINVAL,
			    "a { without its }: it looks like '{name} {ip}'");
		if (column_find(p, (size_t)(end - p), e) == NULL)
			return -EINVAL;
		p = end + 1;
	}
	return 0;
}

static void
print_cell(
    FILE *to, const struct column *c, const struct vm_view *vm, int64_t now)
{
	char text[COLUMN_TEXT_MAX], safe[COLUMN_TEXT_MAX * ESC_GROWTH];

	if (c == NULL)
		return;
	c->text(vm, now, text, sizeof(text));
	esc_text(safe, sizeof(safe), text);
	(void)fputs(safe, to);
}

void
column_print(
    FILE *to, const char *format, const struct vm_view *vm, int64_t now)
{
	const char *p = format;
	struct err e;
	size_t n;
	char c;

	while (*p != '\0') {
		if ((n = literal(p, &c)) > 0) {
			(void)fputc(c, to);
			p += n;
		} else if (*p == '{') {
			n = strcspn(++p, "}");
			print_cell(to, column_find(p, n, &e), vm, now);
			p += n + (p[n] == '}' ? 1 : 0);
		} else {
			(void)fputc(*p++, to);
		}
	}
	(void)fputc('\n', to);
}

/* ---- filters ---- */

int
column_filter_add(struct filters *f, const char *text, struct err *e)
{
	const char *eq = strchr(text, '=');
	const struct column *c;

	if (eq == NULL)
		return err_set(e, -EINVAL,
		    "%.60s is no COLUMN=PATTERN, as in status=crashed", text);
	if (f->n == nitems(f->v))
		return err_set(e, -E2BIG, "more than %d of them", FILTERS_MAX);
	if ((c = column_find(text, (size_t)(eq - text), e)) == NULL)
		return -EINVAL;
	f->v[f->n].column = c;
	f->v[f->n++].pattern = eq + 1;
	return 0;
}

bool
column_filter_has(const struct filters *f, const char *name)
{
	size_t i;

	for (i = 0; i < f->n; i++) {
		if (strcmp(f->v[i].column->name, name) == 0)
			return true;
	}
	return false;
}

/* Does any filter of that one's column fit? */
static bool
fits_one(const struct filters *f, size_t which, const struct vm_view *vm,
    int64_t now)
{
	char text[COLUMN_TEXT_MAX];
	size_t i;

	f->v[which].column->text(vm, now, text, sizeof(text));
	for (i = 0; i < f->n; i++) {
		if (f->v[i].column == f->v[which].column &&
		    fnmatch(f->v[i].pattern, text, 0) == 0)
			return true;
	}
	return false;
}

bool
column_filter_fits(
    const struct filters *f, const struct vm_view *vm, int64_t now)
{
	size_t i;

	for (i = 0; i < f->n; i++) {
		if (!fits_one(f, i, vm, now))
			return false;
	}
	return true;
}
