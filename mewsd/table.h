#ifndef MEWS_TABLE_H
#define MEWS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/room.h"

/*
 * What mewsd knows of a room before it is started: one row each, in table.c.
 * A room's name is in proto/room.c, where other rooms need it for their logs.
 */
#define ROOM_BIT(room) (1U << (room))

struct room_row {
	const char *program; /* in the directory mewsd was started from */
	/* mews.conf's key for its user, which must not be root, and the key's
	 * default.  NULL: it stays root with what its confine.c keeps. */
	const char *user_key;
	const char *user;
	/* What becomes its "/", below run or, for state, lib.  NULL: it needs
	 * the host's */
	const char *root;
	bool root_is_state;
	bool listener; /* gets the API listener */
	/* Its own boot config: a struct in struct conf, and what is done to the
	 * copy before each start (NULL: nothing) */
	size_t conf;
	size_t conf_len;
	void (*fill)(void *conf);
	/* ROOM_BIT()s: whom it gets channels to (each pair in the later row),
	 * and who may have it replaced */
	uint32_t peers;
	uint32_t judges;
	/* The room that it starts and ends with; 0: none */
	enum room with;
	uint32_t farewell; /* said before BOOT_STOP; 0: nothing */
	/* A one-shot room, whose user is one of the pool: how many at once (0:
	 * it is none, mewsd keeps one running), how long each may take, how
	 * many descriptors it is handed */
	uint32_t oneshots;
	uint32_t oneshot_ms;
	uint32_t oneshot_fds;
};

/* NULL: mewsd starts no such room. */
const struct room_row *room_row(uint32_t room);
/* Whether mewsd keeps one of it running. */
bool room_stays(uint32_t room);

#endif
