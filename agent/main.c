#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/exec.h"
#include "agent/guest.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"

#define GRACE_S 5
#define HEAP_KEPT (1 << 20)

static const char ready[] = "mews-agent ready\n";

static void
power_now(struct agent *a)
{
	port_flush(&a->port);
	guest_power(a->reboot_cmd);
}

static void
on_grace(void *arg, uint32_t events)
{
	(void)events;
	power_now(arg);
}

/*
 * First the execs hear SIGTERM, then, when none is left, the workload's
 * pid 1 and through it everyone else; when that has gone, or the grace has
 * passed, so does the machine.
 */
void
agent_power_step(struct agent *a)
{
	if (a->reboot_cmd == 0 || a->nexecs > 0)
		return;
	if (a->work.pid == 0)
		power_now(a);
	else
		(void)kill(a->work.pid, SIGTERM);
}

void
agent_power(struct agent *a, int reboot_cmd)
{
	const struct itimerspec its = { .it_value = { .tv_sec = GRACE_S } };

	if (a->reboot_cmd != 0)
		return;
	a->reboot_cmd = reboot_cmd;
	a->grace = (struct watch){ .fn = on_grace, .arg = a };
	a->grace.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (a->grace.fd < 0 ||
	    timerfd_settime(a->grace.fd, 0, &its, NULL) < 0 ||
	    watch_set(&a->grace, EPOLLIN) < 0)
		power_now(a);
	exec_term_all();
	port_flush(&a->port); /* the answer, before all ends */
	agent_power_step(a);
}

static void
reap(struct agent *a)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == a->work.pid) {
			/* without it nothing runs there; the machine ends */
			a->work.pid = 0;
			log_info("the workload ended");
			if (a->reboot_cmd == 0)
				a->reboot_cmd = RB_POWER_OFF;
		} else {
			exec_reaped(pid, status);
		}
	}
	port_flush(&a->port);
	agent_power_step(a);
}

static void
on_signal(void *arg, uint32_t events)
{
	struct signalfd_siginfo si;
	struct agent *a = arg;

	(void)events;
	if (read(a->signals.fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return;
	switch (si.ssi_signo) {
	case SIGCHLD:
		reap(a);
		break;
	case SIGINT: /* ctrl-alt-del */
		agent_power(a, RB_AUTOBOOT);
		break;
	default:
		agent_power(a, RB_POWER_OFF);
		break;
	}
}

static void
signals_open(struct agent *a)
{
	static const int sigs[] = { SIGCHLD, SIGTERM, SIGINT, SIGPWR };
	sigset_t set;
	size_t i;

	(void)sigemptyset(&set);
	for (i = 0; i < nitems(sigs); i++)
		(void)sigaddset(&set, sigs[i]);
	(void)sigaddset(&set, SIGPIPE); /* only ever an error of write(2) */
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	(void)sigdelset(&set, SIGPIPE);
	a->signals = (struct watch){ .fn = on_signal, .arg = a };
	a->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a->signals.fd < 0 || watch_set(&a->signals, EPOLLIN) < 0)
		fatal("signals: %m");
	(void)reboot(RB_DISABLE_CAD);
}

int
main(void)
{
	static struct agent a = { .work = WORK_NONE };

	if (getpid() != 1) {
		(void)fputs("mews-agent is pid 1 of a mews guest\n", stderr);
		return 2;
	}
	log_init("agent", LOG_INFO);
	/* the workload shares its user id, not its memory; that goes for a
	 * child that has yet to execute, too */
	(void)prctl(PR_SET_DUMPABLE, 0);
	/* what one request freed is the next one's: no page comes new */
	(void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
	guest_modules_early();
	guest_setup();
	loop_init();
	signals_open(&a);
	(void)write_all(STDOUT_FILENO, ready, sizeof(ready) - 1);
	port_open(&a.port, &a);
	guest_modules_late();
	vsock_open(&a.vsock, &a);
	buttons_open(&a.buttons, &a);
	for (;;)
		loop_turn();
}
