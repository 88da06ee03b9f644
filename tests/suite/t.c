#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suite/t.h"

static const char *row;
static const char *skipped;
static int failures;
static unsigned int fail_nth;
static bool fail_hit;
static atomic_long live;
static size_t asked;
static const void *secret;
static size_t secretlen;
static atomic_bool spilled;

static bool
alloc_fails(void)
{
	if (fail_nth == 0 || --fail_nth > 0)
		return false;
	fail_hit = true;
	return true;
}

/*
 * The C library's allocator is taken over by name.  A sanitizer's must stay
 * where it is, or nothing finds the leaks: there the linker sends this
 * program's own calls here (mk/tests.mk).
 */
#ifdef __SANITIZE_ADDRESS__
#define OURS(name) __wrap_##name
#define THEIRS(name) __real_##name
#else
#define OURS(name) name
#define THEIRS(name) __libc_##name
#endif

void *THEIRS(malloc)(size_t);
void *THEIRS(calloc)(size_t, size_t);
void *THEIRS(realloc)(void *, size_t);
void THEIRS(free)(void *);

#if defined(__SANITIZE_ADDRESS__) || !defined(__clang__)
void *OURS(malloc)(size_t);
void *OURS(calloc)(size_t, size_t);
void *OURS(realloc)(void *, size_t);
void OURS(free)(void *);

static void *
counted(void *p)
{
	if (p != NULL)
		live++;
	return p;
}

/* The block is given back, with what is in it. */
static void
look(void *p)
{
	if (secretlen > 0 && p != NULL &&
	    memmem(p, malloc_usable_size(p), secret, secretlen) != NULL)
		spilled = true;
}

void *
OURS(malloc)(size_t n)
{
	asked = n;
	return alloc_fails() ? NULL : counted(THEIRS(malloc)(n));
}

void *
OURS(calloc)(size_t n, size_t m)
{
	asked = n * m;
	return alloc_fails() ? NULL : counted(THEIRS(calloc)(n, m));
}

void *
OURS(realloc)(void *p, size_t n)
{
	asked = n;
	if (alloc_fails())
		return NULL;
	look(p);
	if (p != NULL && n == 0)
		live--;
	return p == NULL ? counted(THEIRS(realloc)(p, n))
			 : THEIRS(realloc)(p, n);
}

void
OURS(free)(void *p)
{
	look(p);
	if (p != NULL)
		live--;
	THEIRS(free)(p);
}
#endif

void
t_fail_alloc(unsigned int nth)
{
	(void)alloc_fails;
	fail_nth = nth;
	fail_hit = false;
}

bool
t_alloc_failed(void)
{
	bool hit = fail_hit;

	fail_hit = false;
	return hit;
}

long
t_live(void)
{
#ifdef __SANITIZE_ADDRESS__
	return 0; /* only some are seen, and leaks are found without this */
#else
	return live;
#endif
}

size_t
t_asked(void)
{
	return asked;
}

void
t_secret(const void *p, size_t len)
{
	secret = p;
	secretlen = len;
	spilled = false;
}

bool
t_spilled(void)
{
	return spilled;
}

void
t_row(const char *name)
{
	row = name;
}

void
t_skip(const char *why)
{
	skipped = why;
}

static void
fail(const char *file, int line)
{
	failures++;
	printf("# %s:%d%s%s: ", file, line, row == NULL ? "" : " row ",
	    row == NULL ? "" : row);
}

void
t_eq_(
    const char *file, int line, const char *expr, long long got, long long want)
{
	if (got == want)
		return;
	fail(file, line);
	printf("%s is %lld, not %lld\n", expr, got, want);
}

void
t_str_(const char *file, int line, const char *expr, const char *got,
    const char *want)
{
	if (got == want ||
	    (got != NULL && want != NULL && strcmp(got, want) == 0))
		return;
	fail(file, line);
	printf("%s is \"%s\", not \"%s\"\n", expr, got == NULL ? "(null)" : got,
	    want == NULL ? "(null)" : want);
}

void
t_mem_(const char *file, int line, const char *expr, const void *got,
    size_t gotlen, const void *want, size_t wantlen)
{
	if (gotlen == wantlen &&
	    (gotlen == 0 || memcmp(got, want, gotlen) == 0))
		return;
	fail(file, line);
	printf("%s: %zu bytes \"%.*s\", not %zu bytes \"%.*s\"\n", expr, gotlen,
	    (int)gotlen, (const char *)got, wantlen, (int)wantlen,
	    (const char *)want);
}

int
main(void)
{
	const struct t_case *c;
	int bad = 0;

	for (c = t_cases; c->name != NULL; c++) {
		row = skipped = NULL;
		failures = 0;
		t_fail_alloc(0);
		c->fn();
		t_fail_alloc(0);
		t_secret(NULL, 0);
		if (failures > 0)
			bad = 1;
		if (skipped != NULL && failures == 0)
			printf("skip %s: %s\n", c->name, skipped);
		else
			printf(
			    "%s %s\n", failures > 0 ? "not ok" : "ok", c->name);
		(void)fflush(stdout);
	}
	return bad;
}
