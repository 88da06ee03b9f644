#ifndef MEWS_BOOT_ROOM_H
#define MEWS_BOOT_ROOM_H

#include <stddef.h>
#include <stdint.h>

#include "proto/boot.h"
#include "proto/chan.h"

struct event_base;

/*
 * The room's end of descriptor 3, for a room with an event loop: what mewsd
 * says after the config.
 */
struct boot_calls {
	/* A channel to another room came: sock is the callee's, whatever it
	 * returns.  It takes the place of an earlier one to the same room.
	 * Negative: this room has no business with that one; refused. */
	int (*peer)(void *arg, const struct boot_peer *p, int sock);
	/* The API listener came: likewise.  NULL: refused. */
	int (*listener)(void *arg, int sock);
	/* Last words, before the loop is left.  NULL: there are none. */
	void (*stop)(void *arg);
	/* Whatever else mewsd may ask of this room; its handlers get arg.  At
	 * most BOOT_OWN_MAX rows. */
	const struct msg_handler *own;
	size_t nown;
};
#define BOOT_OWN_MAX 4

struct boot_room {
	const struct boot_calls *calls;
	void *arg;
	struct event_base *base;
	struct chan_ops ops;
	struct msg_handler tab[4 + BOOT_OWN_MAX];
};

/*
 * Serves descriptor 3 from base; r is the caller's and stays where it is as
 * long as the channel, which the caller frees.  BOOT_STOP leaves the loop once
 * stop() was called, the end of the channel leaves it at once.  NULL when out
 * of memory.
 */
struct chan *boot_room_open(struct boot_room *r, struct event_base *base,
    const struct boot_calls *calls, void *arg);

/*
 * For gone() of a channel to another room: unless the peer went by itself
 * (CHAN_CLOSED) or was replaced, mewsd is asked for a fresh one in its place.
 * A room that was refused may be somebody else's by now and stay for ever, deaf
 * and mute.
 */
void boot_fault(
    struct chan *mewsd, uint32_t room, uint32_t life, enum chan_end end);

/*
 * The same for orchd, which also says whose channel ended without a refusal:
 * a room that died is being replaced as it is, and one that closed its end,
 * or said something that reads like that, would stay, deaf and mute.
 */
void boot_ended(
    struct chan *mewsd, uint32_t room, uint32_t life, enum chan_end end);

#endif
