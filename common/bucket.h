#ifndef MEWS_BUCKET_H
#define MEWS_BUCKET_H

/*
 * How often something may be done: so many at once, and then so many a second.
 * Zeroed it is full.
 */
struct bucket_rate {
	unsigned int burst;
	unsigned int per_s;
};
struct bucket {
	long long used_us; /* of the time that its burst is worth */
	long long at_ms; /* when that was so */
};

/* Takes one: 0, or in how many ms there will be one (none is taken).  now_ms:
 * of a clock that does not go back. */
long long bucket_take(
    struct bucket *b, const struct bucket_rate *rate, long long now_ms);

#endif
