#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/column.h"
#include "cli/near.h"
#include "cli/tail.h"
#include "cli/words.h"
#include "common/err.h"
#include "common/util.h"
#include "tests/suite/t.h"

/* ---- did you mean ---- */

static const struct {
	const char *word, *to;
	bool near;
} nears[] = {
	{ "exec", "exec", true },
	{ "exce", "exec", true }, /* swapped */
	{ "xec", "exec", true },
	{ "eexec", "exec", true },
	{ "exex", "exec", true },
	{ "execuu", "exec", true },
	{ "execute", "exec", false },
	{ "pz", "ps", true },
	{ "zp", "ps", false }, /* nothing is left of it */
	{ "zz", "ps", false },
	{ "p", "ps", false },
	{ "rm", "run", false }, /* two of so short a word */
	{ "", "ps", false },
	{ "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "ps", false },
};

static void
test_near(void)
{
	char text[NEAR_TEXT_MAX];
	struct near n;
	size_t i;

	for (i = 0; i < nitems(nears); i++) {
		t_row(nears[i].word);
		near_init(&n, nears[i].word);
		near_try(&n, nears[i].to);
		t_eq(n.best != NULL, nears[i].near);
	}
	t_row("the nearest");
	near_init(&n, "statr");
	near_try(&n, "stop");
	near_try(&n, "start");
	near_try(&n, "stat");
	near_text(&n, "--", text);
	t_str(text, " (did you mean --start?)");
	near_init(&n, "frobnicate");
	near_try(&n, "ps");
	near_text(&n, "", text);
	t_str(text, "");
}

/* ---- words ---- */

static const struct {
	const char *in, *want;
} words[] = {
	{ "name: is empty", "--name: is empty" },
	{ "env[12]: no", "-e[12]: no" },
	{ "memory_mb 84 to 9", "--memory 84 to 9" },
	{ "(memory_mb)", "(memory_mb)" }, /* only a word of its own */
	{ "the name of it", "the name of it" },
	{ "a name: b", "a --name: b" },
	{ "hostname: x", "--hostname: x" },
	{ "xname: x", "xname: x" },
	{ "cwd: x", "cwd: x" }, /* of the other table */
	{ "", "" },
};

static void
test_words(void)
{
	struct err e;
	size_t i;

	for (i = 0; i < nitems(words); i++) {
		t_row(words[i].in);
		(void)err_set(&e, -EINVAL, "%s", words[i].in);
		words_ours(words_run, &e);
		t_str(e.msg, words[i].want);
	}
	t_row("grows past the end");
	memset(e.msg, 'x', sizeof(e.msg) - 1);
	memcpy(e.msg, "name: ", 6);
	memcpy(e.msg + 240, " name: name: ", 13);
	e.msg[sizeof(e.msg) - 1] = '\0';
	words_ours(words_run, &e);
	t_eq(strlen(e.msg), sizeof(e.msg) - 1);
	t_eq(memcmp(e.msg, "--name: x", 9), 0);
}

/* ---- the last lines ---- */

static const struct {
	const char *in;
	uint32_t lines;
	const char *want;
} tails[] = {
	{ "a\nb\nc\n", 0, "" },
	{ "a\nb\nc\n", 1, "c\n" },
	{ "a\nb\nc\n", 2, "b\nc\n" },
	{ "a\nb\nc\n", 3, "a\nb\nc\n" },
	{ "a\nb\nc\n", 9, "a\nb\nc\n" },
	{ "a\nb\nc", 1, "c" },
	{ "a\n\n\n", 2, "\n\n" },
	{ "", 2, "" },
};

static void
test_tail(void)
{
	struct tail t;
	const char *p;
	size_t i, k, len;

	for (i = 0; i < nitems(tails); i++) {
		t_row(tails[i].in);
		t_eq(tail_init(&t, tails[i].lines), 0);
		for (k = 0; k < strlen(tails[i].in); k++)
			tail_add(&t, tails[i].in + k, 1);
		p = tail_get(&t, &len);
		t_mem(p, len, tails[i].want, strlen(tails[i].want));
		tail_free(&t);
	}
}

/* Three times what is kept: short lines, and one that is longer than all. */
static void
test_tail_bound(void)
{
	static char part[65536];
	struct tail t;
	const char *p;
	size_t i, len;

	memset(part, '\n', sizeof(part));
	t_row("short lines");
	t_eq(tail_init(&t, 3), 0);
	for (i = 0; i < 3 * TAIL_MAX / sizeof(part); i++)
		tail_add(&t, part, sizeof(part));
	tail_add(&t, "end\n", 4);
	p = tail_get(&t, &len);
	t_mem(p, len, "\n\nend\n", 6);
	tail_free(&t);
	t_row("one long line");
	memset(part, 'x', sizeof(part));
	t_eq(tail_init(&t, 1), 0);
	for (i = 0; i < 3 * TAIL_MAX / sizeof(part); i++)
		tail_add(&t, part, sizeof(part));
	(void)tail_get(&t, &len);
	t_true(len >= TAIL_MAX / 2 && len <= TAIL_MAX);
	tail_free(&t);
	t_row("without memory");
	t_fail_alloc(1);
	t_eq(tail_init(&t, 1), -ENOMEM);
	t_fail_alloc(0);
	tail_free(&t);
}

/* ---- columns ---- */

/* Whatever a VM says, its line is one line. */
static void
test_column(void)
{
	static struct vm_view vm = { .name = "we\x1b[2Jb\nx",
		.status = VM_STATUS_COUNT,
		.accel = 9,
		.reason = "no\x9b",
		.image = "i\xe2\x80\xaei" };
	const struct column *c;
	char format[32], *text = NULL;
	size_t len = 0, i;
	struct err e;
	FILE *f;

	for (c = columns; c->name != NULL; c++) {
		t_row(c->name);
		(void)snprintf(format, sizeof(format), "<{%s}>", c->name);
		t_eq(column_check(format, &e), 0);
		f = open_memstream(&text, &len);
		t_true(f != NULL);
		if (f == NULL)
			return;
		column_print(f, format, &vm, 0);
		(void)fclose(f);
		t_true(len >= 3 && text[len - 1] == '\n');
		for (i = 0; i + 1 < len; i++)
			t_true(text[i] >= 0x20 && text[i] < 0x7f);
		free(text);
		text = NULL;
	}
}

static void
test_filter_limit(void)
{
	struct filters f = { 0 };
	struct err e;
	int i;

	for (i = 0; i < FILTERS_MAX; i++)
		t_eq(column_filter_add(&f, "name=a", &e), 0);
	t_eq(column_filter_add(&f, "name=a", &e), -E2BIG);
}

const struct t_case t_cases[] = { { "cli_near", test_near },
	{ "cli_words", test_words }, { "cli_tail", test_tail },
	{ "cli_tail_bound", test_tail_bound }, { "cli_column", test_column },
	{ "cli_filter_limit", test_filter_limit }, { NULL, NULL } };
