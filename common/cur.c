#include <errno.h>
#include <string.h>

#include "common/cur.h"

void
cur_init(struct cur *c, const void *buf, size_t len)
{
	c->p = buf;
	c->left = len;
	c->bad = 0;
}

int
cur_view(struct cur *c, const uint8_t **v, size_t len)
{
	if (c->bad || len > c->left) {
		c->bad = 1;
		return -EBADMSG;
	}
	*v = c->p;
	c->p += len;
	c->left -= len;
	return 0;
}

int
cur_bytes(struct cur *c, void *dst, size_t len)
{
	const uint8_t *p;

	if (cur_view(c, &p, len) < 0)
		return -EBADMSG;
	if (len > 0)
		memcpy(dst, p, len);
	return 0;
}

int
cur_u8(struct cur *c, uint8_t *v)
{
	return cur_bytes(c, v, sizeof(*v));
}

int
cur_u16(struct cur *c, uint16_t *v)
{
	return cur_bytes(c, v, sizeof(*v));
}

int
cur_u32(struct cur *c, uint32_t *v)
{
	return cur_bytes(c, v, sizeof(*v));
}

int
cur_u64(struct cur *c, uint64_t *v)
{
	return cur_bytes(c, v, sizeof(*v));
}

int
cur_end(const struct cur *c)
{
	return c->bad || c->left > 0 ? -EBADMSG : 0;
}

void
wcur_init(struct wcur *w, void *buf, size_t cap)
{
	w->p = buf;
	w->left = cap;
	w->used = 0;
	w->bad = 0;
}

int
wcur_bytes(struct wcur *w, const void *src, size_t len)
{
	if (w->bad || len > w->left) {
		w->bad = 1;
		return -EMSGSIZE;
	}
	if (len > 0)
		memcpy(w->p, src, len);
	w->p += len;
	w->left -= len;
	w->used += len;
	return 0;
}

int
wcur_u8(struct wcur *w, uint8_t v)
{
	return wcur_bytes(w, &v, sizeof(v));
}

int
wcur_u16(struct wcur *w, uint16_t v)
{
	return wcur_bytes(w, &v, sizeof(v));
}

int
wcur_u32(struct wcur *w, uint32_t v)
{
	return wcur_bytes(w, &v, sizeof(v));
}

int
wcur_u64(struct wcur *w, uint64_t v)
{
	return wcur_bytes(w, &v, sizeof(v));
}
