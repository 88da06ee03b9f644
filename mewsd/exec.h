#ifndef MEWS_EXEC_H
#define MEWS_EXEC_H

#include <stdint.h>
#include <sys/types.h>

#include "proto/boot.h"

struct conf;
struct mewsd;

/* How one life of a room begins. */
struct exec {
	uint32_t room;
	const char *program; /* in the directory mewsd was started from */
	const int *fds; /* become BOOT_NFDS and up; they stay the caller's */
	uint32_t nfds; /* at most ONESHOT_FDS_MAX */
	const int *in; /* becomes descriptor 0; NULL: /dev/null */
};

/*
 * Starts it with descriptors 0-4 as boot.h says, those, and nothing else;
 * returns its pid, or a negative errno.  *sock: our end of its descriptor 3,
 * *log: of its descriptor 2, a pipe; the caller's to close.
 */
pid_t exec_room(
    const struct mewsd *m, const struct exec *x, int *sock, int *log);
/* What every room is told first, without a kill point. */
void exec_common(const struct conf *c, uint32_t room, struct boot_common *bc);

#endif
