#ifndef MEWS_CUR_H
#define MEWS_CUR_H

#include <stddef.h>
#include <stdint.h>

/*
 * A cursor that knows its end.  A getter checks, copies, advances, returns
 * 0; on failure it returns -EBADMSG and the cursor stays bad: every later
 * get fails too, so a caller may check once at the end.
 * Numbers are in the host's order: cursors are for peers on one host.
 */
struct cur {
	const uint8_t *p;
	size_t left;
	int bad;
};

void cur_init(struct cur *c, const void *buf, size_t len);
int cur_u8(struct cur *c, uint8_t *v);
int cur_u16(struct cur *c, uint16_t *v);
int cur_u32(struct cur *c, uint32_t *v);
int cur_u64(struct cur *c, uint64_t *v);
int cur_bytes(struct cur *c, void *dst, size_t len);
/* Points *v at len bytes inside the buffer. */
int cur_view(struct cur *c, const uint8_t **v, size_t len);
/* 0 if everything was read and nothing failed. */
int cur_end(const struct cur *c);

/* The writing twin: a fixed buffer, -EMSGSIZE once it is full. */
struct wcur {
	uint8_t *p;
	size_t left;
	size_t used;
	int bad;
};

void wcur_init(struct wcur *w, void *buf, size_t cap);
int wcur_u8(struct wcur *w, uint8_t v);
int wcur_u16(struct wcur *w, uint16_t v);
int wcur_u32(struct wcur *w, uint32_t v);
int wcur_u64(struct wcur *w, uint64_t v);
int wcur_bytes(struct wcur *w, const void *src, size_t len);

#endif
