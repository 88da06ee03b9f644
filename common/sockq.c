#include "common/sockq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fds.h"
#include "common/yamux.h"

int
sockq_init(struct sockq *q, int fd, const struct sockq_ops *ops)
{
	*q = (struct sockq){ .ops = ops, .fd = -1 };
	q->in = malloc(SOCKQ_IN);
	q->out = malloc(SOCKQ_OUT);
	if (q->in == NULL || q->out == NULL) {
		sockq_clear(q);
		return -ENOMEM;
	}
	q->fd = fd;
	return 0;
}

void
sockq_clear(struct sockq *q)
{
	fd_close(&q->fd);
	if (q->in != NULL)
		explicit_bzero(q->in, SOCKQ_IN);
	if (q->out != NULL)
		explicit_bzero(q->out, SOCKQ_OUT);
	free(q->in);
	free(q->out);
	q->in = q->out = NULL;
	q->gone = true;
}

unsigned int
sockq_wants(const struct sockq *q)
{
	unsigned int w = 0;

	if (q->gone)
		return 0;
	if (!q->eof && q->in_len < SOCKQ_IN)
		w |= SOCKQ_RD;
	if (q->out_len > 0 || q->want_write)
		w |= SOCKQ_WR;
	return w;
}

/* send(2) as far as it goes; how many bytes went. */
static size_t
push(struct sockq *q, const uint8_t *p, size_t len)
{
	size_t done = 0;

	while (done < len && !q->broken) {
		ssize_t n = send(
		    q->fd, p + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
			break;
		else
			q->broken = true;
	}
	return done;
}

static void
flush(struct sockq *q)
{
	size_t n = push(q, q->out + q->out_off, q->out_len);

	q->out_off += n;
	q->out_len -= n;
	if (q->broken)
		q->out_len = 0;
	if (q->out_len > 0)
		return;
	q->out_off = 0;
	if (q->fin && !q->fin_sent) {
		q->fin_sent = true;
		(void)shutdown(q->fd, SHUT_WR);
	}
}

static unsigned int
fill(struct sockq *q)
{
	ssize_t n;

	if (q->eof || q->in_len == SOCKQ_IN)
		return 0;
	if (q->in_off > 0)
		memmove(q->in, q->in + q->in_off, q->in_len);
	q->in_off = 0;
	n = recv(q->fd, q->in + q->in_len, SOCKQ_IN - q->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0 || (n == 0 && q->eof_is_gone)) {
		q->gone = true;
		return 0;
	}
	if (n == 0)
		q->eof = true;
	q->in_len += (size_t)n;
	return YS_READ;
}

unsigned int
sockq_io(struct sockq *q, unsigned int can)
{
	unsigned int ev = 0;

	if (q->gone)
		return YS_GONE;
	if ((can & SOCKQ_WR) != 0) {
		flush(q);
		if (q->want_write && sockq_room(q) > 0) {
			q->want_write = false;
			ev |= YS_WRITE;
		}
	}
	if ((can & SOCKQ_RD) != 0)
		ev |= fill(q);
	return q->gone ? YS_GONE : ev;
}

unsigned int
sockq_hup(struct sockq *q)
{
	q->gone = true;
	return YS_GONE;
}

size_t
sockq_room(const struct sockq *q)
{
	return q->gone || q->fin ? 0 : SOCKQ_OUT - q->out_len;
}

size_t
sockq_write(struct sockq *q, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	size_t room = sockq_room(q), n = 0;

	if (len > room) {
		q->want_write = !q->gone && !q->fin;
		len = room;
	}
	if (q->out_len == 0)
		n = push(q, p, len);
	if (n < len && !q->broken) {
		if (q->out_off > 0)
			memmove(q->out, q->out + q->out_off, q->out_len);
		q->out_off = 0;
		memcpy(q->out + q->out_len, p + n, len - n);
		q->out_len += len - n;
	}
	q->ops->arm(q);
	return len;
}

void
sockq_want_write(struct sockq *q)
{
	q->want_write = true;
	q->ops->arm(q);
}

void
sockq_fin(struct sockq *q)
{
	if (q->gone || q->fin)
		return;
	q->fin = true;
	flush(q);
	q->ops->arm(q);
}

size_t
sockq_peek(const struct sockq *q, const uint8_t **p)
{
	*p = q->in + q->in_off;
	return q->in_len;
}

void
sockq_consume(struct sockq *q, size_t n)
{
	q->in_off += n;
	q->in_len -= n;
	if (q->in_len == 0)
		q->in_off = 0;
	q->ops->arm(q);
}

bool
sockq_is_eof(const struct sockq *q)
{
	return q->eof && q->in_len == 0;
}
