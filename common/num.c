#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/num.h"

int
num_parse(const char *s, long long min, long long max, long long *ret)
{
	bool neg = false, over = false;
	long long v = 0;

	if (*s == '-') {
		neg = true;
		s++;
	}
	if (*s == '\0')
		return -EINVAL;
	for (; *s != '\0'; s++) {
		int d = *s - '0';

		if (d < 0 || d > 9)
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, neg ? -d : d, &v))
			over = true;
		if (over)
			v = 0;
	}
	if (over || v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int
num_parse_hex64(const char *s, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i;

	if (strlen(s) != HEX64_LEN)
		return -EINVAL;
	for (i = 0; i < HEX64_LEN; i++) {
		uint64_t d;

		if (s[i] >= '0' && s[i] <= '9')
			d = (uint64_t)(s[i] - '0');
		else if (s[i] >= 'a' && s[i] <= 'f')
			d = (uint64_t)(s[i] - 'a') + 10;
		else
			return -EINVAL;
		v = v << 4 | d;
	}
	*ret = v;
	return 0;
}

void
num_format_hex64(uint64_t v, char buf[HEX64_LEN + 1])
{
	static const char hex[] = "0123456789abcdef";
	int i;

	for (i = HEX64_LEN - 1; i >= 0; i--) {
		buf[i] = hex[v & 15];
		v >>= 4;
	}
	buf[HEX64_LEN] = '\0';
}
