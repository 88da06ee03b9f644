#ifndef MEWS_RFC3339_H
#define MEWS_RFC3339_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "2262-04-11T23:47:16.854775807Z" and its NUL. */
#define RFC3339_MAX 31

/*
 * Nanoseconds since 1970 in UTC, whole seconds or with up to nine digits
 * of fraction (trailing zeros left off).  ns is not negative.
 */
void rfc3339_format(int64_t ns, bool fraction, char buf[RFC3339_MAX]);

/*
 * The whole string: date, 'T', time, optional fraction of 1 to 9 digits,
 * 'Z' or +hh:mm.  From 1970 to 2261; a leap second is refused.
 * 0 or -EINVAL; *ret is written on success only.
 */
int rfc3339_parse(const char *s, size_t len, int64_t *ret);

#endif
