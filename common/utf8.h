#ifndef MEWS_UTF8_H
#define MEWS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Well-formed UTF-8 as RFC 3629 has it: no overlong forms, no surrogates,
 * nothing past U+10FFFF.  A NUL is a character like any other here.
 */
bool utf8_valid(const char *s, size_t len);
/* Bytes of the character at s, of which left (at least 1) are there; 0: none */
size_t utf8_len(const char *s, size_t left);
/* For text from a stranger: bytes that are no character become '?'. */
void utf8_scrub(char *s, size_t len);

/* Writes one code point (not a surrogate, at most 0x10ffff): 1 to 4 bytes. */
size_t utf8_put(uint32_t cp, char buf[4]);

#endif
