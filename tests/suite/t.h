#ifndef MEWS_T_H
#define MEWS_T_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The unit tests' frame.  A test program defines
 *	const struct t_case t_cases[] = { { "name", fn }, ..., { NULL, NULL } };
 * and main() comes from t.c.  Each case is one test in the closing count
 * ("ok NAME" or "not ok NAME"); rows only make messages precise.
 */
struct t_case {
	const char *name;
	void (*fn)(void);
};
extern const struct t_case t_cases[];

/* Names the row that the following checks belong to. */
void t_row(const char *name);
/* Leaves the case as skipped: only for what the machine truly lacks. */
void t_skip(const char *why);

void t_eq_(const char *file, int line, const char *expr, long long got,
    long long want);
void t_str_(const char *file, int line, const char *expr, const char *got,
    const char *want);
void t_mem_(const char *file, int line, const char *expr, const void *got,
    size_t gotlen, const void *want, size_t wantlen);

#define t_eq(got, want) \
	t_eq_(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))
#define t_str(got, want) t_str_(__FILE__, __LINE__, #got, (got), (want))
#define t_mem(got, gotlen, want, wantlen) \
	t_mem_(__FILE__, __LINE__, #got, (got), (gotlen), (want), (wantlen))
#define t_true(cond) t_eq_(__FILE__, __LINE__, #cond, !!(cond), 1)

/*
 * Torture: malloc, calloc, realloc and friends fail at the n-th call from
 * now (1 = next), 0 = never.  Only for code linked into the test itself.
 */
void t_fail_alloc(unsigned int nth);
/* True once if the armed failure was reached. */
bool t_alloc_failed(void);
/* Blocks that are allocated now: as many after as before, or some leak. */
long t_live(void);
/* How much the last allocation asked for. */
size_t t_asked(void);
/* These bytes are not to be in a block that is given back, until the case
 * ends; whether they were. */
void t_secret(const void *p, size_t len);
bool t_spilled(void);

#endif
