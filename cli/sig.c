#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/sig.h"
#include "cli/tty.h"
#include "common/fds.h"
#include "common/util.h"

/* One terminal, one set of signals: the one state of the process. */
static struct {
	int fd;
	int asked;
	unsigned int count;
	bool resized;
	sigset_t old;
} sig = { .fd = -1 };

/* A blocked signal comes although it is ignored: signal(7). */
static bool
is_ignored(int signo)
{
	struct sigaction sa;

	return sigaction(signo, NULL, &sa) == 0 &&
	    (sa.sa_flags & SA_SIGINFO) == 0 && sa.sa_handler == SIG_IGN;
}

int
sig_open(void)
{
	static const int taken[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP,
		SIGCONT, SIGWINCH };
	sigset_t set;
	size_t i;

	if (sig.fd >= 0)
		return 0;
	(void)sigemptyset(&set);
	for (i = 0; i < nitems(taken); i++) {
		if (!is_ignored(taken[i]))
			(void)sigaddset(&set, taken[i]);
	}
	if (sigprocmask(SIG_BLOCK, &set, &sig.old) < 0)
		return -errno;
	if ((sig.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return -errno;
	/* a closed pipe is an answer of write(2), so that --rm still works */
	if (sigaction(SIGPIPE,
		&(struct sigaction){
		    .sa_handler = SIG_IGN,
		},
		NULL) < 0)
		return -errno;
	return 0;
}

void
sig_close(void)
{
	if (sig.fd < 0)
		return;
	fd_close(&sig.fd);
	(void)sigprocmask(SIG_SETMASK, &sig.old, NULL);
}

int
sig_fd(void)
{
	return sig.fd;
}

/* As the signal would have: the kernel decides whether there is a stop. */
static void
stop(void)
{
	sigset_t one;

	tty_stop();
	(void)sigemptyset(&one);
	(void)sigaddset(&one, SIGTSTP);
	(void)raise(SIGTSTP);
	(void)sigprocmask(SIG_UNBLOCK, &one, NULL);
	(void)sigprocmask(SIG_BLOCK, &one, NULL);
	tty_again();
}

void
sig_take(void)
{
	struct signalfd_siginfo si;

	while (sig.fd >= 0 &&
	    read(sig.fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		switch (si.ssi_signo) {
		case SIGTSTP:
			stop();
			break;
		case SIGCONT: /* after any stop, by whatever signal */
			tty_again();
			sig.resized = true;
			break;
		case SIGWINCH:
			sig.resized = true;
			break;
		default:
			sig.asked = (int)si.ssi_signo;
			sig.count++;
			break;
		}
	}
}

int
sig_asked(void)
{
	sig_take();
	return sig.asked;
}

unsigned int
sig_count(void)
{
	sig_take();
	return sig.count;
}

void
sig_forget(void)
{
	sig.asked = 0;
	sig.count = 0;
}

bool
sig_resized(void)
{
	bool was = sig.resized;

	sig.resized = false;
	return was;
}

int
sig_poll(int fd, short events, int ms)
{
	struct pollfd p[] = { { .fd = fd, .events = events },
		{ .fd = sig.fd, .events = POLLIN } };
	int r;

	if (sig_asked() != 0)
		return -EINTR;
	r = poll(p, 2, ms);
	if (r < 0 && errno != EINTR)
		return -errno;
	if (sig_asked() != 0)
		return -EINTR;
	/* a new window size is no reason to stop waiting for long */
	return r > 0 && p[0].revents != 0 ? p[0].revents : -ETIMEDOUT;
}
