#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/size.h"
#include "common/err.h"
#include "common/num.h"
#include "common/util.h"

int
size_parse_mib(const char *s, uint32_t max, uint32_t *ret, struct err *e)
{
	size_t len = strlen(s);
	char digits[24];
	long long v, unit = 1;

	if (len > 0 && strchr("mM", s[len - 1]) != NULL) {
		len--;
	} else if (len > 0 && strchr("gG", s[len - 1]) != NULL) {
		unit = 1024;
		len--;
	} else if (len > 0 && strchr("tT", s[len - 1]) != NULL) {
		unit = 1048576;
		len--;
	}
	if (len == 0 || len >= sizeof(digits))
		goto bad;
	memcpy(digits, s, len);
	digits[len] = '\0';
	if (num_parse(digits, 1, (long long)max, &v) < 0 ||
	    __builtin_mul_overflow(v, unit, &v) || v > (long long)max)
		goto bad;
	*ret = (uint32_t)v;
	return 0;
bad:
	return err_set(e, -EINVAL,
	    "%.32s is no size of memory: 256 or 256m (MiB), 1g, at most "
	    "%" PRIu32 "m",
	    s, max);
}

void
size_format_mib(uint32_t mib, char buf[SIZE_TEXT_MAX])
{
	if (mib >= 1024 && mib % 1024 == 0)
		(void)snprintf(
		    buf, SIZE_TEXT_MAX, "%" PRIu32 " GiB", mib / 1024);
	else
		(void)snprintf(buf, SIZE_TEXT_MAX, "%" PRIu32 " MiB", mib);
}

void
size_format_age(int64_t seconds, char buf[AGE_TEXT_MAX])
{
	static const struct {
		int64_t unit;
		const char *name;
	} units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" },
		{ 1, "second" } };
	int64_t n = seconds > 0 ? seconds : 0;
	size_t i = 0;

	/* from two of a unit on, so that nothing is off by half */
	while (i + 1 < nitems(units) && n < 2 * units[i].unit)
		i++;
	n /= units[i].unit;
	(void)snprintf(buf, AGE_TEXT_MAX, "%" PRId64 " %s%s", n, units[i].name,
	    n == 1 ? "" : "s");
}
