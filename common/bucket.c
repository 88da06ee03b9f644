#include "common/bucket.h"

long long
bucket_take(struct bucket *b, const struct bucket_rate *rate, long long now_ms)
{
	const long long each_us = 1000000 / rate->per_s;
	const long long all_us = each_us * rate->burst;
	long long over;

	if (b->used_us > 0) {
		/* bounded: now - at may be days */
		if (now_ms - b->at_ms > all_us / 1000)
			b->used_us = 0;
		else
			b->used_us -= (now_ms - b->at_ms) * 1000;
		if (b->used_us < 0)
			b->used_us = 0;
	}
	b->at_ms = now_ms;
	over = b->used_us + each_us - all_us;
	if (over > 0)
		return (over + 999) / 1000;
	b->used_us += each_us;
	return 0;
}
