#ifndef MEWS_CLI_SIZE_H
#define MEWS_CLI_SIZE_H

#include <stdint.h>

struct err;

/* "256", "256m": MiB; "1g": GiB, "1t"; either case.  0 or -EINVAL with e. */
int size_parse_mib(const char *s, uint32_t max, uint32_t *ret, struct err *e);

/* "90 MiB", "1.5 GiB": what a person reads. */
#define SIZE_TEXT_MAX 24
void size_format_mib(uint32_t mib, char buf[SIZE_TEXT_MAX]);

/* "12 seconds", "3 minutes", "2 days"; negative is 0. */
#define AGE_TEXT_MAX 32
void size_format_age(int64_t seconds, char buf[AGE_TEXT_MAX]);

#endif
