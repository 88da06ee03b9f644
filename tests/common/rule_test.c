#define RULE_OFF_SECOND 1
#include "common/util.h"
#include "tests/suite/t.h"

static void
test_rule(void)
{
	t_eq(RULE(FIRST), 1);
	t_eq(RULE(SECOND), 0);
}

const struct t_case t_cases[] = { { "rule", test_rule }, { NULL, NULL } };
