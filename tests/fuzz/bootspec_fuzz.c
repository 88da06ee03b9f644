#include <assert.h>
#include <string.h>

#include "common/err.h"
#include "proto/jbuf.h"
#include "proto/objects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As the agent reads it: strict, but for keys of a newer orchd, and what it
 * takes keeps the rules. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = { 0 };
	struct boot_spec s, again;
	struct jbuf b;
	int r;

	r = table_decode(&boot_spec_table, TABLE_STRICT | TABLE_NEWER,
	    (const char *)data, size, &s, &e);
	assert(r == 0 || e.msg[0] != '\0');
	if (r < 0)
		return 0;
	assert(table_check(&boot_spec_table, &s, &e) == 0);
	assert(s.version == BOOT_SPEC_VERSION && s.hostname[0] != '\0');
	jbuf_init(&b, (size_t)4 << 20);
	table_encode(&boot_spec_table, TABLE_SECRETS, &s, &b);
	assert(b.r == 0);
	r = table_decode(
	    &boot_spec_table, TABLE_STRICT, b.p, b.len, &again, &e);
	assert(r == 0 && memcmp(again.key, s.key, sizeof(s.key)) == 0);
	assert(again.env.len == s.env.len &&
	    (s.env.len == 0 ||
		memcmp(again.env.buf, s.env.buf, s.env.len) == 0));
	table_clear(&boot_spec_table, &again);
	table_clear(&boot_spec_table, &s);
	jbuf_free(&b);
	return 0;
}
