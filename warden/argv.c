#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "warden/argv.h"

void
argv_init(struct argv *a)
{
	memset(a, 0, sizeof(*a));
}

void
argv_addf(struct argv *a, const char *fmt, ...)
{
	size_t room = sizeof(a->text) - a->used;
	va_list ap;
	int n;

	if (a->bad != 0)
		return;
	va_start(ap, fmt);
	n = vsnprintf(a->text + a->used, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room || a->n >= ARGV_MAX) {
		a->bad = -E2BIG;
		return;
	}
	a->v[a->n++] = a->text + a->used;
	a->used += (size_t)n + 1;
}

void
argv_add(struct argv *a, const char *arg)
{
	argv_addf(a, "%s", arg);
}

int
argv_end(const struct argv *a)
{
	return a->bad;
}
