#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/esc.h"
#include "cli/opt.h"
#include "cli/vm.h"
#include "common/fds.h"

struct logs {
	bool escape;
	struct esc esc;
};

static int
on_bytes(void *arg, const char *p, size_t len)
{
	struct logs *l = arg;
	char out[(1024 + sizeof(l->esc.hold)) * ESC_GROWTH];
	size_t n, w;
	int r;

	if (!l->escape)
		return fd_write_all(STDOUT_FILENO, p, len);
	for (; len > 0; p += n, len -= n) {
		n = len < 1024 ? len : 1024;
		w = esc_feed(&l->esc, p, n, out);
		if ((r = fd_write_all(STDOUT_FILENO, out, w)) < 0)
			return r;
	}
	return 0;
}

static int
console(struct cli *c, const char *name, bool follow, bool raw, struct err *e)
{
	struct logs l = { .escape = !raw && isatty(STDOUT_FILENO) };
	char target[API_TARGET_MAX], rest[sizeof(l.esc.hold) * ESC_GROWTH];
	struct api_request rq = {
		.method = "GET", .target = target, .sink = on_bytes, .arg = &l
	};
	struct api_reply rp = { 0 };
	size_t n;
	int r;

	esc_init(&l.esc, ESC_LINES);
	r = vm_target(target, "/api/v1/vms/", name,
	    follow ? "/console-log?follow=1" : "/console-log", e);
	if (r < 0)
		return r;
	if ((r = api_call(c->api, &rq, &rp, e)) == 0 && rp.status != 200)
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, name, e);
	if (r < 0 && e->msg[0] == '\0')
		err_errno(e, r, "cannot write");
	n = esc_end(&l.esc, rest);
	(void)fd_write_all(STDOUT_FILENO, rest, n);
	api_reply_free(&rp);
	return r;
}

int
cmd_logs(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "console", no_argument, NULL, 'c' },
		{ "follow", no_argument, NULL, 'f' },
		{ "raw", no_argument, NULL, 'r' },
		OPT_COMMON,
		OPT_LAST,
	};
	bool is_console = false, follow = false, raw = false;
	struct err e = { 0 };
	int o;

	while ((o = opt_next(c, argc, argv, ":f", longs)) != OPT_END) {
		switch (o) {
		case 'c':
			is_console = true;
			break;
		case 'f':
			follow = true;
			break;
		case 'r':
			raw = true;
			break;
		default:
			return o == OPT_HELP ? 0 : EXIT_OURS;
		}
	}
	if (argc - optind != 1)
		return cli_usage(c, "which one VM?");
	if (!is_console)
		return cli_usage(
		    c, "only the console is kept so far: add --console");
	if (console(c, argv[optind], follow, raw, &e) < 0) {
		cli_error(c, "%s", e.msg);
		return EXIT_OURS;
	}
	return 0;
}
