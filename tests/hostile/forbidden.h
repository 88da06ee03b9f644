#ifndef MEWS_HOSTILE_FORBIDDEN_H
#define MEWS_HOSTILE_FORBIDDEN_H

/*
 * What no room may do, one act a row, tried from inside the room's own
 * confinement.  Each row is harmless should it succeed: the test runs in a
 * host of its own, and what would reach past that is asked with arguments
 * that only a permitted caller learns are wrong.
 */
enum {
	ACT_KERNEL = 1, /* denied to those that start others, too */
	ACT_SPAWNER = 2, /* of those: from the spawner down */
	ACT_JAIL = 4, /* of those: from the keeper down */
};

/*
 * Forks a child for each act with one of the bits (0: every act); the child
 * runs confine(arg), then the act.  Says on descriptor 2, one line each:
 *	act ROOM NAME done|errno N|signal N
 */
void acts_run(
    const char *room, unsigned int bits, void (*confine)(void *), void *arg);

#endif
