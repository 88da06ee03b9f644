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

#define LINES_MAX 1000000
#define HISTORY_MS 200 /* of silence: what was kept has been sent */

struct logs {
	bool follow, raw, has_tail;
	uint32_t lines;
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

static int
console(struct cli *c, const char *name, struct logs *l, struct err *e)
{
	char target[API_TARGET_MAX], rest[sizeof(l->esc.hold) * ESC_GROWTH];
	struct api_request rq = { .method = "GET",
		.target = target,
		.sink = on_bytes,
		.idle = l->follow && l->has_tail ? on_idle : NULL,
		.idle_ms = HISTORY_MS,
		.arg = l };
	struct api_reply rp = { 0 };
	int r;

	esc_init(&l->esc, ESC_LINES);
	r = vm_target(target, "/api/v1/vms/", name,
	    l->follow ? "/console-log?follow=1" : "/console-log", e);
	if (r < 0)
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

enum { O_CONSOLE = OPT_FIRST, O_RAW, O_TAIL };

/* One option: 0, what opt_next() said, or OPT_BAD. */
static int
take(struct cli *c, struct logs *l, bool *is_console, int opt)
{
	long long v;

	switch (opt) {
	case O_CONSOLE:
		*is_console = opt_flag();
		return 0;
	case 'f':
		l->follow = opt_flag();
		return 0;
	case O_RAW:
		l->raw = opt_flag();
		return 0;
	case 'n':
		if (num_parse(optarg, 0, LINES_MAX, &v) < 0) {
			(void)cli_usage(c,
			    "--tail %.32s: it is a number of lines, 0 to %d",
			    optarg, LINES_MAX);
			return OPT_BAD;
		}
		l->has_tail = true;
		l->lines = (uint32_t)v;
		return 0;
	default:
		return opt;
	}
}

int
cmd_logs(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "console", no_argument, NULL, O_CONSOLE },
		{ "follow", no_argument, NULL, 'f' },
		{ "raw", no_argument, NULL, O_RAW },
		{ "tail", required_argument, NULL, 'n' },
		OPT_COMMON,
		OPT_LAST,
	};
	struct logs l = { 0 };
	bool is_console = false;
	struct err e = { 0 };
	int o, r;

	while ((o = opt_next(c, argc, argv, ":fn:", longs)) != OPT_END) {
		if ((r = take(c, &l, &is_console, o)) != 0)
			return r == OPT_HELP ? 0 : EXIT_OURS;
	}
	if (argc - optind != 1)
		return cli_usage(c, "which one VM?");
	if (!is_console)
		return cli_usage(
		    c, "only the console is kept so far: add --console");
	l.escape = !l.raw && isatty(STDOUT_FILENO);
	r = console(c, argv[optind], &l, &e);
	return r < 0 ? cli_fail(c, r, &e) : 0;
}
