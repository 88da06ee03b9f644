#include <errno.h>
#include <string.h>

#include "common/util.h"
#include "proto/jail.h"
#include "tests/suite/t.h"

static void
test_rows(void)
{
	unsigned int kind;

	for (kind = 0; kind < JAIL_KINDS_MAX; kind++) {
		if (jail_kind(kind) != NULL)
			t_true(jail_rows_fault(kind) == NULL);
		else
			t_true(jail_rows_fault(kind) != NULL);
	}
	t_true(jail_kind(JAIL_KINDS_MAX) == NULL);
	t_true(jail_prog(JAIL_ROLES_MAX) == NULL);
	t_eq(jail_roles(JAIL_VM),
	    JAIL_ROLE_BIT(JAIL_KEEPER) | JAIL_ROLE_BIT(JAIL_WARDEN) |
		JAIL_ROLE_BIT(JAIL_VMM));
	t_eq(jail_roles(0), 0);
	t_true(!jail_holds(JAIL_VM, JAIL_ROLES_MAX));
	t_true(!jail_holds(33, JAIL_KEEPER));
}

/* What keepers of older staged trees are born with, too: never edited. */
static void
test_keeper(void)
{
	t_eq(jail_fd(JAIL_KEEPER, JAIL_FD_KEEPER), 3);
	t_eq(jail_fd(JAIL_KEEPER, JAIL_FD_WARDEN), 4);
	t_eq(jail_fd(JAIL_KEEPER, JAIL_FD_CONSOLE), 5);
	t_eq(jail_fd(JAIL_KEEPER, JAIL_FD_VSOCK), 6);
	t_eq(jail_fd(JAIL_WARDEN, JAIL_FD_KEEPER), -1);
	t_eq(jail_fd(JAIL_ROLES_MAX, JAIL_FD_KEEPER), -1);
}

static const struct {
	const char *name;
	int r;
} names[] = {
	{ "0123456789abcdef", 0 },
	{ "0000000000000000", -EINVAL },
	{ "0123456789abcde", -EINVAL },
	{ "0123456789ABCDEF", -EINVAL },
	{ "-0123456789abcdef", -EINVAL },
	{ "x-0123456789abcdef", -EINVAL },
	{ "0123456789abcdef-", -EINVAL },
	{ "lock", -EINVAL },
	{ "", -EINVAL },
};

static void
test_names(void)
{
	const struct jail_id vm = { .kind = JAIL_VM, .id = 0x123456789abcdef };
	char name[JAIL_NAME_MAX + 1];
	size_t i;

	jail_name(&vm, name);
	t_str(name, "0123456789abcdef");
	for (i = 0; i < nitems(names); i++) {
		struct jail_id j = { .id = 7 };

		t_row(names[i].name);
		t_eq(jail_name_parse(names[i].name, &j), names[i].r);
		t_eq(j.id, names[i].r == 0 ? vm.id : 7);
		t_eq(j.kind, names[i].r == 0 ? vm.kind : 0);
	}
}

const struct t_case t_cases[] = { { "jail: rows", test_rows },
	{ "jail: keeper's descriptors", test_keeper },
	{ "jail: names", test_names }, { NULL, NULL } };
