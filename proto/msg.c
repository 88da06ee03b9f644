#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/clock.h"
#include "common/fds.h"
#include "proto/chan.h"

/* One packet at a time, apart from chan.c: the keeper and the spawner speak
 * without an event loop. */

int
msg_send(
    int sock, uint32_t type, uint64_t id, const void *data, size_t len, int fd)
{
	struct msg_hdr hdr = { .type = type, .len = (uint32_t)len, .id = id };
	struct iovec iov[2];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };

	if (len > MSG_PAYLOAD_MAX)
		return -EMSGSIZE;
	iov[0].iov_base = &hdr;
	iov[0].iov_len = sizeof(hdr);
	iov[1].iov_base = (void *)(uintptr_t)data;
	iov[1].iov_len = len;
	if (fd != -1) {
		struct cmsghdr *c;

		memset(&ctl, 0, sizeof(ctl));
		mh.msg_control = ctl.buf;
		mh.msg_controllen = CMSG_LEN(sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	while (sendmsg(sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		if (errno == EINTR)
			continue;
		/* too many descriptors in flight is a full pipe as well */
		if (errno == ETOOMANYREFS || errno == ENOBUFS)
			return -EAGAIN;
		if (errno == ECONNRESET || errno == ENOTCONN)
			return -EPIPE;
		return -errno;
	}
	return 0;
}

/* Takes the one descriptor out of mh; closes all if there are more. */
static int
take_fd(struct msghdr *mh, int *ret)
{
	struct cmsghdr *c;
	int n = 0, fd = -1;

	for (c = CMSG_FIRSTHDR(mh); c != NULL; c = CMSG_NXTHDR(mh, c)) {
		size_t off;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (off = 0; CMSG_LEN(off + sizeof(int)) <= c->cmsg_len;
		     off += sizeof(int)) {
			fd_close(&fd);
			memcpy(&fd, CMSG_DATA(c) + off, sizeof(int));
			n++;
		}
	}
	if (n > 1) {
		fd_close(&fd);
		return -EBADMSG;
	}
	*ret = fd;
	return 0;
}

int
msg_recv(int sock, void *buf, struct msg *m)
{
	struct iovec iov = { .iov_base = buf, .iov_len = MSG_MAX };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct msghdr mh = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctl.buf,
		.msg_controllen = sizeof(ctl.buf) };
	struct msg_hdr hdr;
	ssize_t n;
	int fd = -1, r;

	memset(&ctl, 0, sizeof(ctl));
	do {
		n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -ECONNRESET;
	r = take_fd(&mh, &fd);
	if (n == 0) {
		/* the end, or an empty packet, which nobody honest sends */
		fd_close(&fd);
		return -ECONNRESET;
	}
	if (r < 0)
		return r;
	if ((mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
	    (size_t)n < sizeof(hdr))
		goto bad;
	memcpy(&hdr, buf, sizeof(hdr));
	if (hdr.len != (size_t)n - sizeof(hdr))
		goto bad;
	m->type = hdr.type;
	m->len = hdr.len;
	m->id = hdr.id;
	m->data = (const uint8_t *)buf + sizeof(hdr);
	m->fd = fd;
	return 0;
bad:
	fd_close(&fd);
	return -EBADMSG;
}

int
msg_wait(int sock, void *buf, struct msg *m, int timeout_ms)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	long long end = clock_ms() + timeout_ms;
	int r;

	for (;;) {
		long long left = timeout_ms < 0 ? -1 : end - clock_ms();

		if ((r = msg_recv(sock, buf, m)) != -EAGAIN)
			return r;
		if (timeout_ms >= 0 && left <= 0)
			return -ETIMEDOUT;
		if (poll(&pfd, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
	}
}
