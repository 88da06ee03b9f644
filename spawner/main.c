#include <bsd/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "proto/uids.h"
#include "spawner/accel.h"
#include "spawner/load.h"
#include "spawner/proc.h"
#include "spawner/programs.h"
#include "spawner/spawner.h"
#include "spawner/vsock.h"

/* The record of a policy that makes no sense would be a hole. */
static void
check_conf(const struct spawner *sp)
{
	const struct launchd_conf *c = &sp->conf;
	const struct uids u = { c->uid_base, c->uid_count };

	if (uids_check(&u) < 0)
		fatal("uid_base %u, uid_count %u", c->uid_base, c->uid_count);
	if (c->uid == 0 || uids_has(&u, c->uid))
		fatal("launchd's uid %u is a VM's or root", c->uid);
	if (c->max_vms > uids_slots(&u) - 1)
		fatal("max_vms %u: uid_count %u has %u slots, one of them the "
		      "probe's",
		    c->max_vms, c->uid_count, uids_slots(&u));
	if (memchr(c->state, '\0', sizeof(c->state)) == NULL ||
	    memchr(c->run, '\0', sizeof(c->run)) == NULL ||
	    memchr(c->stage, '\0', sizeof(c->stage)) == NULL ||
	    memchr(c->cgroup_path, '\0', sizeof(c->cgroup_path)) == NULL ||
	    c->cgroup > 2 || c->accel > ACCEL_KVM || c->vsock > VSOCK_OFF)
		fatal("boot config");
	/* up to 2 the addresses are the host's, the last one means any */
	if (c->cid_base <= VMADDR_CID_HOST ||
	    c->cid_base >= VMADDR_CID_ANY - uids_slots(&u))
		fatal("vsock_cid_base %u", c->cid_base);
}

static int
open_root_dir(const char *path)
{
	struct err e = { 0 };
	int fd = programs_dir(path, &e);

	if (fd < 0)
		fatal("%s", e.msg);
	return fd;
}

static void
find_host(struct spawner *sp)
{
	struct stat st;

	if (proc_boot_id(sp->boot_id) < 0 ||
	    proc_ns_all(getpid(), sp->host_ns) < 0 ||
	    proc_ns(getpid(), 0, "user", &sp->user_ns) < 0 ||
	    stat("/", &st) < 0)
		fatal("/proc does not answer");
	sp->host_root.dev = st.st_dev;
	sp->host_root.ino = st.st_ino;
}

static void
find_cgroup(struct spawner *sp)
{
	enum { AUTO, REQUIRE, OFF };
	char *why = sp->caps.why;

	/* also when it is off: VMs of an earlier suite may be in groups */
	cgroup_open(&sp->cg);
	if (sp->conf.cgroup == OFF) {
		(void)snprintf(
		    why, sizeof(sp->caps.why), "cgroup = off in mews.conf");
		return;
	}
	if (cgroup_find(
		&sp->cg, sp->conf.cgroup_path, why, sizeof(sp->caps.why)) < 0 &&
	    sp->conf.cgroup == REQUIRE)
		fatal("cgroup = require, but %s", why);
	sp->caps.cgroup = sp->cg.used;
}

/* Children are watched by pidfd; nobody waits for them here. */
static void
set_signals(void)
{
	struct sigaction reap = { .sa_handler = SIG_DFL,
		.sa_flags = SA_NOCLDWAIT };
	struct sigaction ign = { .sa_handler = SIG_IGN };

	if (sigaction(SIGCHLD, &reap, NULL) < 0 ||
	    sigaction(SIGPIPE, &ign, NULL) < 0)
		fatal("sigaction: %m");
}

/*
 * A spawner is started anew as soon as the last one died, but the child that
 * one made may not be the keeper yet: neither dead nor what its record says.
 * The lock is theirs until the one ended and the other has exec'ed, so records
 * are read of what is.
 */
static void
wait_turn(struct spawner *sp)
{
	sp->lock_fd = openat(sp->run_fd, "lock",
	    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (sp->lock_fd < 0)
		fatal("lock: %m");
	while (flock(sp->lock_fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			fatal("lock: %m");
	}
}

static void
spawner_open(struct spawner *sp)
{
	sp->state_fd = open_root_dir(sp->conf.state);
	sp->run_fd = open_root_dir(sp->conf.run);
	wait_turn(sp);
	RB_INIT(&sp->held);
	programs_find(sp);
	find_host(sp);
	find_cgroup(sp);
	accel_load(sp);
	vsock_find(sp);
}

/* Its one neighbour, which starts with it: whose channel comes by itself. */
static void
find_launchd(struct spawner *sp)
{
	_Alignas(8) static uint8_t buf[MSG_MAX];
	struct msg m = { .fd = -1 };
	struct boot_peer p;
	int r = msg_wait(BOOT_FD, buf, &m, -1);

	if (r == -ECONNRESET || (r == 0 && m.type == BOOT_STOP))
		exit(0);
	if (r < 0)
		fatal("mewsd: %s", strerrordesc_np(-r));
	if (m.type != BOOT_PEER || m.len != sizeof(p) || m.fd < 0)
		fatal("mewsd: message 0x%04x", m.type);
	memcpy(&p, m.data, sizeof(p));
	if (p.room != ROOM_LAUNCHD)
		fatal("mewsd: a channel to %s", room_name(p.room));
	sp->chan = m.fd;
}

/* mewsd asks whether it is there, or ended, or says that we do. */
static void
hear_mewsd(void)
{
	_Alignas(8) static uint8_t buf[MSG_MAX];
	struct msg m = { .fd = -1 };
	const int r = msg_wait(BOOT_FD, buf, &m, 0);

	if (r == -ETIMEDOUT)
		return;
	if (r < 0 || m.type != BOOT_PING || m.len != 0 || m.fd >= 0)
		exit(0);
	(void)msg_send(BOOT_FD, BOOT_PONG, m.id, NULL, 0, -1);
}

/* launchd's next message, if it is that. */
static void
serve(struct spawner *sp)
{
	_Alignas(8) static uint8_t buf[MSG_MAX];
	struct pollfd p[] = { { .fd = BOOT_FD, .events = POLLIN },
		{ .fd = sp->chan, .events = POLLIN } };
	struct msg m = { .fd = -1 };
	int r;

	if (poll(p, nitems(p), -1) < 0) {
		if (errno == EINTR)
			return;
		fatal("poll: %m");
	}
	if (p[0].revents != 0)
		hear_mewsd();
	if (p[1].revents == 0)
		return;
	r = msg_wait(sp->chan, buf, &m, 0);
	if (r == -ECONNRESET)
		exit(0); /* launchd ended: so do we, VMs stay */
	if (r < 0)
		fatal("channel: %s", strerrordesc_np(-r));
	spawner_dispatch(sp, &m);
	fd_close(&m.fd);
}

int
main(int argc, char *argv[], char *envp[])
{
	static struct spawner sp = { .chan = -1 };

	setproctitle_init(argc, argv, envp);
	log_init("spawner", LOG_INFO);
	fds_expect(BOOT_NFDS);
	boot_recv(ROOM_SPAWNER, &sp.boot, &sp.conf, sizeof(sp.conf));
	log_init("spawner", (enum log_level)sp.boot.log_level);
	if (chdir("/") < 0)
		fatal("chdir: %m");
	(void)umask(022);
	check_conf(&sp);
	set_signals();
	spawner_open(&sp);
	spawner_confine(&sp);
	if (proc_own_filters(&sp.filters) < 0)
		fatal("this kernel does not count seccomp filters");
	load_held(&sp);
	setproctitle("-mews: spawner");
	find_launchd(&sp);
	if (msg_send(sp.chan, SPAWN_CAPS, 0, &sp.caps, sizeof(sp.caps), -1) < 0)
		exit(0); /* launchd ended: so do we */
	boot_ready();
	for (;;)
		serve(&sp);
}
