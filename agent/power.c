#include <errno.h>
#include <signal.h>
#include <stdbool.h>
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
#define WORD_MS 2000 /* a warden that is started anew is back by then */

static void
power_now(struct agent *a)
{
	port_flush(&a->port);
	console_flush();
	guest_power(a->reboot_cmd);
}

/* 0 or a negative errno. */
static int
timer_again(const struct watch *w, uint32_t ms)
{
	const struct itimerspec its = { .it_value = { .tv_sec = ms / 1000,
					    .tv_nsec = ms % 1000 * 1000000L } };

	return timerfd_settime(w->fd, 0, &its, NULL) < 0 ? -errno : 0;
}

/* 0, or a negative errno and no timer. */
static int
timer_set(struct watch *w, uint32_t ms, void (*fn)(void *, uint32_t), void *arg)
{
	int r;

	*w = (struct watch){ .fn = fn, .arg = arg };
	w->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (w->fd < 0)
		return -errno;
	if ((r = timer_again(w, ms)) < 0)
		return r;
	return loop_watch(w, EPOLLIN);
}

static void
on_heard(void *arg)
{
	power_now(arg);
}

static void
on_unheard(void *arg, uint32_t events)
{
	(void)events;
	power_now(arg);
}

/* Nothing is left to wait for but that the last word is heard. */
static void
power_word(struct agent *a)
{
	const bool again = a->reboot_cmd == RB_AUTOBOOT;

	if (a->word.text != NULL)
		return;
	a->word.heard = on_heard;
	a->word.arg = a;
	if (!word_say(&a->word,
		again ? "{\"end\":\"reboot\"}" : "{\"end\":\"off\"}") ||
	    timer_set(&a->unheard, WORD_MS, on_unheard, a) < 0)
		power_now(a);
	port_flush(&a->port);
}

static void
on_grace(void *arg, uint32_t events)
{
	(void)events;
	power_word(arg);
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
		power_word(a);
	else
		(void)kill(a->work.pid, SIGTERM);
}

void
power_begin(struct agent *a, int reboot_cmd, uint32_t grace_ms)
{
	if (a->reboot_cmd != 0) {
		if (grace_ms > 0)
			(void)timer_again(&a->grace, grace_ms);
		return;
	}
	a->reboot_cmd = reboot_cmd;
	if (timer_set(
		&a->grace, grace_ms > 0 ? grace_ms : GRACE_MS, on_grace, a) < 0)
		power_word(a);
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
