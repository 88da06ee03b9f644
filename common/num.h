#ifndef MEWS_NUM_H
#define MEWS_NUM_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decimal, digits only with an optional leading '-', the whole string,
 * within [min, max].  0, or -EINVAL for anything that is no such number, or
 * -ERANGE; *ret is written on success only.
 */
int num_parse(const char *s, long long min, long long max, long long *ret);

/* Exactly 16 lower-case hex digits, as uids are written.  0 or -EINVAL. */
int num_parse_hex64(const char *s, uint64_t *ret);

#define HEX64_LEN 16
/* Writes 16 lower-case hex digits and a NUL. */
void num_format_hex64(uint64_t v, char buf[HEX64_LEN + 1]);

#endif
