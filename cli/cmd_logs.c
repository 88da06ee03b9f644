#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/esc.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/tail.h"
#include "cli/vm.h"
#include "common/num.h"
#include "common/url.h"
#include "common/when.h"

#define LINES_MAX 1000000
#define TAIL_TARGET_MAX (WHEN_MAX * 3 + 64)
#define HISTORY_MS 200 /* of silence: what was kept has been sent */

struct logs {
	bool console, vmm; /* which one; neither is an error */
	bool follow, raw, has_tail;
	uint32_t lines;
	const char *since; /* NULL: all that is kept */
	bool escape;
	struct esc esc;
	struct tail tail; /* while the history comes, with has_tail */
};

static int
show(struct logs *l, const char *p, size_t len)
{
	char out[(1024 + sizeof(l->esc.hold)) * ESC_GROWTH];
	size_t n, w;
	int r;

	if (!l->escape)
		return out_bytes(p, len);
	for (; len > 0; p += n, len -= n) {
		n = len < 1024 ? len : 1024;
		w = esc_feed(&l->esc, p, n, out);
		if ((r = out_bytes(out, w)) < 0)
			return r;
	}
	return 0;
}

static int
on_bytes(void *arg, const char *p, size_t len)
{
	struct logs *l = arg;

	if (!l->has_tail)
		return show(l, p, len);
	tail_add(&l->tail, p, len);
	return 0;
}

/* The history is over: its last lines, and from now on all that comes. */
static int
on_idle(void *arg)
{
	struct logs *l = arg;
	const char *p;
	size_t len;

	if (!l->has_tail)
		return 0;
	l->has_tail = false;
	p = tail_get(&l->tail, &len);
	return show(l, p, len);
}

/* "/console-log?follow=1&since=10m" */
static int
tail_of(const struct logs *l, char tail[TAIL_TARGET_MAX], struct err *e)
{
	char since[WHEN_MAX * 3 + 1] = "";

	if (l->since != NULL && url_encode(since, sizeof(since), l->since) < 0)
		return err_set(e, -EINVAL, "--since: too long");
	(void)snprintf(tail, TAIL_TARGET_MAX, "/%s-log%s%s%s%s",
	    l->vmm ? "vmm" : "console",
	    l->follow || l->since != NULL ? "?" : "",
	    l->follow ? "follow=1" : "",
	    l->follow && l->since != NULL ? "&since="
		: l->since != NULL	  ? "since="
					  : "",
	    since);
	return 0;
}

static int
read_log(struct cli *c, const char *name, struct logs *l, struct err *e)
{
	char target[API_TARGET_MAX], rest[sizeof(l->esc.hold) * ESC_GROWTH];
	char tail[TAIL_TARGET_MAX];
	struct api_request rq = { .method = "GET",
		.target = target,
		.sink = on_bytes,
		.idle = l->follow && l->has_tail ? on_idle : NULL,
		.idle_ms = HISTORY_MS,
		.arg = l };
	struct api_reply rp = { 0 };
	int r;

	esc_init(&l->esc, ESC_LINES);
	if ((r = tail_of(l, tail, e)) < 0 ||
	    (r = vm_target(target, "/api/v1/vms/", name, tail, e)) < 0)
		return r;
	if (l->has_tail && (r = tail_init(&l->tail, l->lines)) < 0)
		return err_set(e, r, "out of memory");
	if ((r = api_call(c->api, &rq, &rp, e)) == 0 && rp.status != 200)
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, name, e);
	else
		(void)on_idle(l);
	(void)out_bytes(rest, esc_end(&l->esc, rest));
	api_reply_free(&rp);
	tail_free(&l->tail);
	return r;
}

enum { O_CONSOLE = OPT_FIRST, O_VMM, O_RAW, O_SINCE };

static int
take_tail(struct cli *c, struct logs *l)
{
	long long v;

	if (num_parse(optarg, 0, LINES_MAX, &v) < 0) {
		(void)cli_usage(c,
		    "--tail %.32s: it is a number of lines, 0 to %d", optarg,
		    LINES_MAX);
		return OPT_BAD;
	}
	l->has_tail = true;
	l->lines = (uint32_t)v;
	return 0;
}

/* One option: 0, what opt_next() said, or OPT_BAD. */
static int
take(struct cli *c, struct logs *l, int opt)
{
	switch (opt) {
	case O_CONSOLE:
		l->console = opt_flag();
		return 0;
	case O_VMM:
		l->vmm = opt_flag();
		return 0;
	case 'f':
		l->follow = opt_flag();
		return 0;
	case O_RAW:
		l->raw = opt_flag();
		return 0;
	case O_SINCE:
		return opt_since(c, &l->since);
	case 'n':
		return take_tail(c, l);
	default:
		return opt;
	}
}

int
cmd_logs(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "console", no_argument, NULL, O_CONSOLE },
		{ "vmm", no_argument, NULL, O_VMM },
		{ "follow", no_argument, NULL, 'f' },
		{ "raw", no_argument, NULL, O_RAW },
		{ "since", required_argument, NULL, O_SINCE },
		{ "tail", required_argument, NULL, 'n' },
		OPT_COMMON,
		OPT_LAST,
	};
	struct logs l = { 0 };
	struct err e = { 0 };
	int o, r;

	while ((o = opt_next(c, argc, argv, ":fn:", longs)) != OPT_END) {
		if ((r = take(c, &l, o)) != 0)
			return r == OPT_HELP ? 0 : EXIT_OURS;
	}
	if (argc - optind != 1)
		return cli_usage(c, "which one VM?");
	if (l.console && l.vmm)
		return cli_usage(c, "one log at a time: --console or --vmm");
	if (!l.console && !l.vmm)
		return cli_usage(c,
		    "which log? --console is the guest's console, --vmm the "
		    "hypervisor's; no other is kept so far");
	l.escape = !l.raw && isatty(STDOUT_FILENO);
	r = read_log(c, argv[optind], &l, &e);
	return r < 0 ? cli_fail(c, r, &e) : 0;
}
