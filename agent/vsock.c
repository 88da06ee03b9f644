#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "agent/agent.h"
#include "agent/conn.h"
#include "agent/guest.h"
#include "agent/vsock.h"
#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/sess.h"
#include "common/sockq.h"
#include "common/util.h"

#define KEY_MS 5000
#define BACKLOG 32

/* One who connected: first without a key, then a conn's transport. */
struct vcaller {
	struct sockq q; /* used once the key was seen */
	struct vsock *v;
	struct watch w;
	TAILQ_ENTRY(vcaller) link; /* of the keyless */
	bool is_ending; /* its conn is gone, what it said last is not */
	uint8_t got[GATE_KEY];
	size_t ngot;
	long long until_ms;
};

/* One that has shown no key. */
static void
keyless_free(struct vsock *v, struct vcaller *c)
{
	TAILQ_REMOVE(&v->keyless, c, link);
	v->nkeyless--;
	loop_unwatch(&c->w);
	fd_close(&c->w.fd);
	explicit_bzero(c->got, sizeof(c->got));
	free(c);
}

static void
caller_free(struct vcaller *c)
{
	loop_unwatch(&c->w);
	c->v->nconns--;
	sockq_clear(&c->q);
	free(c);
}

/* ---- with a key: as a stream of the session */

static void
q_event(void *arg, unsigned int ev)
{
	if (arg != NULL)
		conn_event(arg, NULL, ev);
}

/* The end of the host's half means that nobody is there: no warden ends one
 * half, and a dead one's command must not run on because its input is full. */
static void
q_arm(struct sockq *q)
{
	struct vcaller *c = (struct vcaller *)(void *)q;
	unsigned int want = sockq_wants(q);
	uint32_t ev = EPOLLRDHUP;

	if ((want & SOCKQ_RD) != 0)
		ev |= EPOLLIN;
	if ((want & SOCKQ_WR) != 0)
		ev |= EPOLLOUT;
	(void)loop_watch(&c->w, ev);
}

static void
q_release(struct sockq *q)
{
	struct vcaller *c = (struct vcaller *)(void *)q;

	q->arg = NULL;
	if (q->fin && q->out_len > 0 && !q->gone) {
		c->is_ending = true;
		q_arm(q);
		return;
	}
	caller_free(c);
}

static const struct sockq_ops q_ops = {
	.event = q_event, .arm = q_arm, .release = q_release
};

static void
on_conn(void *arg, uint32_t events)
{
	struct vcaller *c = arg;
	unsigned int can = 0, ev;

	if ((events & EPOLLIN) != 0)
		can |= SOCKQ_RD;
	if ((events & EPOLLOUT) != 0)
		can |= SOCKQ_WR;
	if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
		ev = sockq_hup(&c->q);
	else
		ev = sockq_io(&c->q, can);
	if (c->is_ending) {
		if (c->q.gone || c->q.out_len == 0)
			caller_free(c);
		return;
	}
	q_arm(&c->q);
	if (ev != 0)
		q_event(c->q.arg, ev); /* may free c */
}

static void
admit(struct vcaller *c)
{
	struct vsock *v = c->v;
	int fd = c->w.fd;
	struct duct d = { .sq = &c->q };

	if (v->nconns >= CONNS_MAX || sockq_init(&c->q, fd, &q_ops) < 0) {
		keyless_free(v, c);
		return;
	}
	TAILQ_REMOVE(&v->keyless, c, link);
	v->nkeyless--;
	explicit_bzero(c->got, sizeof(c->got));
	v->nconns++;
	c->q.eof_is_gone = true;
	c->w.fn = on_conn;
	if (conn_new(v->a, &d) < 0)
		duct_close(&d);
	else
		q_arm(&c->q);
}

/* ---- without */

static void
timer_arm(struct vsock *v)
{
	const struct vcaller *c = TAILQ_FIRST(&v->keyless);
	struct itimerspec its = { 0 };
	long long ms;

	if (c != NULL) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed is out */
		ms = c->until_ms - clock_ms();
		if (ms < 1)
			ms = 1;
		its.it_value.tv_sec = ms / 1000;
		its.it_value.tv_nsec = ms % 1000 * 1000000;
	}
	(void)timerfd_settime(v->timer.fd, 0, &its, NULL);
}

static void
on_timer(void *arg, uint32_t events)
{
	struct vsock *v = arg;
	struct vcaller *c, *next;
	uint64_t n;

	(void)events;
	(void)!read(v->timer.fd, &n, sizeof(n));
	for (c = TAILQ_FIRST(&v->keyless);
	     c != NULL && c->until_ms <= clock_ms(); c = next) {
		next = TAILQ_NEXT(c, link);
		keyless_free(v, c);
	}
	timer_arm(v);
}

/* Not one byte more than the key is read before it is known to be right. */
static void
on_keyless(void *arg, uint32_t events)
{
	struct vcaller *c = arg;
	struct vsock *v = c->v;
	ssize_t n;

	(void)events;
	n = recv(
	    c->w.fd, c->got + c->ngot, sizeof(c->got) - c->ngot, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		c->ngot += (size_t)n;
	if (n > 0 && c->ngot < sizeof(c->got))
		return;
	if (n > 0 && gate_is(v->key, c->got))
		admit(c);
	else
		keyless_free(v, c);
	timer_arm(v);
}

static void
on_accept(void *arg, uint32_t events)
{
	struct vsock *v = arg;
	struct sockaddr_vm from = { 0 };
	socklen_t len = sizeof(from);
	struct vcaller *c;
	int fd;

	(void)events;
	fd = accept4(v->listener.fd, (struct sockaddr *)&from, &len,
	    SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	/* not the workload by a loopback, nor another guest */
	if (from.svm_cid != VMADDR_CID_HOST ||
	    (c = calloc(1, sizeof(*c))) == NULL) {
		fd_close(&fd);
		return;
	}
	/* who has the key says it at once: the longest silence is the one
	 * that means least */
	if (v->nkeyless == VSOCK_KEYLESS_MAX)
		keyless_free(v, TAILQ_FIRST(&v->keyless));
	c->v = v;
	c->w = (struct watch){ .fn = on_keyless, .arg = c, .fd = fd };
	c->q.fd = -1;
	c->until_ms = clock_ms() + KEY_MS;
	TAILQ_INSERT_TAIL(&v->keyless, c, link);
	v->nkeyless++;
	if (loop_watch(&c->w, EPOLLIN | EPOLLRDHUP) < 0)
		keyless_free(v, c);
	timer_arm(v);
}

static int
listen_on(struct vsock *v)
{
	const struct sockaddr_vm at = { .svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = AGENT_PORT };
	const uint64_t ahead = SESS_AHEAD;
	int fd, r;

	v->timer = (struct watch){ .fn = on_timer, .arg = v };
	v->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* those that it accepts have it from it */
	if (fd >= 0)
		(void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE,
		    &ahead, sizeof(ahead));
	if (v->timer.fd < 0 || fd < 0 ||
	    bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		r = -errno;
		goto fail;
	}
	v->listener = (struct watch){ .fn = on_accept, .arg = v, .fd = fd };
	if ((r = loop_watch(&v->timer, EPOLLIN)) == 0 &&
	    (r = loop_watch(&v->listener, EPOLLIN)) == 0)
		return 0;
fail:
	loop_unwatch(&v->timer);
	fd_close(&v->timer.fd);
	fd_close(&fd);
	v->listener.fd = -1;
	return r;
}

int
vsock_key(struct vsock *v, const uint8_t key[GATE_KEY])
{
	int r;

	if (!v->is_there)
		return -ENODEV;
	if (v->listener.fd < 0 && (r = listen_on(v)) < 0)
		return r;
	memcpy(v->key, key, sizeof(v->key));
	return 0;
}

void
vsock_open(struct vsock *v, struct agent *a)
{
	v->a = a;
	v->listener.fd = v->timer.fd = -1;
	TAILQ_INIT(&v->keyless);
	v->is_there = guest_modules_vsock();
}
