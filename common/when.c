#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/err.h"
#include "common/rfc3339.h"
#include "common/util.h"
#include "common/when.h"

#define NS INT64_C(1000000000)

static const struct {
	char name;
	int64_t seconds;
} units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };

/* A whole number and its unit, one of those from *first on. */
static bool
take(const char **s, size_t *first, int64_t *seconds)
{
	int64_t n = 0, part = 0;
	const char *p = *s;
	size_t i;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, *p - '0', &n))
			return false;
	for (i = *first; i < nitems(units) && units[i].name != *p; i++)
		;
	if (p == *s || i == nitems(units) ||
	    __builtin_mul_overflow(n, units[i].seconds, &part) ||
	    __builtin_add_overflow(*seconds, part, seconds))
		return false;
	*s = p + 1;
	*first = i + 1;
	return true;
}

static bool
duration(const char *s, int64_t *seconds)
{
	size_t first = 0;

	*seconds = 0;
	do {
		if (!take(&s, &first, seconds))
			return false;
	} while (*s != '\0');
	return true;
}

int
when_parse(const char *s, int64_t now_ns, int64_t *ret, struct err *e)
{
	int64_t ago = 0, t = 0;

	if (duration(s, &ago))
		t = ago >= now_ns / NS ? 0 : now_ns - ago * NS;
	else if (rfc3339_parse(s, strlen(s), &t) < 0)
		return err_set(e, -EINVAL,
		    "it is how long ago (90s, 10m, 1h30m, 2d) or a time "
		    "(2026-11-29T07:30:00Z, or with +01:00 instead of the Z)");
	else if (t > now_ns)
		return err_set(e, -EINVAL, "that is still to come");
	*ret = t > 0 ? t : 1;
	return 0;
}
