#include "common/bucket.h"

void
bucket_init(struct bucket *b, uint32_t rate, uint32_t burst, int64_t now_ms)
{
	*b = (struct bucket){
		.rate = rate, .burst = burst, .left = burst, .at_ms = now_ms
	};
}

uint32_t
bucket_left(struct bucket *b, int64_t now_ms)
{
	const int64_t passed = now_ms - b->at_ms;
	uint64_t more;

	if (passed <= 0 || b->rate == 0)
		return b->left;
	b->at_ms = now_ms;
	/* longer than it takes to fill it: the product must not wrap */
	if ((uint64_t)passed > (uint64_t)b->burst * 1000 / b->rate + 1000) {
		b->left = b->burst;
		b->part = 0;
		return b->left;
	}
	more = (uint64_t)passed * b->rate + b->part;
	b->part = (uint32_t)(more % 1000);
	more /= 1000;
	b->left =
	    more > b->burst - b->left ? b->burst : b->left + (uint32_t)more;
	if (b->left == b->burst)
		b->part = 0;
	return b->left;
}

int64_t
bucket_wait_ms(struct bucket *b, uint32_t n, int64_t now_ms)
{
	const uint32_t left = bucket_left(b, now_ms);
	uint64_t lacks;

	if (left >= n)
		return 0;
	lacks = (uint64_t)(n - left) * 1000 - b->part;
	return (int64_t)((lacks + b->rate - 1) / b->rate);
}

bool
bucket_take(struct bucket *b, uint32_t n, int64_t now_ms)
{
	if (bucket_left(b, now_ms) < n)
		return false;
	b->left -= n;
	return true;
}
