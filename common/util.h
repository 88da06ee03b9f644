#ifndef MEWS_UTIL_H
#define MEWS_UTIL_H

/* Small things every room uses. */

#define nitems(a) (sizeof(a) / sizeof((a)[0]))

/*
 * RULE(NAME) is true in every build that ships.  A test build relinks one
 * object with -DRULE_OFF_NAME=1 and shows that the test which names the
 * rule then fails (tests/rules).
 */
#define RULE(name) (!RULE_IS_OFF(RULE_OFF_##name))
/* 1 where the argument is defined as 1, 0 where it is not defined at all */
#define RULE_IS_OFF(x) RULE_IS_OFF_(x)
#define RULE_IS_OFF_(x) RULE_SECOND(RULE_COMMA_##x 1, 0)
#define RULE_COMMA_1 0,
#define RULE_SECOND(...) RULE_SECOND_(__VA_ARGS__, 0)
#define RULE_SECOND_(a, b, ...) b

#endif
