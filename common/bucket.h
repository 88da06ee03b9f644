#ifndef MEWS_BUCKET_H
#define MEWS_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A token bucket: how much of something may be used in the long run (rate, a
 * second) and at once (burst).  Time is clock_ms()'s and the caller's.
 */
struct bucket {
	uint32_t rate;
	uint32_t burst;
	uint32_t left;
	uint32_t part; /* thousandths of one more */
	int64_t at_ms; /* when it was filled last */
};

/* Full. */
void bucket_init(
    struct bucket *b, uint32_t rate, uint32_t burst, int64_t now_ms);
/* Fills it up to now; what may be used now is in b->left. */
uint32_t bucket_left(struct bucket *b, int64_t now_ms);
/* In how many ms n may be used; 0: now.  n is at most the burst. */
int64_t bucket_wait_ms(struct bucket *b, uint32_t n, int64_t now_ms);
/* Uses n of it, if it has that much. */
bool bucket_take(struct bucket *b, uint32_t n, int64_t now_ms);

#endif
