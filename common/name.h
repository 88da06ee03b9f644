#ifndef MEWS_NAME_H
#define MEWS_NAME_H

#include <stddef.h>

struct err;

/*
 * The name of a VM, stricter than what Volant takes: it must be safe as a
 * path component, a URL segment, a word on a command line and (lower-cased,
 * '.' and '_' left out) a host name.
 *	1 to 63 bytes of a-z A-Z 0-9 . _ -
 *	first and last byte a letter or digit, no ".."
 *	not 16 lower-case hex digits: that is how uids look
 * 0 or -EINVAL with a line for a person in e (NULL is fine).
 */
#define NAME_LEN_MAX 63
int name_check(const char *s, size_t len, struct err *e);

/*
 * A host name of one label (RFC 1123): 1 to 63 letters, digits, dashes, no
 * dash at either end.  As name_check.
 */
int name_check_hostname(const char *s, size_t len, struct err *e);

#endif
