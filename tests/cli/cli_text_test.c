#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/addr.h"
#include "cli/env.h"
#include "cli/esc.h"
#include "cli/name.h"
#include "cli/out.h"
#include "cli/session.h"
#include "cli/size.h"
#include "cli/sse.h"
#include "common/err.h"
#include "common/util.h"
#include "proto/objects.h"
#include "tests/suite/t.h"

/* ---- sizes ---- */

static const struct {
	const char *name, *in;
	uint32_t want; /* 7: untouched on failure */
	int r;
} sizes[] = {
	{ "bare MiB", "256", 256, 0 },
	{ "m", "512m", 512, 0 },
	{ "M", "512M", 512, 0 },
	{ "g", "2g", 2048, 0 },
	{ "T at the limit", "1T", 1048576, 0 },
	{ "past the limit", "2t", 7, -EINVAL },
	{ "past 64 bits", "99999999999999999999g", 7, -EINVAL },
	{ "wraps with its unit", "17592186044417t", 7, -EINVAL },
	{ "zero", "0", 7, -EINVAL },
	{ "negative", "-1", 7, -EINVAL },
	{ "empty", "", 7, -EINVAL },
	{ "only a unit", "g", 7, -EINVAL },
	{ "two units", "1gg", 7, -EINVAL },
	{ "fraction", "1.5g", 7, -EINVAL },
	{ "blank", " 1g", 7, -EINVAL },
	{ "long", "000000000000000000000000000000000000001g", 7, -EINVAL },
};

static void
test_size(void)
{
	char buf[SIZE_TEXT_MAX];
	size_t i;

	for (i = 0; i < nitems(sizes); i++) {
		uint32_t got = 7;
		struct err e = { 0 };

		t_row(sizes[i].name);
		t_eq(
		    size_parse_mib(sizes[i].in, 1048576, &got, &e), sizes[i].r);
		t_eq(got, sizes[i].want);
		t_eq(e.msg[0] != '\0', sizes[i].r != 0);
	}
	t_row("format");
	size_format_mib(1536, buf);
	t_str(buf, "1536 MiB");
	size_format_mib(2048, buf);
	t_str(buf, "2 GiB");
}

static const struct {
	int64_t in;
	const char *want;
} ages[] = {
	{ -5, "0 seconds" },
	{ 1, "1 second" },
	{ 119, "119 seconds" },
	{ 120, "2 minutes" },
	{ 7199, "119 minutes" },
	{ 7200, "2 hours" },
	{ 172800, "2 days" },
	{ INT64_MAX, "106751991167300 days" },
};

static void
test_age(void)
{
	char buf[AGE_TEXT_MAX];
	size_t i;

	for (i = 0; i < nitems(ages); i++) {
		t_row(ages[i].want);
		size_format_age(ages[i].in, buf);
		t_str(buf, ages[i].want);
	}
}

/* ---- escaping ---- */

static const struct {
	const char *name, *in;
	unsigned int flags;
	const char *want;
} escs[] = {
	{ "plain", "a b~", 0, "a b~" },
	{ "umlaut and more", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa6", 0,
	    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa6" },
	{ "escape", "\x1b[2J", 0, "\\x1b[2J" },
	{ "line feed in a cell", "a\nb", 0, "a\\x0ab" },
	{ "lines", "a\n\tb\r\nc\rd\r", ESC_LINES, "a\n\tb\nc\\x0dd\\x0d" },
	{ "two CR before LF", "a\r\r\n", ESC_LINES, "a\\x0d\n" },
	{ "DEL", "\x7f", ESC_LINES, "\\x7f" },
	{ "C1 as a character",
	    "\xc2\x9b"
	    "31m",
	    ESC_LINES, "\\u009b31m" },
	{ "C1 as a byte",
	    "\x9b"
	    "31m",
	    ESC_LINES, "\\x9b31m" },
	{ "override", "\xe2\x80\xae", 0, "\\u202e" },
	{ "isolate", "\xe2\x81\xa6", 0, "\\u2066" },
	{ "zero width", "\xe2\x80\x8b", 0, "\\u200b" },
	{ "byte order mark", "\xef\xbb\xbf", 0, "\\ufeff" },
	{ "tag", "\xf3\xa0\x81\x81", 0, "\\U0e0041" },
	{ "overlong", "\xc0\xaf", 0, "\\xc0\\xaf" },
	{ "surrogate", "\xed\xa0\x80", 0, "\\xed\\xa0\\x80" },
	{ "past the last", "\xf4\x90\x80\x80", 0, "\\xf4\\x90\\x80\\x80" },
	{ "cut", "\xe2\x82", 0, "\\xe2\\x82" },
	{ "cut, then a letter",
	    "\xe2\x82"
	    "A",
	    0,
	    "\\xe2\\x82"
	    "A" },
	{ "cut, then a whole one", "\xe2\xc3\xa4", 0, "\\xe2\xc3\xa4" },
	{ "JSON", "{\"\xc2\x9b\x7f\"}\n", ESC_JSON, "{\"\\u009b\\u007f\"}\n" },
	{ "JSON, past 16 bits", "\xf3\xa0\x81\x81", ESC_JSON,
	    "\\udb40\\udc41" },
	{ "JSON, no character", "\xff", ESC_JSON, "\\ufffd" },
};

static void
test_esc(void)
{
	size_t i, piece, at, n, len;

	for (i = 0; i < nitems(escs); i++) {
		t_row(escs[i].name);
		len = strlen(escs[i].in);
		for (piece = 1; piece <= len; piece++) {
			char out[512];
			struct esc e;

			esc_init(&e, escs[i].flags);
			n = 0;
			for (at = 0; at < len; at += piece)
				n += esc_feed(&e, escs[i].in + at,
				    len - at < piece ? len - at : piece,
				    out + n);
			n += esc_end(&e, out + n);
			t_mem(out, n, escs[i].want, strlen(escs[i].want));
		}
	}
}

static void
test_esc_text(void)
{
	char buf[8];

	esc_text(buf, sizeof(buf), "\x1b\x1b\x1b");
	t_str(buf, "\\x1b\\x1");
	t_fail_alloc(1);
	esc_text(buf, sizeof(buf), "\x1b");
	t_str(buf, "?");
}

/* ---- the environment ---- */

static const struct {
	const char *name, *in, *want, *says; /* want: joined by '|' */
	int r;
} envs[] = {
	{ "two", "A=1\nB=2\n", "A=1|B=2", NULL, 0 },
	{ "no last line feed", "A=1", "A=1", NULL, 0 },
	{ "comment and blanks", "# x\n\n  \t\nA=1\n", "A=1", NULL, 0 },
	{ "empty value", "A=\n", "A=", NULL, 0 },
	{ "signs in a value", "A=\"b c\" #=d\n", "A=\"b c\" #=d", NULL, 0 },
	{ "last one counts", "A=1\nB=2\nA=3", "A=3|B=2", NULL, 0 },
	{ "one is not the other's start", "AB=1\nA=2", "AB=1|A=2", NULL, 0 },
	{ "own", "CLI_TEST_SET\n", "CLI_TEST_SET=here", NULL, 0 },
	{ "own, not set", "A=1\nCLI_TEST_UNSET\n", "A=1",
	    "f:2: CLI_TEST_UNSET is not set here: set it, or write "
	    "CLI_TEST_UNSET=VALUE",
	    -ENOENT },
	{ "digit first", "1A=1\n", "",
	    "f:1: a variable is NAME or NAME=VALUE, with letters, digits and "
	    "_ in its name",
	    -EINVAL },
	{ "export", "export A=1\n", "",
	    "f:1: a variable is NAME or NAME=VALUE, with letters, digits and "
	    "_ in its name",
	    -EINVAL },
	{ "blank first", " A=1\n", "",
	    "f:1: a variable is NAME or NAME=VALUE, with letters, digits and "
	    "_ in its name",
	    -EINVAL },
	{ "Windows", "A=1\r\n", "",
	    "f:1: the line ends as on Windows: convert the file first",
	    -EINVAL },
	{ "not UTF-8", "\n\nA=\xff\n", "", "f:3: the value of A is not UTF-8",
	    -EINVAL },
};

static void
test_env(void)
{
	char got[256];
	size_t i, k;

	t_eq(setenv("CLI_TEST_SET", "here", 1), 0);
	for (i = 0; i < nitems(envs); i++) {
		struct env env = { 0 };
		struct err e = { 0 };

		t_row(envs[i].name);
		t_eq(env_parse(&env, "f", envs[i].in, strlen(envs[i].in), &e),
		    envs[i].r);
		t_str(e.msg, envs[i].says == NULL ? "" : envs[i].says);
		got[0] = '\0';
		for (k = 0; k < env.n; k++)
			(void)snprintf(got + strlen(got),
			    sizeof(got) - strlen(got), "%s%s", k > 0 ? "|" : "",
			    env.v[k]);
		t_str(got, envs[i].want);
		env_clear(&env);
	}
}

static void
test_env_limits(void)
{
	static char big[ENV_LINE_MAX + 8] = "A=";
	struct env env = { 0 };
	struct err e = { 0 };
	char line[32];
	int i, r = 0;

	t_row("a NUL byte");
	t_eq(env_parse(&env, "f", "A=\0b\n", 5, &e), -EINVAL);
	t_str(e.msg, "f:1: there is a NUL byte");
	t_row("long line");
	memset(big + 2, 'x', sizeof(big) - 3);
	t_eq(env_parse(&env, "f", big, sizeof(big) - 1, &e), -E2BIG);
	t_row("too many");
	for (i = 0; r == 0 && i < 1000; i++) {
		(void)snprintf(line, sizeof(line), "V%d=x", i);
		r = env_add(&env, line, &e);
	}
	t_eq(r, -E2BIG);
	t_eq(env.n, ENV_MAX);
	env_clear(&env);
}

/* ---- small things ---- */

static const struct {
	const char *in, *want;
} stems[] = {
	{ "busybox", "busybox-00ff" },
	{ "a.io:5000/lib/my_app:1.2", "my-app-00ff" },
	{ "x@sha256:abc", "x-00ff" },
	{ "--", "vm-00ff" },
	{ "a/", "vm-00ff" },
	{ "a..b-", "a-b-00ff" },
	{ "0123456789012345678901234567890123456789012345678901234567890123",
	    "0123456789012345678901234567890123456789012345678901234567-00ff" },
};

static void
test_name(void)
{
	char name[NAME_LEN_MAX + 1];
	size_t i;

	for (i = 0; i < nitems(stems); i++) {
		t_row(stems[i].in);
		name_from_image(stems[i].in, 0xff, name);
		t_str(name, stems[i].want);
		t_eq(name_check(name, strlen(name), NULL), 0);
	}
}

static void
test_addr(void)
{
	static const char *const bad[] = { "", "/run/x", "unix:/x", "unix://x",
		"unix://", "http://x", "UNIX:///x" };
	char path[ADDR_PATH_MAX], host[300] = "unix:///";
	size_t i;

	for (i = 0; i < nitems(bad); i++) {
		t_row(bad[i]);
		t_eq(addr_parse(bad[i], path, NULL), -EINVAL);
	}
	t_row("default");
	t_eq(addr_parse(ADDR_DEFAULT, path, NULL), 0);
	t_str(path, "/run/mews/api.sock");
	t_row("longest");
	memset(host + 8, 'x', ADDR_PATH_MAX - 2);
	t_eq(addr_parse(host, path, NULL), 0);
	t_eq(strlen(path), ADDR_PATH_MAX - 1);
	t_row("too long");
	host[8 + ADDR_PATH_MAX - 2] = 'x';
	t_eq(addr_parse(host, path, NULL), -EINVAL);
}

static const struct {
	const char *name, *in, *want;
	bool left;
} leaves[] = {
	{ "nothing special", "abc.", "abc.", false },
	{ "leave", "ab\x1d.cd", "ab", true },
	{ "twice sends one", "\x1d\x1d.", "\x1d.", false },
	{ "then another", "\x1dq", "\x1dq", false },
	{ "held", "ab\x1d", "ab", false },
};

static void
test_leave(void)
{
	size_t i, k, n, len;

	for (i = 0; i < nitems(leaves); i++) {
		uint8_t buf[64], got[64];
		struct leave whole = { 0 }, split = { 0 };
		bool left = false;

		t_row(leaves[i].name);
		n = strlen(leaves[i].in);
		memcpy(buf, leaves[i].in, n);
		t_eq(session_leave_filter(&whole, buf, &n), leaves[i].left);
		t_mem(buf, n, leaves[i].want, strlen(leaves[i].want));
		for (k = len = 0; !left && leaves[i].in[k] != '\0'; k++) {
			uint8_t one[2] = { (uint8_t)leaves[i].in[k] };

			n = 1;
			left = session_leave_filter(&split, one, &n);
			memcpy(got + len, one, n);
			len += n;
		}
		t_eq(left, leaves[i].left);
		t_mem(got, len, leaves[i].want, strlen(leaves[i].want));
	}
}

/* ---- server-sent events ---- */

static char seen[256];

static int
on_event(void *arg, const char *data, size_t len)
{
	(void)arg;
	(void)snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen),
	    "%.*s|", (int)len, data);
	return 0;
}

static const struct {
	const char *name, *in, *want, *id;
} streams[] = {
	{ "one", "data: a\n\n", "a|", "" },
	{ "two lines", "data: a\ndata:b\n\n", "a\nb|", "" },
	{ "CR and CRLF", "data: a\r\rdata: b\r\n\r\n", "a|b|", "" },
	{ "comment, unknown field", ": x\nretry: 1\ndata: a\n\n", "a|", "" },
	{ "not ended", "data: a\n", "", "" },
	{ "empty data", "data\n\n", "|", "" },
	{ "id", "id: 12\ndata: a\n\n", "a|", "12" },
	{ "an id for another header", "id: 1\r\nid: a b\ndata:\n\n", "|", "1" },
	{ "id of 64",
	    "id: 01234567890123456789012345678901234567890123456789"
	    "01234567890123\n\n",
	    "", "" },
	{ "byte order mark",
	    "\xef\xbb\xbf"
	    "data: a\n\n",
	    "a|", "" },
	{ "mark, later",
	    "\n\xef\xbb\xbf"
	    "data: a\n\n",
	    "", "" },
};

static void
test_sse(void)
{
	static struct sse s;
	static char big[SSE_DATA_MAX + 2];
	size_t i, piece, at, len;

	for (i = 0; i < nitems(streams); i++) {
		t_row(streams[i].name);
		len = strlen(streams[i].in);
		for (piece = 1; piece <= len; piece++) {
			sse_init(&s, on_event, NULL);
			seen[0] = '\0';
			for (at = 0; at < len; at += piece)
				t_eq(sse_feed(&s, streams[i].in + at,
					 len - at < piece ? len - at : piece),
				    0);
			t_str(seen, streams[i].want);
			t_str(s.id, streams[i].id);
		}
	}
	t_row("endless line");
	sse_init(&s, on_event, NULL);
	memset(big, 'x', sizeof(big));
	t_eq(sse_feed(&s, big, sizeof(big)), -EMSGSIZE);
	t_row("endless event");
	sse_init(&s, on_event, NULL);
	for (i = 0; i < SSE_DATA_MAX && sse_feed(&s, "data:xxxx\n", 10) == 0;)
		i++;
	t_true(i < SSE_DATA_MAX / 4);
}

/* ---- tables ---- */

static void
test_table(void)
{
	/* what the decoder would never let through: the last line of defence */
	static struct vm_view vm = { .name = "we\x1b[2Jb\nx",
		.uid = 0xfedcba9876543210,
		.status = VM_STATUS_CRASHED,
		.image = "i\xe2\x80\xaei",
		.reason = "no\x9b",
		.cpu_cores = 2,
		.memory_mb = 1024,
		.created_at = 1 };
	char *text = NULL;
	size_t len = 0, i;
	FILE *f = open_memstream(&text, &len);

	t_true(f != NULL);
	if (f == NULL)
		return;
	t_eq(out_ps(f, &vm, 1, 60 * INT64_C(1000000000) + 1), 0);
	(void)fclose(f);
	for (i = 0; i < len; i++)
		t_true(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
	t_true(strstr(text, "we\\x1b[2Jb\\x0ax") != NULL);
	t_true(strstr(text, "fedcba987654 ") != NULL);
	t_true(strstr(text, "crashed (no\\x9b)") != NULL);
	t_true(strstr(text, "60 seconds") != NULL);
	free(text);
}

static void
test_json(void)
{
	static const char *const bad[] = { "", "{", "{}x", "[1,]", "nul" };
	char *text = NULL;
	size_t len = 0, i;
	FILE *f = open_memstream(&text, &len);
	struct err e;

	t_true(f != NULL);
	if (f == NULL)
		return;
	for (i = 0; i < nitems(bad); i++) {
		t_row(bad[i]);
		t_eq(out_json(f, bad[i], strlen(bad[i]), &e), -EBADMSG);
	}
	t_row("escaped");
	t_eq(out_json(f, "[\"\xc2\x9b\"]", 6, &e), 0);
	out_result(f, "a\x7f\"", false, "x\x1b");
	(void)fclose(f);
	t_str(text,
	    "[\n  \"\\u009b\"\n]\n"
	    "{\"name\":\"a\\u007f\\\"\",\"ok\":false,\"error\":\"x\\u001b\"}"
	    "\n");
	free(text);
}

const struct t_case t_cases[] = { { "cli_size", test_size },
	{ "cli_age", test_age }, { "cli_esc", test_esc },
	{ "cli_esc_text", test_esc_text }, { "cli_env", test_env },
	{ "cli_env_limits", test_env_limits }, { "cli_name", test_name },
	{ "cli_addr", test_addr }, { "cli_leave", test_leave },
	{ "cli_sse", test_sse }, { "cli_table", test_table },
	{ "cli_json", test_json }, { NULL, NULL } };
