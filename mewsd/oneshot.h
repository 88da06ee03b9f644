#ifndef MEWS_ONESHOT_H
#define MEWS_ONESHOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mewsd/logs.h"
#include "proto/boot.h"

struct event;
struct mewsd;

/*
 * One-shot rooms: started for orchd with descriptors that it hands over, one
 * task each, never started again.  Each has a uid of its own out of the pool
 * (proto/uids.h), an end within its row's deadline, and its end told to orchd.
 * Its place, which is its uid, is given again only when no process has it.
 */
struct oneshot {
	struct mewsd *mewsd;
	uint64_t id; /* orchd's name for it */
	uint32_t room; /* 0: nobody has this place */
	pid_t pid; /* 0: descriptors are still to come */
	int fds[ONESHOT_FDS_MAX];
	uint32_t nfds;
	int sock; /* its descriptor 3, of which it hears our end */
	struct room_log log; /* its descriptor 2 */
	bool late; /* killed at its deadline */
	bool orphan; /* who asked for it is gone */
	struct event *timer; /* its deadline */
};

/* Start-up: dies. */
void oneshot_init(struct mewsd *m);
/* What orchd asked.  0; negative: it may not say that. */
int oneshot_ask(struct mewsd *m, const struct boot_oneshot *a);
/* The next descriptor of one that was asked for; *fd is -1 if it was kept. */
int oneshot_attach(struct mewsd *m, const struct boot_oneshot_fd *a, int *fd);
/* True: the process was one of them. */
bool oneshot_reaped(struct mewsd *m, pid_t pid, int status);
/* Ends all, of which nobody is to hear: orchd is gone, or mewsd ends. */
void oneshot_end_all(struct mewsd *m);
/* True while one runs. */
bool oneshot_any(const struct mewsd *m);

#endif
