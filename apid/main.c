#include <bsd/unistd.h>
#include <event2/event.h>
#include <signal.h>

#include "apid/apid.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/loop.h"
#include "proto/chan.h"
#include "proto/room.h"

static void
on_sigterm(int sig, short what, void *arg)
{
	struct apid *a = arg;

	(void)sig;
	(void)what;
	(void)event_base_loopexit(a->base, NULL);
}

static void
on_reap(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	client_reap(arg);
}

static void
events_set(struct apid *a)
{
	struct sigaction ign = { .sa_handler = SIG_IGN };

	(void)sigaction(SIGPIPE, &ign, NULL);
	(void)sigaction(SIGINT, &ign, NULL); /* mewsd says when to end */
	a->base = loop_new();
	a->sigterm = evsignal_new(a->base, SIGTERM, on_sigterm, a);
	a->reaper = evtimer_new(a->base, on_reap, a);
	a->alone = evtimer_new(a->base, dispatch_on_alone, a);
	if (a->sigterm == NULL || event_add(a->sigterm, NULL) < 0 ||
	    a->reaper == NULL || a->alone == NULL)
		fatal("events");
	a->parent = boot_room_open(&a->mewsd, a->base, &boot_calls, a);
	if (a->parent == NULL)
		fatal("channel to mewsd");
}

int
main(int argc, char *argv[], char *envp[])
{
	static struct apid a;

	setproctitle_init(argc, argv, envp);
	log_init("apid", LOG_INFO);
	fds_expect(BOOT_NFDS);
	boot_recv(ROOM_API, &a.boot, &a.conf, sizeof(a.conf));
	log_init(room_name(a.boot.room), (enum log_level)a.boot.log_level);
	a.client_ops = &serve_ops;
	RB_INIT(&a.clients);
	STAILQ_INIT(&a.dead);
	client_share(&a);

	apid_confine(&a.boot);
	events_set(&a);
	apid_filter();
	client_title(&a);
	boot_ready();
	if (event_base_dispatch(a.base) < 0)
		fatal("event loop");
	client_drop_all(&a);
	client_reap(&a);
	client_unshare(&a);
	chan_free(a.orchd);
	chan_free(a.parent);
	return a.status;
}
