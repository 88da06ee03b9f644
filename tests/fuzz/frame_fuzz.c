#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/frame.h"

/* The first byte is who may speak, the second the size of the pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t
run(uint32_t allowed, const uint8_t *p, size_t len, size_t piece)
{
	static struct frame_dec d;
	uint64_t sum = 1;
	size_t at = 0, used, n, i;
	struct frame f;
	uint8_t head[FRAME_HEAD_LEN];
	int r = 0;

	frame_init(&d, allowed);
	while (at < len && r >= 0) {
		n = piece > 0 && len - at > piece ? piece : len - at;
		r = frame_feed(&d, p + at, n, &used, &f);
		if (used > n || (r == 0 && used != n))
			abort();
		at += used;
		if (r != 1)
			continue;
		/* what was decoded encodes to the bytes it came from */
		if (frame_head(head, f.channel, f.len) < 0 ||
		    memcmp(head, p + at - f.len - sizeof(head), sizeof(head)) !=
			0 ||
		    (f.len > 0 && memcmp(f.data, p + at - f.len, f.len) != 0))
			abort();
		for (i = 0; i < f.len; i++)
			sum = sum * 31 + f.data[i];
		sum = sum * 31 + (uint64_t)f.channel + 1;
	}
	return sum * 3 + (r < 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint64_t whole;

	if (len < 2)
		return 0;
	whole = run(data[0], data + 2, len - 2, 0);
	if (run(data[0], data + 2, len - 2, 1) != whole ||
	    run(data[0], data + 2, len - 2, data[1]) != whole)
		abort();
	return 0;
}
