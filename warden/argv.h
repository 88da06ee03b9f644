#ifndef MEWS_WARDEN_ARGV_H
#define MEWS_WARDEN_ARGV_H

#include <stddef.h>

/*
 * A program's arguments, one call an argument: nothing here is ever split,
 * quoted or joined, so no argument can become two.
 */
#define ARGV_MAX 96
#define ARGV_TEXT_MAX 8192

struct argv {
	char *v[ARGV_MAX + 1]; /* NULL-terminated, points into text */
	size_t n;
	char text[ARGV_TEXT_MAX];
	size_t used;
	int bad; /* the first error; sticks */
};

void argv_init(struct argv *a);
void argv_add(struct argv *a, const char *arg);
void argv_addf(struct argv *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* 0, or -E2BIG when an argument did not fit. */
int argv_end(const struct argv *a);

#endif
