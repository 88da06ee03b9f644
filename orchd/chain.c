#include <endian.h>
#include <sha2.h>

#include "orchd/store_int.h"

static void
add_u64(SHA2_CTX *ctx, uint64_t v)
{
	const uint64_t be = htobe64(v);

	SHA256Update(ctx, (const uint8_t *)&be, sizeof(be));
}

void
audit_hash(const struct audit_row *row, uint8_t hash[AUDIT_HASH_LEN])
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, row->prev, sizeof(row->prev));
	add_u64(&ctx, (uint64_t)row->tenant);
	add_u64(&ctx, row->n);
	add_u64(&ctx, (uint64_t)row->at_ns);
	add_u64(&ctx, (uint64_t)row->entry.version);
	SHA256Update(&ctx, (const uint8_t *)row->entry.text, row->entry.len);
	SHA256Final(hash, &ctx);
}
