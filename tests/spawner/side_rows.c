#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "proto/jail.h"
#include "proto/uids.h"

/*
 * The rows of the suite and one more kind of jail with one more program: what
 * a sidecar would add to proto/jail_rows.c.  Linked in the place of what reads
 * the rows (mk/hostile.mk), never installed.  MEWS_ROWS spoils them.
 */
#define JAIL_SIDE 2
#define ROLE_SIDE 3

const struct jail_kind_row *__real_jail_kind(unsigned int kind);
const struct jail_kind_row *__wrap_jail_kind(unsigned int kind);
const struct jail_prog *__real_jail_prog(unsigned int role);
const struct jail_prog *__wrap_jail_prog(unsigned int role);

static bool
spoilt(const char *what)
{
	const char *w = secure_getenv("MEWS_ROWS");

	return w != NULL && strcmp(w, what) == 0;
}

const struct jail_kind_row *
__wrap_jail_kind(unsigned int kind)
{
	static struct jail_kind_row row = { .name = "side",
		.prefix = "side",
		.first = ROLE_SIDE,
		.plane = UIDS_VM + 1 };

	if (spoilt("first"))
		row.first = JAIL_KEEPER; /* which no such jail may hold */
	if (spoilt("plane"))
		row.plane = UIDS_VM;
	if (spoilt("prefix"))
		row.prefix = "sidecar";
	return kind == JAIL_SIDE ? &row : __real_jail_kind(kind);
}

const struct jail_prog *
__wrap_jail_prog(unsigned int role)
{
	static const struct jail_prog row = { .name = "side",
		.path = "/usr/bin/side",
		.kinds = 1U << JAIL_SIDE,
		.fds = { JAIL_FD_CONSOLE, JAIL_FD_KEEPER },
		.filters_min = 1, /* its own */
		.filters_max = 1 };

	return role == ROLE_SIDE ? &row : __real_jail_prog(role);
}
