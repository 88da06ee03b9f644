#ifndef MEWS_WHEN_H
#define MEWS_WHEN_H

#include <stdint.h>

struct err;

#define WHEN_MAX 63 /* bytes of one */

/*
 * A moment that is past, as people say it: how long ago it was (90s, 10m,
 * 1h30m, 2d: whole numbers with s, m, h or d, the greatest first) or an RFC
 * 3339 time.  Nanoseconds since 1970, 1 at least.  0, or -EINVAL with words
 * that go behind a name; *ret is written on success only.
 */
int when_parse(const char *s, int64_t now_ns, int64_t *ret, struct err *e);

#endif
