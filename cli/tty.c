#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/tty.h"

/* There is one terminal; what it was like before. */
static struct {
	int fd;
	bool wanted; /* raw is what the session wants, stopped or not */
	volatile sig_atomic_t is_raw;
	bool guarded;
	struct termios old, raw;
} tty = { .fd = -1 };

/* One that is not ours to control has no job control either: -1. */
static bool
in_foreground(void)
{
	pid_t pgrp = tcgetpgrp(tty.fd);

	return pgrp < 0 || pgrp == getpgrp();
}

/* Only what a signal handler may call, and nothing that waits: output may be
 * stopped for good. */
static void
cook(void)
{
	if (tty.is_raw != 0 && in_foreground())
		(void)tcsetattr(tty.fd, TCSANOW, &tty.old);
	tty.is_raw = 0;
}

/* The handler is gone already (SA_RESETHAND): now it kills as it should. */
static void
on_death(int signo)
{
	cook();
	(void)raise(signo);
}

static bool
is_deadly(int signo)
{
	switch (signo) {
	case SIGCHLD:
	case SIGCONT:
	case SIGURG:
	case SIGWINCH:
	case SIGKILL:
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
		return false;
	default:
		return true;
	}
}

/* What somebody else handles or ignores stays his. */
static void
guard(void)
{
	struct sigaction old,
	    sa = { .sa_handler = on_death,
		    .sa_flags = (int)SA_RESETHAND | SA_NODEFER };
	int i;

	if (tty.guarded)
		return;
	tty.guarded = true;
	for (i = 1; i <= SIGRTMAX; i++) {
		if (is_deadly(i) && sigaction(i, NULL, &old) == 0 &&
		    (old.sa_flags & SA_SIGINFO) == 0 &&
		    old.sa_handler == SIG_DFL)
			(void)sigaction(i, &sa, NULL);
	}
}

static int
set_raw(void)
{
	int r;

	do {
		r = tcsetattr(tty.fd, TCSANOW, &tty.raw);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	tty.is_raw = 1;
	return 0;
}

int
tty_raw(int fd)
{
	int r;

	if (tty.wanted || !isatty(fd))
		return 0;
	if (tcgetattr(fd, &tty.old) < 0)
		return -errno;
	tty.fd = fd;
	tty.raw = tty.old;
	cfmakeraw(&tty.raw);
	guard();
	if ((r = set_raw()) == 0)
		tty.wanted = true;
	return r;
}

void
tty_restore(void)
{
	tty.wanted = false;
	cook();
}

void
tty_stop(void)
{
	cook();
}

/* Also where nobody restored it: who stopped us may have had the terminal. */
void
tty_again(void)
{
	if (tty.wanted && in_foreground())
		(void)set_raw();
}

int
tty_open_out(int fd)
{
	char path[32];

	if (!isatty(fd))
		return -1;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

int
tty_size(int fd, uint16_t *width, uint16_t *height)
{
	struct winsize ws;

	if (ioctl(fd, TIOCGWINSZ, &ws) < 0 || ws.ws_col == 0)
		return -ENOTTY;
	*width = ws.ws_col;
	*height = ws.ws_row;
	return 0;
}
