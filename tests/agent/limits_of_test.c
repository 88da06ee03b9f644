#include <errno.h>
#include <string.h>

#include "agent/limits.h"
#include "common/err.h"
#include "tests/suite/t.h"

#define MIB (1024LL * 1024LL)

static const struct {
	const char *name;
	long long left, threads;
	int r;
} rows[] = {
	{ "128 MiB guest", 55 * MIB, 637, 0 },
	{ "smallest", 14 * MIB, 500, 0 },
	{ "one less", 14 * MIB - 1, 500, -ENOMEM },
	{ "nothing", 0, 500, -ENOMEM },
	{ "large", 1024LL * 1024 * MIB, 4000000, 0 },
};

/* Whatever the size: all together fit, and what outlives processes is less
 * than the workload may have, so that somebody can be ended for it. */
static void
sums(const struct limits *l, long long left, long long threads)
{
	const long long node = 1300, pty = 150LL * 1024;

	t_true(l->mem + l->reserve + 5 * MIB <= left);
	t_true(l->fs + l->fs_nodes * node + l->shm * 4096 < l->mem * 3 / 4);
	t_true(l->pids + l->reserve_pids <= threads);
	t_true(l->files >= 1024 && l->files <= 1 << 20);
	t_true(l->files * 264 <= l->mem / 4);
	t_true(l->ptys * pty <= left);
}

static void
every_row(void)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct limits l = { .mem = -1 };
		struct err e = { 0 };

		t_row(rows[i].name);
		t_eq(limits_of(rows[i].left, rows[i].threads, &l, &e),
		    rows[i].r);
		if (rows[i].r == 0)
			sums(&l, rows[i].left, rows[i].threads);
		else {
			t_eq(l.mem, -1);
			t_true(strstr(e.msg, "too little memory") != NULL);
		}
	}
}

const struct t_case t_cases[] = { { "a guest's limits", every_row },
	{ NULL, NULL } };
