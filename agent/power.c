#include <signal.h>
#include <sys/epoll.h>
#include <sys/reboot.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/console.h"
#include "agent/detach.h"
#include "agent/exec.h"
#include "agent/guest.h"
#include "agent/power.h"
#include "common/log.h"

#define GRACE_MS 5000

static void
power_now(struct agent *a)
{
	port_flush(&a->port);
	console_flush();
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
power_step(struct agent *a)
{
	if (a->reboot_cmd == 0 || a->nexecs > 0)
		return;
	if (a->work.pid == 0)
		power_now(a);
	else
		(void)kill(a->work.pid, SIGTERM);
}

static int
grace_set(struct agent *a, uint32_t ms)
{
	const struct itimerspec its = { .it_value = { .tv_sec = ms / 1000,
					    .tv_nsec = ms % 1000 * 1000000L } };

	return timerfd_settime(a->grace.fd, 0, &its, NULL);
}

void
power_begin(struct agent *a, int reboot_cmd, uint32_t grace_ms)
{
	if (a->reboot_cmd != 0) {
		if (grace_ms > 0)
			(void)grace_set(a, grace_ms);
		return;
	}
	a->reboot_cmd = reboot_cmd;
	a->grace = (struct watch){ .fn = on_grace, .arg = a };
	a->grace.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (a->grace.fd < 0 ||
	    grace_set(a, grace_ms > 0 ? grace_ms : GRACE_MS) < 0 ||
	    loop_watch(&a->grace, EPOLLIN) < 0)
		power_now(a);
	(void)exec_signal_all(SIGTERM);
	(void)detach_signal_all(SIGTERM);
	port_flush(&a->port); /* the answer, before all ends */
	power_step(a);
}

/* What the workload's pid 1 was told: one byte each. */
static void
on_ask(void *arg, uint32_t events)
{
	struct agent *a = arg;
	char what = 0;

	(void)events;
	if (read(a->work.ask.fd, &what, 1) != 1) {
		loop_unwatch(&a->work.ask); /* it has ended */
		return;
	}
	log_info(
	    "the workload asks for %s", what == 'r' ? "a reboot" : "power-off");
	power_begin(a, what == 'r' ? RB_AUTOBOOT : RB_POWER_OFF, 0);
}

void
power_listen(struct agent *a)
{
	a->work.ask.fn = on_ask;
	a->work.ask.arg = a;
	(void)loop_watch(&a->work.ask, EPOLLIN);
}
