#include "common/duct.h"

#include "common/sockq.h"
#include "common/yamux.h"

bool
duct_is_open(const struct duct *d)
{
	return d->ys != NULL || d->sq != NULL;
}

void
duct_set_arg(const struct duct *d, void *arg)
{
	if (d->ys != NULL)
		ystream_set_arg(d->ys, arg);
	else
		d->sq->arg = arg;
}

size_t
duct_room(const struct duct *d)
{
	return d->ys != NULL ? ystream_room(d->ys) : sockq_room(d->sq);
}

size_t
duct_write(const struct duct *d, const void *buf, size_t len)
{
	return d->ys != NULL ? ystream_write(d->ys, buf, len)
			     : sockq_write(d->sq, buf, len);
}

void
duct_want_write(const struct duct *d)
{
	if (d->ys != NULL)
		ystream_want_write(d->ys);
	else
		sockq_want_write(d->sq);
}

void
duct_fin(const struct duct *d)
{
	if (d->ys != NULL)
		ystream_fin(d->ys);
	else
		sockq_fin(d->sq);
}

size_t
duct_peek(const struct duct *d, const uint8_t **p)
{
	return d->ys != NULL ? ystream_peek(d->ys, p) : sockq_peek(d->sq, p);
}

void
duct_consume(const struct duct *d, size_t n)
{
	if (d->ys != NULL)
		ystream_consume(d->ys, n);
	else
		sockq_consume(d->sq, n);
}

bool
duct_is_eof(const struct duct *d)
{
	return d->ys != NULL ? ystream_is_eof(d->ys) : sockq_is_eof(d->sq);
}

void
duct_close(struct duct *d)
{
	struct sockq *sq = d->sq;

	if (d->ys != NULL)
		ystream_free(d->ys);
	d->ys = NULL;
	d->sq = NULL;
	if (sq != NULL)
		sq->ops->release(sq);
}
