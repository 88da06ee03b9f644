#ifndef MEWS_ERR_H
#define MEWS_ERR_H

#include <stdarg.h>

/*
 * A fault with its text, made where the fault is known and passed out last.
 * code is a negative errno; msg is one line for a person, without newline.
 */
struct err {
	int code;
	char msg[256];
};

/* Fills e (NULL is fine) and returns code, so that callers can return it. */
int err_set(struct err *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, with ": " and the errno's text appended. */
int err_errno(struct err *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
