#include <bsd/unistd.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/tsc.h"
#include "common/util.h"
#include "launchd/launchd.h"
#include "launchd/orchd.h"
#include "launchd/spawnlink.h"
#include "launchd/turn.h"

static int
on_peer(void *arg, const struct boot_peer *p, int sock)
{
	struct launchd *ld = arg;

	if (p->room == ROOM_SPAWNER && ld->spawner == NULL) {
		spawnlink_open(ld, sock);
		return 0;
	}
	if (p->room != ROOM_ORCHD) {
		fd_close(&sock);
		return -EINVAL;
	}
	fd_close(&ld->orchd_fd);
	ld->orchd_fd = sock;
	ld->orchd_life = p->life;
	orchd_open(ld);
	return 0;
}

/* VMs stay. */
static void
on_stop(void *arg)
{
	struct launchd *ld = arg;

	if (ld->orchd != NULL)
		chan_flush(ld->orchd);
}

static const struct boot_calls boot_calls = { .peer = on_peer,
	.stop = on_stop };

static void
launchd_events(struct launchd *ld)
{
	ld->base = loop_new();
	turn_open(ld);
	jaillogs_start(&ld->logs, ld->base);
	ld->parent = boot_room_open(&ld->mewsd, ld->base, &boot_calls, ld);
	if (ld->parent == NULL)
		fatal("out of memory");
}

int
main(int argc, char *argv[], char *envp[])
{
	static struct launchd ld = { .orchd_fd = -1 };
	struct sigaction ign = { .sa_handler = SIG_IGN };

	setproctitle_init(argc, argv, envp);
	log_init("launchd", LOG_INFO);
	fds_expect(BOOT_NFDS);
	boot_recv(ROOM_LAUNCHD, &ld.boot, &ld.conf, sizeof(ld.conf));
	log_init("launchd", (enum log_level)ld.boot.log_level);
	if (sigaction(SIGPIPE, &ign, NULL) < 0)
		fatal("sigaction: %m");

	/* 1. what needs files */
	if (tsc_khz(&ld.tsc_khz) < 0)
		log_warn("the time-stamp counter does not run");
	jaillogs_open(&ld.logs, ld.boot.root, ld.conf.log);
	launchd_confine(&ld); /* 2. */
	launchd_events(&ld); /* 3. */
	launchd_filter(&ld); /* 4. */

	boot_ready();
	if (event_base_dispatch(ld.base) < 0)
		fatal("event loop");
	return 0;
}
