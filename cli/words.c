#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/words.h"
#include "common/err.h"

const struct word words_run[] = { { "name", "--name" }, { "image", "IMAGE" },
	{ "cpu_cores", "--cpus" }, { "memory_mb", "--memory" },
	{ "kernel_cmdline", "--kernel-cmdline" }, { "env", "-e" },
	{ "hostname", "--hostname" }, { NULL, NULL } };
const struct word words_exec[] = { { "cmd", "CMD" }, { "env", "-e" },
	{ "cwd", "-w" }, { "user", "-u" }, { NULL, NULL } };

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || c == '_';
}

static const char *
ours(const struct word *w, const char *p, size_t n)
{
	for (; w->field != NULL; w++) {
		if (strlen(w->field) == n && memcmp(w->field, p, n) == 0 &&
		    (p[n] == ':' || p[n] == '[' ||
			strchr(w->field, '_') != NULL))
			return w->ours;
	}
	return NULL;
}

void
words_ours(const struct word *words, struct err *e)
{
	char in[sizeof(e->msg)], *out = e->msg;
	const char *p = in, *to, *end = e->msg + sizeof(e->msg);
	size_t n;

	memcpy(in, e->msg, sizeof(in));
	while (*p != '\0' && out + 1 < end) {
		for (n = 0; is_word(p[n]); n++)
			;
		to = n > 0 && (p == in || p[-1] == ' ') ? ours(words, p, n)
							: NULL;
		if (n == 0)
			n = 1;
		out += snprintf(out, (size_t)(end - out), "%.*s",
		    to != NULL ? (int)strlen(to) : (int)n, to != NULL ? to : p);
		p += n;
		if (out >= end)
			out = e->msg + sizeof(e->msg) - 1;
	}
	*out = '\0';
}
