#include <bsd/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "mewsd/begin.h"

/* Every one is open, so that nothing else becomes standard error. */
static void
descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			_exit(1); /* there is nobody to tell */
	} while (fd <= STDERR_FILENO);
	closefrom(STDERR_FILENO + 1);
}

/*
 * All by default, none blocked.  Two are ignored, here and so by every room
 * from its first moment: a peer that is gone (SIGPIPE) and a file that may not
 * grow (SIGXFSZ) are errors of the call, which are answered or said.
 */
static void
signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL },
			 ign = { .sa_handler = SIG_IGN }, was;
	sigset_t none;
	int sig;

	/* an exec leaves nothing else but what was ignored; libc's own refuse
	 */
	for (sig = 1; sig < NSIG; sig++) {
		if (sigaction(sig, NULL, &was) == 0 &&
		    was.sa_handler == SIG_IGN)
			(void)sigaction(sig, &dfl, NULL);
	}
	(void)sigaction(SIGPIPE, &ign, NULL);
	(void)sigaction(SIGXFSZ, &ign, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void
begin_clean(void)
{
	if (!RULE(BEGIN_CLEAN))
		return;
	descriptors();
	signals();
	(void)umask(022);
}

void
begin_limits(void)
{
	static const struct {
		__rlimit_resource_t what;
		const char *name, *option;
		const char *then;
	} rows[] = {
		{ RLIMIT_FSIZE, "bytes of a file", "f",
		    "store and logs cannot grow past it" },
		{ RLIMIT_CPU, "seconds of a processor", "t",
		    "each room is killed when it has used them" },
		{ RLIMIT_AS, "bytes of memory", "v",
		    "rooms and VMs may not start" },
		{ RLIMIT_DATA, "bytes of data", "d",
		    "rooms and VMs may not start" },
	};
	struct rlimit rl, all = { RLIM_INFINITY, RLIM_INFINITY };
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		if (getrlimit(rows[i].what, &rl) < 0 ||
		    setrlimit(rows[i].what, &all) == 0 ||
		    rl.rlim_max == RLIM_INFINITY)
			continue;
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(rows[i].what, &rl);
		log_warn("mewsd was started with a limit of %llu %s (ulimit "
			 "-H%s), which it may not lift: %s",
		    (unsigned long long)rl.rlim_max, rows[i].name,
		    rows[i].option, rows[i].then);
	}
}
