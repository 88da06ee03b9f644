#include <errno.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/tty.h"

/* There is one terminal; what it was like before. */
static struct {
	int fd;
	bool is_raw;
	struct termios old;
} tty = { .fd = -1 };

int
tty_raw(int fd)
{
	struct termios t;

	if (tty.is_raw || !isatty(fd))
		return 0;
	if (tcgetattr(fd, &tty.old) < 0)
		return -errno;
	t = tty.old;
	cfmakeraw(&t);
	if (tcsetattr(fd, TCSADRAIN, &t) < 0)
		return -errno;
	tty.fd = fd;
	tty.is_raw = true;
	return 0;
}

void
tty_restore(void)
{
	if (tty.is_raw)
		(void)tcsetattr(tty.fd, TCSADRAIN, &tty.old);
	tty.is_raw = false;
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
