#ifndef MEWS_RESERVE_H
#define MEWS_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Room on the disk that the store can have when there is none: a file beside it
 * that holds nothing (fallocate(2)).  It is given back to the file system
 * when a write that must not fail finds that full, and made again when there is
 * room again; while it is not whole nothing new is taken in.
 */
struct reserve {
	int fd; /* -1: none can be made */
	uint64_t size; /* bytes that it should have */
	bool whole;
};

/* The most, and the share of a small file system. */
#define RESERVE_MAX (UINT64_C(4) << 20)
#define RESERVE_SHARE 16
#define RESERVE_MIN (UINT64_C(256) << 10)
#define RESERVE_STEP (UINT64_C(128) << 10)

/* Opens that of the store at path, as it was left; what cannot be opened is one
 * that is not there (fd -1). */
void reserve_open(struct reserve *r, const char *path);
void reserve_close(struct reserve *r);
/* Makes it whole, if there is room.  Whether it is: one that cannot be opened,
 * or on a file system that can reserve nothing, counts as whole. */
bool reserve_make(struct reserve *r);
/* Gives a step of it back: what others who want space take at once is no more
 * than that.  False: there was nothing to give. */
bool reserve_give(struct reserve *r);

#endif
