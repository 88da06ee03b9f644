#ifndef MEWS_WATCH_H
#define MEWS_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Whether a room that runs also serves.  mewsd looks every WATCH_MS and asks
 * (BOOT_PING); who has not answered by the next look is watched, and is to be
 * replaced when it
 *   - is stopped (SIGSTOP) for WATCH_STOPPED_MS,
 *   - used WATCH_BUSY_MS of a processor meanwhile, or
 *   - slept for WATCH_ASLEEP_MS, in which it used next to nothing.
 * One that waits for a processor or a disk, or is held by a debugger, is left
 * alone.  Time is counted in looks, so a host that was suspended, or a mewsd
 * that was stopped or starved itself, has missed none.
 */
#define WATCH_MS 2000
#define WATCH_STOPPED_MS 8000
#define WATCH_BUSY_MS 30000
#define WATCH_ASLEEP_MS 60000
#define WATCH_IDLE_MS 500 /* of a processor: next to nothing */

struct watch {
	bool asked; /* an answer is to come */
	uint64_t id; /* of the last question */
	uint32_t looks; /* without an answer */
	uint32_t stopped; /* in a row that found it stopped */
	uint64_t used_ms; /* of a processor, at the first of these */
};

enum watch_said {
	WATCH_FINE,
	WATCH_ASK,
	WATCH_STOPPED,
	WATCH_BUSY,
	WATCH_ASLEEP
};

/* What a process is doing: as /proc/PID/stat has it. */
struct watch_seen {
	char state; /* '?': it cannot be known */
	uint64_t used_ms; /* of a processor, by all its threads */
};

/* A new life. */
void watch_reset(struct watch *w);
/* The id of the question that is asked now. */
uint64_t watch_ask(struct watch *w);
/* 0, or -EINVAL: that was not asked. */
int watch_answer(struct watch *w, uint64_t id);
/* Whether the next watch_look() needs to know what the process does. */
bool watch_wants(const struct watch *w, bool ready);
/* One look.  ready: it said that it serves.  WATCH_ASK: ask it. */
enum watch_said watch_look(
    struct watch *w, bool ready, const struct watch_seen *seen);
void watch_see(pid_t pid, struct watch_seen *ret);

#endif
