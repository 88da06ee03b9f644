#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/sig.h"
#include "common/fds.h"

/* One terminal, one set of signals: the one state of the process. */
static struct {
	int fd;
	int asked;
	unsigned int count;
	bool resized;
	sigset_t old;
} sig = { .fd = -1 };

int
sig_open(void)
{
	sigset_t set;

	if (sig.fd >= 0)
		return 0;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGWINCH);
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

void
sig_take(void)
{
	struct signalfd_siginfo si;

	while (sig.fd >= 0 &&
	    read(sig.fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGWINCH) {
			sig.resized = true;
			continue;
		}
		sig.asked = (int)si.ssi_signo;
		sig.count++;
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
	if (r < 0)
		return -errno;
	if (sig_asked() != 0)
		return -EINTR;
	/* a new window size is no reason to stop waiting for long */
	return p[0].revents != 0 ? p[0].revents : -ETIMEDOUT;
}
