#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/launchd/jail.h"

/* The program of side_rows.c: it says in the jail's log what it was born with,
 * and waits.  With /boot/no-filter in the staged tree it adds no filter. */

static const char *
kind_of(int fd)
{
	int listens = 0;
	socklen_t len = sizeof(listens);
	struct stat st;

	if (fstat(fd, &st) < 0)
		return "-";
	if (S_ISREG(st.st_mode))
		return "file";
	if (S_ISFIFO(st.st_mode))
		return "fifo";
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0)
		return listens ? "listener" : "socket";
	return S_ISCHR(st.st_mode) ? "null" : "other";
}

int
main(int argc, char *argv[])
{
	int fd;

	if (access("/boot/no-filter", F_OK) < 0 && standin_filter() < 0)
		return 6;
	(void)dprintf(2, "side: %d arguments, the last is %s; fds", argc - 1,
	    argv[argc - 1]);
	for (fd = 0; fd < 16; fd++)
		(void)dprintf(2, " %s", kind_of(fd));
	(void)dprintf(2, "\nside: here\n");
	for (;;)
		(void)pause();
}
