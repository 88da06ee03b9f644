#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/chan.h"
#include "warden/agent.h"
#include "warden/backend.h"
#include "warden/console.h"
#include "warden/streams.h"
#include "warden/warden.h"

#define PH_NEW 1U /* hello first */
#define PH_RUN 2U

void
warden_tell(struct warden *w, uint64_t id)
{
	w->told = w->state;
	/* a launchd that does not read is replaced, not waited for */
	if (chan_send(w->launchd, WARD_STATE, id, &w->state, sizeof(w->state),
		-1) < 0)
		log_warn("launchd does not read its news");
}

static void
on_beat(int fd, short what, void *arg)
{
	struct warden *w = arg;

	(void)fd;
	(void)what;
	if (w->greeted)
		warden_tell(w, 0);
}

static int
on_hello(void *arg, struct chan *c, struct msg *m)
{
	static const struct timeval beat = { .tv_sec = WARD_BEAT_MS / 1000 };
	struct warden *w = arg;
	struct ward_hello h;

	memcpy(&h, m->data, sizeof(h));
	/* any version: it knows ours from the answer */
	chan_set_phase(c, PH_RUN);
	w->greeted = true;
	vsock_launchd(&w->vsock, h.version >= WARD_VERSION_DIAL ? c : NULL);
	if (h.version >= WARD_VERSION_BEAT)
		(void)event_add(w->beat, &beat);
	w->backend->retry(w->vmm);
	console_retry(w->console);
	agent_retry(w->agent);
	warden_tell(w, m->id);
	return 0;
}

static int
on_spec(void *arg, struct chan *c, struct msg *m)
{
	struct warden *w = arg;
	int r = agent_spec(w->agent, m->fd);

	(void)c;
	if (r < 0)
		log_warn("boot spec: %s", strerror(-r));
	return r;
}

static int
on_run(void *arg, struct chan *c, struct msg *m)
{
	struct warden *w = arg;

	(void)c;
	(void)m;
	w->backend->resume(w->vmm);
	return 0;
}

static int
on_stream(void *arg, struct chan *c, struct msg *m)
{
	struct warden *w = arg;
	struct launch_stream ls;

	(void)c;
	memcpy(&ls, m->data, sizeof(ls));
	streams_add(&w->streams, ls.kind, ls.flags, m->fd);
	m->fd = -1; /* the stream owns it */
	return 0;
}

static int
on_orphans(void *arg, struct chan *c, struct msg *m)
{
	struct warden *w = arg;

	(void)c;
	(void)m;
	streams_end(&w->streams);
	return 0;
}

static int
on_rung(void *arg, struct chan *c, struct msg *m)
{
	struct warden *w = arg;
	struct ward_rung wr;
	int r;

	(void)c;
	memcpy(&wr, m->data, sizeof(wr));
	if (wr.rung == STOP_AGENT)
		r = agent_power(w->agent, wr.grace_ms);
	else
		r = w->backend->stop(w->vmm, (enum stop_rung)wr.rung);
	/* no answer: launchd's deadline for the rung goes on to the next */
	if (r < 0)
		log_info("stop rung %u: %s", wr.rung, strerror(-r));
	return 0;
}

static int
on_dialled(void *arg, struct chan *c, struct msg *m)
{
	struct warden *w = arg;
	struct ward_dialled a;

	(void)c;
	memcpy(&a, m->data, sizeof(a));
	vsock_dialled(&w->vsock, m->id, &a, &m->fd);
	return 0;
}

/* All that a warden can be asked. */
static const struct msg_handler handlers[] = {
	{ WARD_HELLO, sizeof(struct ward_hello), 0, 0, PH_NEW, ward_hello_check,
	    on_hello },
	{ WARD_SPEC, 0, 0, 1, PH_RUN, NULL, on_spec },
	{ WARD_RUN, 0, 0, 0, PH_RUN, NULL, on_run },
	{ WARD_STREAM, sizeof(struct launch_stream), 0, 1, PH_RUN,
	    launch_stream_check, on_stream },
	{ WARD_ORPHANS, 0, 0, 0, PH_RUN, NULL, on_orphans },
	{ WARD_RUNG, sizeof(struct ward_rung), 0, 0, PH_RUN, ward_rung_check,
	    on_rung },
	{ WARD_DIALLED, sizeof(struct ward_dialled), 0, FD_OPT, PH_RUN,
	    ward_dialled_check, on_dialled },
};

static void
on_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	struct warden *w = arg;

	if (end != CHAN_CLOSED)
		log_warn("launchd: %s", why);
	chan_free(c);
	w->launchd = NULL;
	w->greeted = false;
	(void)event_del(w->beat);
	vsock_launchd(&w->vsock, NULL);
}

static const struct chan_ops ops = {
	.tab = handlers,
	.ntab = nitems(handlers),
	.gone = on_gone,
};

static bool
is_launchd(const struct warden *w, int fd)
{
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	return !RULE(WARDEN_PEER) || cred.uid == w->launchd_uid;
}

static void
on_accept(int listener, short what, void *arg)
{
	struct warden *w = arg;
	int fd;

	(void)what;
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (!is_launchd(w, fd)) {
		log_warn("a stranger called");
		fd_close(&fd);
		return;
	}
	/* a launchd that is starting anew replaces the one that was */
	chan_free(w->launchd);
	w->greeted = false;
	(void)event_del(w->beat);
	vsock_launchd(&w->vsock, NULL);
	w->launchd = chan_new(w->base, fd, "launchd", &ops, w);
	if (w->launchd != NULL)
		chan_set_phase(w->launchd, PH_NEW);
}

void
warden_listen(struct warden *w)
{
	w->accept =
	    event_new(w->base, w->listener, EV_READ | EV_PERSIST, on_accept, w);
	w->beat = event_new(w->base, -1, EV_PERSIST, on_beat, w);
	if (w->accept == NULL || w->beat == NULL ||
	    event_add(w->accept, NULL) < 0)
		fatal("out of memory");
	/* only now: a connect before would wait for nobody */
	if (listen(w->listener, 4) < 0)
		fatal("listen: %m");
}
