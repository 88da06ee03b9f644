#include <event2/event.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/num.h"
#include "warden/agent.h"
#include "warden/backend.h"
#include "warden/compose.h"
#include "warden/console.h"
#include "warden/warden.h"

void
warden_news(struct warden *w)
{
	if (w->greeted && memcmp(&w->state, &w->told, sizeof(w->state)) != 0)
		warden_tell(w, 0);
}

static void
set_detail(struct warden *w, const char *detail)
{
	if (detail == NULL)
		return;
	memset(w->state.detail, 0, sizeof(w->state.detail));
	(void)snprintf(w->state.detail, sizeof(w->state.detail), "%s", detail);
}

/* Why it reset itself: what its console said last, and its agent. */
static void
find_cause(struct warden *w)
{
	char wordless[sizeof(w->state.detail)];
	const char *why;

	console_drain(w->console); /* that is on its way */
	agent_drain(w->agent);
	if ((why = console_panic(w->console)) == NULL)
		why = console_last(w->console);
	else
		/* before its driver for that is there, and where there is no
		 * device for it, a kernel that gives up can only reset */
		w->state.guest_event = EXIT_GUEST_PANIC;
	if (w->state.guest_event == EXIT_GUEST_REBOOT &&
	    agent_owes_word(w->agent)) {
		w->state.guest_event = EXIT_GUEST_PANIC;
		(void)snprintf(wordless, sizeof(wordless),
		    "it reset itself, and not by its agent; console: %s", why);
		why = wordless;
	}
	if (w->state.detail[0] == '\0')
		set_detail(w, why);
}

static void
on_vmm_news(void *arg, const struct vmm_news *n)
{
	struct warden *w = arg;

	if (n->running && !w->state.running)
		agent_look(w->agent); /* its clock stood */
	w->state.qmp = n->up;
	w->state.running = n->running;
	w->state.halted = n->halted;
	w->state.guest_event = (uint32_t)n->guest_event;
	set_detail(w, n->detail);
	if (n->guest_event == EXIT_GUEST_REBOOT ||
	    n->guest_event == EXIT_GUEST_PANIC)
		find_cause(w);
	warden_news(w);
}

static void
on_agent_news(void *arg, const struct agent_news *n)
{
	struct warden *w = arg;

	w->state.agent = n->up;
	w->state.ready = n->ready;
	w->state.mute = n->mute;
	w->state.need_spec = n->need_spec;
	set_detail(w, n->detail);
	warden_news(w);
}

static void
on_agent_down(void *arg)
{
	struct warden *w = arg;

	streams_agent_down(&w->streams);
}

static void
on_agent_key(void *arg, const uint8_t *key)
{
	struct warden *w = arg;

	vsock_key(&w->vsock, key);
}

static void
on_console_more(void *arg)
{
	struct warden *w = arg;

	streams_console_more(&w->streams);
}

static const struct vmm_ops vmm_ops = { .news = on_vmm_news };
static const struct agent_ops agent_ops = {
	.news = on_agent_news, .down = on_agent_down, .key = on_agent_key
};
static const struct console_ops console_ops = { .more = on_console_more };

static void
on_term(int sig, short what, void *arg)
{
	struct warden *w = arg;

	(void)sig;
	(void)what;
	(void)event_base_loopbreak(w->base);
}

static void
warden_open(struct warden *w)
{
	w->base = loop_new();
	w->state.version = WARD_VERSION;
	w->term = evsignal_new(w->base, SIGTERM, on_term, w);
	if (w->term == NULL || event_add(w->term, NULL) < 0)
		fatal("signals");
	w->vmm = w->backend->open(w->base, &vmm_ops, w);
	w->console = console_new(w->base, WARDEN_LOG, &console_ops, w);
	w->agent = agent_new(w->base, &agent_ops, w);
	if (w->vmm == NULL || w->console == NULL || w->agent == NULL)
		fatal("out of memory");
	vsock_init(&w->vsock, w->base);
	streams_init(&w->streams, w->base, w->agent, &w->vsock, w->console);
}

static int
serve(uid_t launchd_uid)
{
	struct warden w = { .backend = &qemu_backend,
		.listener = WARDEN_LISTENER,
		.launchd_uid = launchd_uid };

	/* the hypervisor has our uid: it must not look into us, or take our
	 * descriptors (ptrace(2), pidfd_getfd(2)) */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		fatal("PR_SET_DUMPABLE: %m");
	fds_expect(WARDEN_NFDS);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) /* allowed: disposition */
		fatal("SIGPIPE: %m");
	tzset(); /* gmtime_r(3) would open a file at the first log line */
	warden_open(&w);
	warden_filter();
	(void)malloc_trim(0); /* the filter's making; there are many of us */
	warden_listen(&w);
	if (event_base_dispatch(w.base) < 0)
		fatal("event loop");
	return 0; /* the kernel closes what an exit leaves */
}

int
main(int argc, char *argv[])
{
	long long uid;

	log_init("warden", LOG_INFO);
	if (argc == 2 && strcmp(argv[1], "-x") == 0)
		compose_exec(&qemu_backend);
	if (argc != 2 || num_parse(argv[1], 0, UINT32_MAX - 1, &uid) < 0)
		fatal("usage: mews-warden -x | UID");
	return serve((uid_t)uid);
}
