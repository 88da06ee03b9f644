#include <dlfcn.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tests/orchd/faulty_sql.h"
#include "tests/suite/t.h"

struct faulty faulty;
unsigned int steps;
char execs[1024];

void
faulty_set(const char *what, unsigned int nth, int rc)
{
	faulty = (struct faulty){ what, nth, rc };
	execs[0] = '\0';
	steps = 0;
}

static bool
fails(const char *what)
{
	if (faulty.what == NULL ||
	    strncmp(what, faulty.what, strlen(faulty.what)) != 0 ||
	    --faulty.nth > 0)
		return false;
	faulty.what = NULL;
	return true;
}

#define REAL(fn) (*(void **)&real = dlsym(RTLD_NEXT, (fn)))

int
sqlite3_open_v2(const char *name, sqlite3 **ret, int flags, const char *vfs)
{
	int (*real)(const char *, sqlite3 **, int, const char *);

	if (fails("open_v2")) {
		*ret = NULL;
		return faulty.rc;
	}
	REAL("sqlite3_open_v2");
	return real(name, ret, flags, vfs);
}

int
sqlite3_db_config(sqlite3 *db, int op, ...)
{
	int (*real)(sqlite3 *, int, ...);
	va_list ap;
	int on, *was;

	if (fails("db_config"))
		return faulty.rc;
	va_start(ap, op);
	on = va_arg(ap, int);
	was = va_arg(ap, int *);
	va_end(ap);
	REAL("sqlite3_db_config");
	return real(db, op, on, was);
}

int
sqlite3_busy_timeout(sqlite3 *db, int ms)
{
	int (*real)(sqlite3 *, int);

	if (fails("busy_timeout"))
		return faulty.rc;
	REAL("sqlite3_busy_timeout");
	return real(db, ms);
}

int
sqlite3_exec(sqlite3 *db, const char *text,
    int (*cb)(void *, int, char **, char **), void *arg, char **why)
{
	int (*real)(sqlite3 *, const char *,
	    int (*)(void *, int, char **, char **), void *, char **);
	const size_t n = strlen(execs);

	if (strncmp(text, "SELECT*", 7) != 0) /* SQLite's own */
		(void)snprintf(execs + n, sizeof(execs) - n, "%.17s|", text);
	if (fails(text))
		return faulty.rc;
	REAL("sqlite3_exec");
	return real(db, text, cb, arg, why);
}

int
sqlite3_prepare_v2(sqlite3 *db, const char *text, int len, sqlite3_stmt **ret,
    const char **tail)
{
	int (*real)(
	    sqlite3 *, const char *, int, sqlite3_stmt **, const char **);

	if (fails("prepare_v2"))
		return faulty.rc;
	REAL("sqlite3_prepare_v2");
	return real(db, text, len, ret, tail);
}

int
sqlite3_prepare_v3(sqlite3 *db, const char *text, int len, unsigned int flags,
    sqlite3_stmt **ret, const char **tail)
{
	int (*real)(sqlite3 *, const char *, int, unsigned int, sqlite3_stmt **,
	    const char **);

	if (fails("prepare_v3"))
		return faulty.rc;
	REAL("sqlite3_prepare_v3");
	return real(db, text, len, flags, ret, tail);
}

int
sqlite3_create_function(sqlite3 *db, const char *name, int args, int how,
    void *arg, void (*fn)(sqlite3_context *, int, sqlite3_value **),
    void (*step)(sqlite3_context *, int, sqlite3_value **),
    void (*final)(sqlite3_context *))
{
	int (*real)(sqlite3 *, const char *, int, int, void *,
	    void (*)(sqlite3_context *, int, sqlite3_value **),
	    void (*)(sqlite3_context *, int, sqlite3_value **),
	    void (*)(sqlite3_context *));

	if (fails("create_function"))
		return faulty.rc;
	REAL("sqlite3_create_function");
	return real(db, name, args, how, arg, fn, step, final);
}

int
sqlite3_step(sqlite3_stmt *st)
{
	int (*real)(sqlite3_stmt *);

	steps++;
	if (fails("step"))
		return faulty.rc;
	REAL("sqlite3_step");
	return real(st);
}

const unsigned char *
sqlite3_column_text(sqlite3_stmt *st, int i)
{
	const unsigned char *(*real)(sqlite3_stmt *, int), *text;
	const bool hit = fails("column_text");

	if (hit && faulty.rc != FAULTY_MEMORY)
		return NULL;
	REAL("sqlite3_column_text");
	text = real(st, i);
	if (hit)
		t_fail_alloc(1);
	return text;
}
