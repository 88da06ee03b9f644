#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/rfc3339.h"

#define NS 1000000000LL

/*
 * Days before 1 March of a year, counted in the era that starts on
 * 0000-03-01: leap days then come last in their year.
 */
static int64_t
days_from_civil(int64_t y, int64_t m, int64_t d)
{
	int64_t shifted = m > 2 ? m - 3 : m + 9;

	if (m <= 2)
		y--;
	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * shifted + 2) / 5 +
	    d - 1 - 719468;
}

static int64_t
month_days(int64_t y, int64_t m)
{
	static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31,
		30, 31, 30, 31 };

	if (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0))
		return 29;
	return days[m - 1];
}

void
rfc3339_format(int64_t ns, bool fraction, char buf[RFC3339_MAX])
{
	int64_t sec = ns / NS, frac = ns % NS, days = sec / 86400;
	int64_t y = 1970 + days / 366, m = 1;
	int rest = (int)(sec % 86400);
	int len;

	while (days_from_civil(y + 1, 1, 1) <= days)
		y++;
	while (m < 12 && days_from_civil(y, m + 1, 1) <= days)
		m++;
	len = snprintf(buf, RFC3339_MAX, "%04d-%02d-%02dT%02d:%02d:%02d",
	    (int)y, (int)m, (int)(days - days_from_civil(y, m, 1)) + 1,
	    rest / 3600, rest / 60 % 60, rest % 60);
	if (fraction && frac > 0) {
		len += snprintf(
		    buf + len, RFC3339_MAX - (size_t)len, ".%09d", (int)frac);
		while (buf[len - 1] == '0')
			len--;
	}
	buf[len] = 'Z';
	buf[len + 1] = '\0';
}

/* n digits at *s, within [min, max], and then the byte `after`. */
static int
digits(const char **s, const char *end, size_t n, int64_t min, int64_t max,
    char after, int64_t *ret)
{
	int64_t v = 0;
	size_t i;

	if ((size_t)(end - *s) < n + (after != '\0'))
		return -EINVAL;
	for (i = 0; i < n; i++) {
		if ((*s)[i] < '0' || (*s)[i] > '9')
			return -EINVAL;
		v = v * 10 + ((*s)[i] - '0');
	}
	if (v < min || v > max || (after != '\0' && (*s)[n] != after))
		return -EINVAL;
	*s += n + (after != '\0');
	*ret = v;
	return 0;
}

static int
fraction_of(const char **s, const char *end, int64_t *ret)
{
	int64_t v = 0, scale = NS;
	const char *p = *s + 1;

	for (; p < end && *p >= '0' && *p <= '9' && scale > 1; p++) {
		scale /= 10;
		v += (*p - '0') * scale;
	}
	if (p == *s + 1)
		return -EINVAL;
	*s = p;
	*ret = v;
	return 0;
}

/* 'Z' or an offset, up to the end; seconds east of Greenwich. */
static int
zone_of(const char *s, const char *end, int64_t *ret)
{
	int64_t h = 0, m = 0;
	char sign;

	if (s == end)
		return -EINVAL;
	sign = *s++;
	if (sign == 'Z') {
		*ret = 0;
		return s == end ? 0 : -EINVAL;
	}
	if ((sign != '+' && sign != '-') ||
	    digits(&s, end, 2, 0, 23, ':', &h) < 0 ||
	    digits(&s, end, 2, 0, 59, '\0', &m) < 0 || s != end)
		return -EINVAL;
	*ret = (sign == '-' ? -1 : 1) * (h * 3600 + m * 60);
	return 0;
}

int
rfc3339_parse(const char *s, size_t len, int64_t *ret)
{
	const char *end = s + len;
	int64_t y = 0, mo = 0, d = 0, h = 0, mi = 0, sec = 0, frac = 0;
	int64_t east = 0, t;

	if (digits(&s, end, 4, 1970, 2261, '-', &y) < 0 ||
	    digits(&s, end, 2, 1, 12, '-', &mo) < 0 ||
	    digits(&s, end, 2, 1, month_days(y, mo), 'T', &d) < 0 ||
	    digits(&s, end, 2, 0, 23, ':', &h) < 0 ||
	    digits(&s, end, 2, 0, 59, ':', &mi) < 0 ||
	    digits(&s, end, 2, 0, 59, '\0', &sec) < 0)
		return -EINVAL;
	if (s < end && *s == '.' && fraction_of(&s, end, &frac) < 0)
		return -EINVAL;
	if (zone_of(s, end, &east) < 0)
		return -EINVAL;
	t = days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - east;
	if (t < 0)
		return -EINVAL;
	*ret = t * NS + frac;
	return 0;
}
