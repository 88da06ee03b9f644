#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cur.h"
#include "common/err.h"
#include "proto/jbuf.h"
#include "tests/fuzz/any.h"

/* What is taken is valid, packs to the same bytes, and can be shown. */
static void
one(const struct table *t, const uint8_t *data, size_t size)
{
	struct err e = { 0 };
	struct wcur w;
	struct jbuf b;
	union any a;
	uint8_t *again;

	if (table_unpack_all(t, data, size, &a, &e) < 0) {
		assert(e.msg[0] != '\0');
		return;
	}
	assert(table_check(t, &a, &e) == 0);
	again = malloc(size);
	assert(again != NULL);
	wcur_init(&w, again, size);
	assert(table_pack(t, &a, &w) == 0);
	assert(w.used == size && memcmp(again, data, size) == 0);
	free(again);
	jbuf_init(&b, (size_t)4 << 20);
	table_encode(t, TABLE_SECRETS, &a, &b);
	assert(b.r == 0);
	jbuf_free(&b);
	table_clear(t, &a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte picks the object, the rest is its bytes. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t i, n = 0;

	while (objects[n].table != NULL)
		n++;
	if (size == 0 || n == 0)
		return 0;
	i = data[0] % n;
	one(objects[i].table, data + 1, size - 1);
	return 0;
}
