#ifndef MEWS_WARDEN_TEXT_H
#define MEWS_WARDEN_TEXT_H

#include <stddef.h>

struct jstr;

/*
 * A hostile peer's bytes as text for a person: printable ASCII, everything
 * else '?', cut to cap - 1 bytes, NUL-terminated.
 */
void text_print(char *buf, size_t cap, const char *src, size_t len);

/* The same of a JSON string; empty when memory is short. */
void text_print_json(char *buf, size_t cap, const struct jstr *s);

#endif
