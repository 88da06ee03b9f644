#include <bsd/unistd.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/tsc.h"
#include "common/util.h"
#include "launchd/launchd.h"
#include "launchd/orchd.h"
#include "launchd/spawnlink.h"
#include "launchd/turn.h"
#include "spawner/spawner.h"

/*
 * The spawner is this program again: exec'ed, so that it shares no memory
 * layout with launchd, and told the host's policy by what is still mewsd's
 * own config (I2), before launchd has heard anybody else.
 */
static int
spawner_start(const struct launchd *ld)
{
	static char name[] = "mews-spawner", role[] = "spawner";
	static char *const argv[] = { name, role, NULL };
	/* no environment; its place is what setproctitle(3bsd) writes to */
	static char title[] = "_=                                             ";
	static char *const no_env[] = { title, NULL };
	struct boot_common bc = ld->boot;
	uint8_t conf[sizeof(bc) + sizeof(ld->conf)];
	int sv[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		fatal("socketpair: %m");
	if ((pid = fork()) < 0)
		fatal("fork: %m");
	if (pid == 0) {
		if (dup2(sv[1], BOOT_FD) == BOOT_FD)
			(void)execve("/proc/self/exe", argv, no_env);
		_exit(127);
	}
	close_fd(&sv[1]);
	bc.room = ROOM_SPAWNER;
	memcpy(conf, &bc, sizeof(bc));
	memcpy(conf + sizeof(bc), &ld->conf, sizeof(ld->conf));
	if (msg_send(sv[0], BOOT_CONF, 0, conf, sizeof(conf), -1) < 0)
		fatal("spawner: %m");
	return sv[0];
}

static int
on_peer(void *arg, struct chan *c, struct msg *m)
{
	struct launchd *ld = arg;
	struct boot_peer p;

	(void)c;
	memcpy(&p, m->data, sizeof(p));
	if (p.room != ROOM_ORCHD)
		return -EINVAL;
	close_fd(&ld->orchd_fd);
	ld->orchd_fd = m->fd;
	ld->orchd_life = p.life;
	m->fd = -1;
	orchd_open(ld);
	return 0;
}

static int
on_boot_stop(void *arg, struct chan *c, struct msg *m)
{
	struct launchd *ld = arg;

	(void)c;
	(void)m;
	if (ld->orchd != NULL)
		chan_flush(ld->orchd);
	exit(0); /* VMs stay */
}

static void
parent_gone(void *arg, struct chan *c, enum chan_end end, const char *why)
{
	(void)arg;
	(void)c;
	(void)end;
	log_info("mewsd: %s", why);
	exit(0);
}

static const struct msg_handler parent_handlers[] = {
	{ BOOT_PEER, sizeof(struct boot_peer), 0, 1, PH_ANY, boot_peer_check,
	    on_peer },
	{ BOOT_STOP, 0, 0, 0, PH_ANY, NULL, on_boot_stop },
};
static const struct chan_ops parent_ops = { parent_handlers,
	nitems(parent_handlers), parent_gone };

static void
launchd_events(struct launchd *ld, int spawner)
{
	ld->base = loop_new();
	turn_open(ld);
	ld->parent = chan_new(ld->base, BOOT_FD, "mewsd", &parent_ops, ld);
	if (ld->parent == NULL)
		fatal("out of memory");
	spawnlink_open(ld, spawner);
}

int
main(int argc, char *argv[], char *envp[])
{
	static struct launchd ld = { .orchd_fd = -1 };
	struct sigaction ign = { .sa_handler = SIG_IGN };
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	bool is_spawner;
	int spawner;

	/* which of the two it is, before the title takes argv's place */
	is_spawner = argc == 2 && strcmp(argv[1], "spawner") == 0;
	setproctitle_init(argc, argv, envp);
	if (is_spawner)
		spawner_main();
	log_init("launchd", LOG_INFO);
	fds_expect(BOOT_NFDS);
	boot_recv(ROOM_LAUNCHD, &ld.boot, &ld.conf, sizeof(ld.conf));
	log_init("launchd", (enum log_level)ld.boot.log_level);
	/* an ignored SIGCHLD would be inherited down to the keepers */
	if (sigaction(SIGPIPE, &ign, NULL) < 0 ||
	    sigaction(SIGCHLD, &dfl, NULL) < 0)
		fatal("sigaction: %m");

	spawner = spawner_start(&ld); /* 1. while root */
	if (tsc_khz(&ld.tsc_khz) < 0)
		log_warn("the time-stamp counter does not run");
	launchd_confine(&ld); /* 2. */
	launchd_events(&ld, spawner); /* 3. */
	launchd_filter(&ld); /* 4. */

	spawnlink_list(&ld);
	boot_ready();
	if (event_base_dispatch(ld.base) < 0)
		fatal("event loop");
	return 0;
}
