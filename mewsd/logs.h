#ifndef MEWS_LOGS_H
#define MEWS_LOGS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/room.h"

struct event;
struct logfile;
struct mewsd;

/*
 * log/ROOM.log.  A room writes to a pipe that never makes it wait, and mewsd
 * copies what comes: a bounded amount a turn, at a bounded pace, into a file
 * that is bounded, too (common/logfile.h).  A room that says more than that
 * finds its pipe full and counts what it could not say.
 */
#define LOG_FILE_MAX (8 << 20) /* bytes; ROOM.log and ROOM.log.1 have twice */
#define LOG_RATE (64 << 10) /* bytes a second of one room, in the long run */
#define LOG_BURST (1 << 20) /* bytes of one room at once */

struct logs {
	int dir; /* -1: it cannot be opened at present */
	bool dir_told; /* that it cannot */
	struct logfile *file[ROOM_MAX]; /* all one-shots of a kind share one */
	bool told[ROOM_MAX]; /* that it cannot be written */
	struct event *look; /* pending: something is to be mended or said */
};

/* The pipe of one life of a room. */
struct room_log {
	struct mewsd *mewsd;
	uint32_t room;
	int fd; /* -1: there is none */
	struct event *rd;
	struct event *resume; /* pending: nothing is read until then */
};

/* Start-up: dies when out of memory, and of nothing else. */
void logs_init(struct mewsd *m);
void room_log_init(struct room_log *l, struct mewsd *m);
/* Takes over the end to read of a room's pipe. */
void room_log_open(struct room_log *l, uint32_t room, int fd);
/* What is still in it is the room's last word.  Without a pipe: nothing. */
void room_log_end(struct room_log *l);

#endif
