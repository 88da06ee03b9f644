#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/sockq.h"
#include "common/util.h"
#include "proto/chan.h"
#include "proto/ward.h"
#include "warden/call.h"
#include "warden/vsock.h"

#define DIAL_MS 3000 /* launchd's own deadline is shorter */
#define REST_MS 10000 /* so that a deaf guest does not delay each exec */

struct vwait {
	TAILQ_ENTRY(vwait) link;
	struct vsock *vs;
	uint64_t id;
	struct event *timer;
	void (*done)(void *arg, struct duct *d);
	void *arg;
};

/* A socket in our loop. */
struct vconn {
	struct sockq q;
	struct event *rd, *wr;
	unsigned int armed; /* SOCKQ_* */
};

static void
conn_event(void *arg, unsigned int ev)
{
	struct ysink *k = arg;

	if (k != NULL)
		k->event(k->arg, ev);
}

static void
conn_arm(struct sockq *q)
{
	struct vconn *c = (struct vconn *)(void *)q;
	unsigned int want = sockq_wants(q), change = want ^ c->armed;

	if ((change & SOCKQ_RD) != 0)
		(void)((want & SOCKQ_RD) != 0 ? event_add(c->rd, NULL)
					      : event_del(c->rd));
	if ((change & SOCKQ_WR) != 0)
		(void)((want & SOCKQ_WR) != 0 ? event_add(c->wr, NULL)
					      : event_del(c->wr));
	c->armed = want;
}

/* At once: nothing that we had to say matters without its asker. */
static void
conn_release(struct sockq *q)
{
	struct vconn *c = (struct vconn *)(void *)q;

	if (c->rd != NULL)
		event_free(c->rd);
	if (c->wr != NULL)
		event_free(c->wr);
	sockq_clear(q);
	free(c);
}

static const struct sockq_ops conn_ops = {
	.event = conn_event, .arm = conn_arm, .release = conn_release
};

static void
on_io(int fd, short what, void *arg)
{
	struct vconn *c = arg;
	unsigned int can = 0, ev;

	(void)fd;
	if ((what & EV_READ) != 0)
		can |= SOCKQ_RD;
	if ((what & EV_WRITE) != 0)
		can |= SOCKQ_WR;
	ev = sockq_io(&c->q, can);
	conn_arm(&c->q);
	if (ev != 0)
		conn_event(c->q.arg, ev); /* may free c */
}

/* *fd is taken in every case. */
static int
conn_new(struct vsock *vs, int *fd, struct duct *ret)
{
	struct vconn *c = calloc(1, sizeof(*c));

	if (c == NULL || sockq_init(&c->q, *fd, &conn_ops) < 0) {
		free(c);
		fd_close(fd);
		return -ENOMEM;
	}
	c->rd = event_new(vs->base, *fd, EV_READ | EV_PERSIST, on_io, c);
	c->wr = event_new(vs->base, *fd, EV_WRITE | EV_PERSIST, on_io, c);
	*fd = -1;
	if (c->rd == NULL || c->wr == NULL) {
		conn_release(&c->q);
		return -ENOMEM;
	}
	*ret = (struct duct){ .sq = &c->q };
	(void)duct_write(ret, vs->key, sizeof(vs->key));
	return 0;
}

void
vsock_failed(struct vsock *vs, const char *why)
{
	if (!vs->said)
		log_warn("agent: AF_VSOCK: %s: using virtio-serial", why);
	vs->said = true;
	vs->rest_until_ms = clock_ms() + REST_MS;
}

static void
wait_free(struct vsock *vs, struct vwait *w)
{
	TAILQ_REMOVE(&vs->waits, w, link);
	vs->nwaits--;
	event_free(w->timer);
	free(w);
}

void
vsock_cancel(struct vwait *w)
{
	if (w != NULL)
		wait_free(w->vs, w);
}

static void
settle(struct vsock *vs, struct vwait *w, struct duct *d)
{
	void (*done)(void *, struct duct *) = w->done;
	void *arg = w->arg;

	wait_free(vs, w);
	done(arg, d);
}

static void
on_late(int fd, short what, void *arg)
{
	struct vwait *w = arg;
	struct duct none = { NULL, NULL };

	(void)fd;
	(void)what;
	vsock_failed(w->vs, "the launcher does not answer");
	settle(w->vs, w, &none);
}

void
vsock_dialled(
    struct vsock *vs, uint64_t id, const struct ward_dialled *a, int *fd)
{
	struct duct d = { NULL, NULL };
	struct vwait *w;

	if (*fd >= 0)
		vs->seen = a->cookie;
	TAILQ_FOREACH (w, &vs->waits, link) {
		if (w->id == id)
			break;
	}
	if (w == NULL)
		return; /* given up; the caller closes *fd */
	if (a->code < 0 || *fd < 0)
		vsock_failed(vs, strerrordesc_np(-a->code));
	else if (!vs->has_key)
		fd_close(fd); /* the agent went meanwhile */
	else if (conn_new(vs, fd, &d) < 0)
		vsock_failed(vs, "out of memory");
	else {
		if (vs->said)
			log_info("agent: AF_VSOCK works again");
		vs->said = false;
	}
	settle(vs, w, &d);
}

int
vsock_dial(struct vsock *vs, void (*done)(void *arg, struct duct *d), void *arg,
    struct vwait **ret)
{
	const struct timeval tv = { .tv_sec = DIAL_MS / 1000 };
	const struct ward_dial ask = { .port = AGENT_PORT_HTTP,
		.seen = vs->seen };
	struct vwait *w;

	if (vs->launchd == NULL || !vs->has_key ||
	    clock_ms() < vs->rest_until_ms)
		return -ENOTCONN;
	if (vs->nwaits >= WARD_DIALS_MAX)
		return -EBUSY;
	if ((w = calloc(1, sizeof(*w))) == NULL)
		return -ENOMEM;
	w->vs = vs;
	w->id = ++vs->next_id;
	w->done = done;
	w->arg = arg;
	w->timer = evtimer_new(vs->base, on_late, w);
	if (w->timer == NULL || evtimer_add(w->timer, &tv) < 0 ||
	    chan_send(vs->launchd, WARD_DIAL, w->id, &ask, sizeof(ask), -1) <
		0) {
		if (w->timer != NULL)
			event_free(w->timer);
		free(w);
		return -ENOBUFS;
	}
	TAILQ_INSERT_TAIL(&vs->waits, w, link);
	vs->nwaits++;
	*ret = w;
	return 0;
}

void
vsock_key(struct vsock *vs, const uint8_t *key)
{
	vs->has_key = key != NULL;
	vs->rest_until_ms = 0;
	if (key != NULL)
		memcpy(vs->key, key, sizeof(vs->key));
	else
		explicit_bzero(vs->key, sizeof(vs->key));
}

void
vsock_launchd(struct vsock *vs, struct chan *launchd)
{
	struct duct none = { NULL, NULL };
	struct vwait *w, *next;

	vs->launchd = launchd;
	vs->seen = 0;
	/* who is told asks for no other connection: there is nobody to ask */
	for (w = TAILQ_FIRST(&vs->waits); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		settle(vs, w, &none);
	}
}

void
vsock_init(struct vsock *vs, struct event_base *base)
{
	vs->base = base;
	TAILQ_INIT(&vs->waits);
}
