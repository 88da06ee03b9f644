#ifndef MEWS_LAUNCHD_HISTORY_H
#define MEWS_LAUNCHD_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proto/launch.h"

struct event_base;
struct history;

/*
 * What a VM's console or log said, for who asks: frames of common/frame.h out
 * of NAME.1 and NAME (common/logfile.h), whether that VM runs or not.  Bytes
 * are opaque, the reader's are dropped unread, and nothing here waits for
 * either.
 *
 * A reader who is slower than the file turns round keeps what it has open,
 * which is on the disk for as long as it reads: so their number is bounded.
 * Whose they are orchd counts.
 */
#define HISTORIES_MAX LOGS_MAX /* at once, of all VMs */

struct histories {
	struct event_base *base;
	int dir; /* where the files are; its owner's; -1: nowhere */
	unsigned int n; /* in the list, also those that have ended */
	TAILQ_HEAD(history_list, history) list;
};

void histories_init(struct histories *hs, struct event_base *base, int dir);
/*
 * Serves file `name` to the other end of fd, a stream socket, which is ours
 * in every case; a refusal is said to it.  follow: goes on with what comes,
 * until history_end.  since_ns: from what came since then on, as far as that is
 * known (common/logmarks.h); 0: from the beginning.
 */
void history_open(struct histories *hs, const char *name, bool follow,
    int64_t since_ns, int fd);
/* All readers hang up: who asked for them is no more. */
void histories_clear(struct histories *hs);
/* Says the refusal of a stream to its other end, and closes sock. */
void history_refuse(int sock, unsigned int status, const char *text);
/* The file grew: at the end of the turn is soon enough. */
void history_more(struct histories *hs, const char *name);
/* Nothing more will come: who follows gets what there is, and the end. */
void history_end(struct histories *hs, const char *name);

#endif
