#ifdef MEWS_ASAN
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/asan.h"
#include "common/util.h"

/*
 * Read by the runtimes before main().  A report goes to descriptor 2, which
 * is a log in every room, without names: the room has no root to find its
 * own symbols in.
 */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *
__asan_default_options(void)
{
	return "exitcode=99:color=never:symbolize=0:detect_leaks=0:"
	       "strict_string_checks=1:detect_stack_use_after_return=0:"
	       "quarantine_size_mb=16";
}

const char *
__ubsan_default_options(void)
{
	return "exitcode=99:color=never:symbolize=0:print_stacktrace=1";
}

const struct seccomp_rule seccomp_asan[] = {
	/* its allocator's regions */
	SC_ALLOW_IF(madvise, 2, UINT32_MAX, MADV_NOHUGEPAGE),
	SC_ALLOW_IF(madvise, 2, UINT32_MAX, MADV_DONTDUMP),
	SC_ALLOW(sched_yield), /* its spinning locks */
	SC_ALLOW(gettid), /* a thread starts */
	SC_ALLOW(sched_getaffinity), /* a thread starts: its stack's bounds */
	SC_ALLOW(sigaltstack), /* a thread starts and ends */
	/* a report: the program's name and map, which no root has */
	SC_FAIL(readlink, ENOENT), SC_FAIL(open, ENOENT),
	SC_FAIL(pipe2, EMFILE), /* how it tries whether memory is there */
};
const size_t seccomp_asan_len = nitems(seccomp_asan);

/* One byte past its end: the runtime must say so. */
static void
on_usr2(int sig)
{
	volatile size_t end = 8;
	static volatile char *volatile p;

	(void)sig;
	p = malloc(8);
	p[end] = 1;
}

/* No call in any room's main(): what ships does not know of this. */
static void __attribute__((constructor)) arm(void)
{
	struct sigaction sa = { .sa_handler = on_usr2 };

	(void)sigaction(SIGUSR2, &sa, NULL);
}
#endif
