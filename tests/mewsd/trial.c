#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "proto/boot.h"

/*
 * The one-shot room of test builds (ROOM_TRIAL).  It is handed a socket for
 * orders and a file; it says over the one what it sees of itself and of the
 * other, and does as it is told.  Without a filter, so that it may leave a
 * child behind.
 */
enum { ORDERS = BOOT_NFDS, TEXT, TRIAL_NFDS };

/* "uid gid pid, text" */
static void
report(void)
{
	char text[32] = "", line[128];
	ssize_t n = read(TEXT, text, sizeof(text) - 1);

	if (n < 0)
		fatal("the file: %m");
	(void)snprintf(line, sizeof(line), "%u %u %d %s", getuid(), getgid(),
	    getpid(), text);
	if (send(ORDERS, line, strlen(line), 0) < 0)
		fatal("the orders' other end: %m");
}

static void
obey(const char *order)
{
	long long v;

	if (num_parse(order, 0, 255, &v) == 0)
		_exit((int)v);
	if (strcmp(order, "leave a child") == 0) {
		if (fork() == 0)
			for (;;)
				(void)pause();
		_exit(0);
	}
	fatal("no such order: %s", order);
}

int
main(void)
{
	struct boot_common bc;
	char order[64];
	ssize_t n;

	log_init("trial", LOG_INFO);
	fds_expect(TRIAL_NFDS);
	boot_recv(ROOM_TRIAL, &bc, NULL, 0);
	proc_confine(&(struct confinement){ .root = bc.root,
	    .uid = bc.uid,
	    .gid = bc.gid,
	    .nofile = bc.nofile,
	    .tied = 1 });
	report();
	while ((n = recv(ORDERS, order, sizeof(order) - 1, 0)) > 0) {
		order[n] = '\0';
		obey(order);
	}
	for (;;)
		(void)pause(); /* deaf to mewsd's end as well */
}
