#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cur.h"
#include "common/err.h"
#include "common/util.h"
#include "orchd/stored.h"
#include "proto/jbuf.h"
#include "proto/objects.h"
#include "tests/suite/t.h"

/*
 * The objects that store.db holds whole: what one of an earlier build becomes,
 * what a build refuses, and that no table of them changes by accident.  The
 * stores themselves are stored_test's.
 */
#define GOLDEN "tests/golden/"
#define TEXT_MAX 65536

static struct jbuf said;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *fmt, ...)
{
	char line[4096];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	jbuf_text(&said, line);
}

static void
read_file(const char *name, char *buf, size_t cap)
{
	FILE *f = fopen(name, "re");
	size_t n = 0;

	if (f != NULL) {
		n = fread(buf, 1, cap - 1, f);
		(void)fclose(f);
	}
	buf[n] = '\0';
}

/* A request of a newer build, of an unknown key, or no JSON at all. */
static void
test_request(void)
{
	static const struct {
		const char *name, *text;
		int version;
		bool ok;
	} rows[] = {
		{ "as it is", "{\"name\":\"a\",\"image\":\"busybox\"}", 1,
		    true },
		{ "of a newer build", "{\"name\":\"a\"}", 99, false },
		{ "of version 0", "{\"name\":\"a\"}", 0, false },
		{ "an unknown key", "{\"name\":\"a\",\"wings\":2}", 1, false },
		{ "another case", "{\"Name\":\"a\"}", 1, false },
		{ "no JSON", "{", 1, false },
		{ "nothing", "", 1, false },
		{ "no name that may be", "{\"name\":\"../a\"}", 1, false },
	};
	struct vm_create c;
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct err e = { 0 };
		int r;

		t_row(rows[i].name);
		r = table_restore(&stored_request, rows[i].version,
		    rows[i].text, strlen(rows[i].text), &c, &e);
		t_eq(r == 0, rows[i].ok);
		t_eq(e.msg[0] == '\0', rows[i].ok);
		table_clear(&vm_create_table, &c);
	}
}

/* What was given and what was not comes back, in any words that may be. */
static void
test_back(void)
{
	static const char *const envs[] = { "A=\x01\n\"\\</script>",
		"B=", "C=\xc3\xa9\xe2\x80\xa8", "D=\x7f" };
	static char big[ENV_BYTES_MAX - 64];
	static uint8_t wire[2][2 * ENV_BYTES_MAX];
	struct vm_create c = { .name = "a", .image = "busybox" }, d;
	struct err e = { 0 };
	struct wcur w[2];
	struct jbuf b;
	size_t i;

	c.has = 1U << 1; /* a plugin that is none was given, the name was not */
	c.memory_mb = -1;
	for (i = 0; i < nitems(envs); i++)
		t_eq(strs_add(&c.env, envs[i], strlen(envs[i]), ENV_MAX,
			 ENV_BYTES_MAX),
		    0);
	memset(big, 1, sizeof(big)); /* each is six bytes of JSON */
	big[0] = 'E';
	big[1] = '=';
	t_eq(strs_add(&c.env, big, sizeof(big), ENV_MAX, ENV_BYTES_MAX), 0);
	jbuf_init(&b, TABLE_JSON_MAX);
	t_eq(table_store(&stored_request, &c, &b, &e), 0);
	t_eq(table_restore(&stored_request, 1, b.p, b.len, &d, &e), 0);
	t_str(e.msg, "");
	for (i = 0; i < 2; i++) {
		wcur_init(&w[i], wire[i], sizeof(wire[i]));
		t_eq(table_pack(&vm_create_table, i == 0 ? &c : &d, &w[i]), 0);
	}
	/* but what was not said to be given, and is not zero, now is */
	t_eq(d.has & c.has, c.has);
	t_mem(wire[0] + 8, w[0].used - 8, wire[1] + 8, w[1].used - 8);
	jbuf_free(&b);
	table_clear(&vm_create_table, &c);
	table_clear(&vm_create_table, &d);
}

/* --- steps: what a table that changed does with objects of before --- */

struct bird {
	uint64_t has;
	char species[32];
	int32_t weight_g;
};
static const struct field bird_fields[] = {
	{ F_(struct bird, species, FT_STR), .flags = FF_REQUIRED, .min = 1,
	    .max = 31, .doc = "species" },
	{ F_INT(struct bird, weight_g), .min = 0, .max = 100000,
	    .doc = "weight" },
};
static const struct table bird_table = { "Bird", sizeof(struct bird),
	bird_fields, nitems(bird_fields), "A bird." };

/* Version 1 said ounces. */
static int
to_grams(void *obj, struct err *e)
{
	struct bird *b = obj;

	(void)e;
	b->weight_g *= 28;
	return 0;
}

static const struct stored_step bird_steps[] = {
	{ 1, &bird_table, "kind", "species", NULL },
	{ 1, &bird_table, "weight_oz", "weight_g", NULL },
	{ 1, &bird_table, NULL, NULL, to_grams },
	{ 2, &bird_table, "jesses", NULL, NULL },
	{ 0 },
};
static const struct stored stored_bird = { &bird_table, 3, bird_steps };

static void
test_steps(void)
{
	static const struct {
		const char *name, *text;
		int version;
		int32_t weight; /* -1: refused */
	} rows[] = {
		{ "first", "{\"kind\":\"merlin\",\"weight_oz\":6}", 1, 168 },
		{ "second",
		    "{\"species\":\"merlin\",\"weight_g\":6,\"jesses\":2}", 2,
		    6 },
		{ "today", "{\"weight_g\":6,\"species\":\"merlin\"}", 3, 6 },
		{ "a key of before, today", "{\"kind\":\"merlin\"}", 3, -1 },
		{ "a key of tomorrow", "{\"species\":\"merlin\",\"bells\":1}",
		    3, -1 },
		{ "tomorrow", "{\"species\":\"merlin\"}", 4, -1 },
	};
	struct bird b;
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		struct err e = { 0 };
		int r;

		t_row(rows[i].name);
		r = table_restore(&stored_bird, rows[i].version, rows[i].text,
		    strlen(rows[i].text), &b, &e);
		t_eq(r == 0, rows[i].weight >= 0);
		if (r == 0) {
			t_eq(b.weight_g, rows[i].weight);
			t_str(b.species, "merlin");
			table_clear(&bird_table, &b);
		}
	}
}

/* --- a stored table does not change by accident --- */

static void
say_table(const struct table *t)
{
	size_t i;

	for (i = 0; i < t->nfields; i++) {
		const struct field *f = &t->fields[i];
		size_t n;

		/* also what may be in it: a limit that is drawn closer makes
		 * a VM of before one that cannot be */
		say(" %s:%d:%u:%lld..%lld", f->name, (int)f->type,
		    f->flags & (FF_REQUIRED | FF_OPTIONAL | FF_WIRE), f->min,
		    f->max);
		if (f->type == FT_STRS || f->type == FT_HEX)
			say("/%u", f->type == FT_STRS ? f->bytes : f->size);
		if (f->rule != NULL && f->rule->pattern != NULL)
			say(":%s", f->rule->pattern);
		for (n = 0; f->names != NULL && f->names[n] != NULL; n++)
			say("%c%s", n == 0 ? '=' : '|', f->names[n]);
		if (f->sub != NULL) {
			say("(");
			say_table(f->sub);
			say(" )");
		}
	}
}

/* The line of text that begins as `like` does up to its second blank. */
static const char *
line_of(const char *text, const char *like)
{
	const size_t len = (size_t)(strchr(strchr(like, ' ') + 1, ' ') - like);

	while (
	    text != NULL && *text != '\0' && strncmp(text, like, len + 1) != 0)
		if ((text = strchr(text, '\n')) != NULL)
			text++;
	return text != NULL && *text != '\0' ? text : NULL;
}

/* stored.txt has a line for each version there ever was; `make golden` adds
 * the one of a version that is new, and never touches another. */
static void
unchanged(const char *file, const char *now)
{
	const char *line = line_of(file, now);
	FILE *f;

	if (line == NULL && secure_getenv("GOLDEN_WRITE") != NULL) {
		if ((f = fopen(GOLDEN "stored.txt", "ae")) != NULL) {
			(void)fputs(now, f);
			(void)fclose(f);
		}
		return;
	}
	t_row(
	    "a stored table has changed: raise its version in orchd/stored.c "
	    "with a step for what was renamed or left out, then `make golden`");
	if (line == NULL)
		t_str("", now);
	else
		t_mem(now, strlen(now), line, strcspn(line, "\n") + 1);
}

static void
test_unchanged(void)
{
	static const struct stored *const all[] = { &stored_request,
		&stored_event, &stored_tenant, &stored_audit };
	static char file[TEXT_MAX];
	size_t i;

	read_file(GOLDEN "stored.txt", file, sizeof(file));
	for (i = 0; i < nitems(all); i++) {
		jbuf_init(&said, TEXT_MAX);
		say("%s %d", all[i]->table->name, all[i]->version);
		say_table(all[i]->table);
		say("\n");
		unchanged(file, said.p);
		jbuf_free(&said);
	}
}

const struct t_case t_cases[] = { { "stored-request", test_request },
	{ "stored-back", test_back }, { "stored-steps", test_steps },
	{ "stored-unchanged", test_unchanged }, { NULL, NULL } };
