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
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/api.h"
#include "agent/console.h"
#include "agent/detach.h"
#include "agent/exec.h"
#include "agent/guest.h"
#include "agent/power.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"

#define HEAP_KEPT (1 << 20)

static const char ready[] = "mews-agent ready\n";

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
		} else if (!detach_reaped(pid, status)) {
			exec_reaped(pid, status);
		}
	}
	port_flush(&a->port);
	power_step(a);
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
		power_begin(a, RB_AUTOBOOT, 0);
		break;
	default:
		power_begin(a, RB_POWER_OFF, 0);
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
	if (a->signals.fd < 0 || loop_watch(&a->signals, EPOLLIN) < 0)
		fatal("signals: %m");
	(void)reboot(RB_DISABLE_CAD);
}

static void
on_button(void *arg)
{
	power_begin(arg, RB_POWER_OFF, 0);
}

int
main(void)
{
	static struct agent a = { .work = WORK_NONE, .request = api_request };

	if (getpid() != 1) {
		(void)fputs("mews-agent is pid 1 of a mews guest\n", stderr);
		return 2;
	}
	console_init();
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
	console_watch();
	(void)!write(STDERR_FILENO, ready, sizeof(ready) - 1);
	console_flush();
	port_open(&a.port, &a);
	guest_modules_late();
	vsock_open(&a.vsock, &a);
	oom_open(&a.oom);
	buttons_open(&a.buttons, on_button, &a);
	for (;;)
		loop_turn();
}
