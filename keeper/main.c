#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/confine.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "common/status.h"
#include "common/util.h"
#include "keeper/keeper.h"
#include "proto/chan.h"
#include "proto/jail.h"

/*
 * Pid 1 of a VM's jail: parent of its warden and its hypervisor.  It
 * outlives every daemon, so it does nothing that can be done elsewhere.
 */
#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 5000
#define WARDEN_HEALTHY_MS 10000

static void
tell(struct keeper *k, uint64_t id)
{
	uint8_t buf[sizeof(k->st) + sizeof(k->machine)];
	size_t len = sizeof(k->st);

	memcpy(buf, &k->st, len);
	if (k->st.phase != KEEP_WAIT) {
		memcpy(buf + len, &k->machine, machine_len(&k->machine));
		len += machine_len(&k->machine);
	}
	if (k->conn >= 0 &&
	    msg_send(k->conn, KEEP_STATE2, id, buf, len, -1) < 0)
		fd_close(&k->conn);
}

static void
warden_start(struct keeper *k)
{
	pid_t pid = child_warden(k);

	k->warden_since_ms = clock_ms();
	k->warden_due_ms = pid < 0 ? k->warden_since_ms + BACKOFF_MAX_MS : 0;
	k->warden = pid < 0 ? 0 : pid;
	k->st.warden_starts++;
	tell(k, 0);
}

/* A warden that keeps dying is started ever more slowly. */
static void
warden_died(struct keeper *k)
{
	long long now = clock_ms();

	k->warden = 0;
	if (k->st.phase != KEEP_RUN)
		return;
	if (now - k->warden_since_ms >= WARDEN_HEALTHY_MS)
		k->backoff_ms = 0;
	k->warden_due_ms = now + k->backoff_ms;
	k->backoff_ms =
	    k->backoff_ms == 0 ? BACKOFF_FIRST_MS : k->backoff_ms * 2;
	if (k->backoff_ms > BACKOFF_MAX_MS)
		k->backoff_ms = BACKOFF_MAX_MS;
}

static void
vmm_ended(struct keeper *k, int status)
{
	k->vmm = 0;
	k->st.phase = KEEP_ENDED;
	k->st.vmm_status = status;
	k->warden_due_ms = 0;
	tell(k, 0);
}

/* What follows from a program's end is in its row. */
static void
child_ended(struct keeper *k, enum jail_role role, int status)
{
	if (status_hint(status)[0] != '\0')
		log_error("%s ended by signal %d%s", jail_prog(role)->name,
		    WTERMSIG(status), status_hint(status));
#ifdef SECCOMP_DEBUG
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_error("seccomp: %s: killed by a deny-list, of the "
			  "keeper, spawner or mewsd",
		    jail_prog(role)->name);
#endif
	if (jail_prog(role)->restarts)
		warden_died(k);
	else
		vmm_ended(k, status);
}

static void
reap(struct keeper *k)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	while (read(k->sigfd, &si, sizeof(si)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == k->warden)
			child_ended(k, JAIL_WARDEN, status);
		else if (pid == k->vmm)
			child_ended(k, JAIL_VMM, status);
	}
}

static int
on_attach(struct keeper *k, struct msg *m)
{
	struct keep_attach a;

	if (m->fd < 0 || k->st.phase != KEEP_WAIT ||
	    keep_attach_check(m->data) < 0)
		return -EINVAL;
	memcpy(&a, m->data, sizeof(a));
	if (machine_fds_put(&k->fds, a.role, a.index, m->fd) < 0)
		return -EINVAL;
	m->fd = -1;
	return 0;
}

/* What launchd said, with what the spawner left: all of it must be here. */
static int
machine_take(struct keeper *k, const struct msg *m)
{
	if (machine_get(m->data, m->len, &k->machine) < 0 ||
	    k->machine.accel == ACCEL_UNKNOWN)
		return -EINVAL;
	if (k->cid != 0 && machine_add(&k->machine, DEV_VSOCK, k->cid) < 0)
		return -EINVAL;
	return machine_lacks(&k->machine, &k->fds) == NULL ? 0 : -EINVAL;
}

static int
on_go(struct keeper *k, const struct msg *m)
{
	pid_t pid;

	if (k->st.phase != KEEP_WAIT || machine_take(k, m) < 0)
		return -EINVAL;
	k->st.phase = KEEP_RUN;
	/* first what the start waits for; its sockets are bound by then, so
	 * the warden's first connect finds them */
	if ((pid = child_vmm(k)) < 0)
		vmm_ended(k, W_EXITCODE(127, 0));
	else
		k->vmm = pid;
	warden_start(k);
	/* the hypervisor's alone from now on: its AF_VSOCK address is free
	 * again as soon as that one ends */
	machine_fds_clear(&k->fds);
	fd_close(&k->vmm_log);
	return 0;
}

/* 0, or negative: launchd does not say such things, hang up. */
static int
dispatch(struct keeper *k, struct msg *m)
{
	static const struct {
		uint32_t type, min, max;
	} shapes[] = {
		{ KEEP_HELLO, sizeof(struct keep_hello),
		    sizeof(struct keep_hello) },
		{ KEEP_ATTACH, sizeof(struct keep_attach),
		    sizeof(struct keep_attach) },
		{ KEEP_GO2, 0, sizeof(struct machine) },
		{ KEEP_TERM, 0, 0 },
		{ KEEP_BYE, 0, 0 },
	};
	size_t i;

	for (i = 0; i < nitems(shapes) && shapes[i].type != m->type; i++)
		;
	if (i == nitems(shapes) || m->len < shapes[i].min ||
	    m->len > shapes[i].max || (m->fd >= 0 && m->type != KEEP_ATTACH))
		return -EBADMSG;
	switch ((enum keep_msg)m->type) {
	case KEEP_HELLO:
		if (keep_hello_check(m->data) < 0)
			return -EINVAL;
		tell(k, m->id);
		return 0;
	case KEEP_ATTACH:
		return on_attach(k, m);
	case KEEP_GO2:
		return on_go(k, m);
	case KEEP_TERM:
		if (k->vmm > 0)
			(void)kill(k->vmm, SIGTERM);
		return 0;
	case KEEP_BYE:
		if (k->st.phase != KEEP_ENDED)
			return -EINVAL;
		exit(0); /* takes the warden and the namespace along */
	case KEEP_STATE:
	case KEEP_STATE2:
		break;
	}
	return -EBADMSG;
}

static void
serve(struct keeper *k)
{
	_Alignas(8) static uint8_t buf[MSG_MAX];
	struct msg m = { .fd = -1 };
	int r = msg_recv(k->conn, buf, &m);

	if (r == 0)
		r = dispatch(k, &m);
	fd_close(&m.fd);
	if (r < 0 && r != -EAGAIN)
		fd_close(&k->conn);
}

/*
 * The socket's owner and mode let only launchd connect; asked again here.
 * Pid 0: the peer lives outside this pid namespace.
 */
static void
accept_launchd(struct keeper *k)
{
	int fd = accept4(KEEPER_FD, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred uc = { .pid = -1 };
	socklen_t len = sizeof(uc);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &uc, &len) < 0 ||
	    (RULE(KEEPER_PEER) && (uc.uid != k->launchd || uc.pid != 0))) {
		log_warn("refused uid %u pid %d", uc.uid, uc.pid);
		fd_close(&fd);
		return;
	}
	fd_close(&k->conn); /* the newer launchd is the living one */
	k->conn = fd;
}

#ifdef SECCOMP_DEBUG
static void
watch_take(struct keeper *k)
{
	_Alignas(8) static uint8_t buf[MSG_MAX];
	struct msg m = { .fd = -1 };

	if (msg_recv(k->watch, buf, &m) == 0)
		k->watched = m.fd;
	fd_close(&k->watch);
}

/* The hypervisor's list has no handler that could speak: said here, and then
 * it dies as it would have. */
static void
watch_say(struct keeper *k, short what)
{
	if ((what & POLLIN) == 0 || k->vmm == 0) {
		fd_close(&k->watched);
		return;
	}
	seccomp_debug_say(k->watched, "hypervisor");
	(void)kill(k->vmm, SIGKILL);
}
#endif

static _Noreturn void
loop(struct keeper *k)
{
	struct pollfd p[5] = { { .fd = k->sigfd, .events = POLLIN },
		{ .fd = KEEPER_FD, .events = POLLIN }, { .events = POLLIN },
		{ .fd = -1 }, { .fd = -1 } };

	for (;;) {
		long long wait = -1;

		if (k->warden_due_ms > 0) {
			wait = k->warden_due_ms - clock_ms();
			if (wait <= 0) {
				warden_start(k);
				continue;
			}
		}
		p[2].fd = k->conn;
		p[2].revents = 0;
#ifdef SECCOMP_DEBUG
		p[3] = (struct pollfd){ .fd = k->watch, .events = POLLIN };
		p[4] = (struct pollfd){ .fd = k->watched, .events = POLLIN };
#endif
		if (poll(p, nitems(p), (int)wait) < 0 && errno != EINTR)
			fatal("poll: %m");
#ifdef SECCOMP_DEBUG
		if (p[4].revents != 0)
			watch_say(k, p[4].revents);
		if (p[3].revents != 0)
			watch_take(k);
#endif
		if (p[0].revents != 0)
			reap(k);
		if (p[2].revents != 0 && k->conn >= 0)
			serve(k);
		if (p[1].revents != 0)
			accept_launchd(k);
	}
}

int
main(int argc, char *argv[])
{
	struct keeper k = { .conn = -1,
		.vmm_log = -1,
#ifdef SECCOMP_DEBUG
		.watch = -1,
		.watched = -1,
#endif
		.st = { .version = KEEP_VERSION,
		    .head_len = sizeof(k.st),
		    .phase = KEEP_WAIT } };
	struct sigaction ign = { .sa_handler = SIG_IGN };
	long long uid, cid;
	sigset_t chld;

	/* before all else: the hypervisor has this uid too */
	if (RULE(KEEPER_DUMPABLE) && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return 1;
	log_init("keeper", LOG_INFO);
	if (fcntl(KEEPER_VMM_LOG_FD, F_GETFD) >= 0)
		k.vmm_log = KEEPER_VMM_LOG_FD;
	fds_expect(k.vmm_log < 0 ? KEEPER_NFDS : KEEPER_NFDS + 1);
	/* more than two: from a spawner that is newer */
	if (argc < 3 || num_parse(argv[1], 0, UINT32_MAX, &uid) < 0 ||
	    num_parse(argv[2], 0, UINT32_MAX, &cid) < 0)
		fatal("usage: mews-keeper UID CID");
	k.launchd = (uid_t)uid;
	k.launchd_arg = argv[1];
	k.cid = (uint32_t)cid;
	if (child_listen(&k) < 0)
		fatal("listeners");
	if (k.cid != 0)
		(void)machine_fds_put(&k.fds, FDR_VSOCK, 0, KEEPER_VSOCK_FD);
	else
		(void)close(KEEPER_VSOCK_FD);
	/* inherited: a full log or console file is an error, not a death */
	(void)sigaction(SIGXFSZ, &ign, NULL);
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &chld, NULL) < 0 ||
	    (k.sigfd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		fatal("signals: %m");
	/* listening under the VM's uid: that is what launchd's SO_PEERCRED
	 * compares with the record */
	if (fd_nonblock(KEEPER_FD) < 0 || listen(KEEPER_FD, 4) < 0)
		fatal("listen: %m");
	if (RULE(JAIL_KEEPER_FILTER) && filter_install() < 0)
		fatal("seccomp: %m");
	loop(&k);
}
