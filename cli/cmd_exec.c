#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/env.h"
#include "cli/opt.h"
#include "cli/session.h"
#include "cli/sig.h"
#include "cli/vm.h"

int
attach_words(
    struct exec_request *rq, int argc, char *const argv[], struct err *e)
{
	int i, r;

	for (i = 0; i < argc; i++) {
		r = strs_add(
		    &rq->cmd, argv[i], strlen(argv[i]), CMD_MAX, CMD_BYTES_MAX);
		if (r < 0)
			return err_set(e, r, "%s",
			    r == -E2BIG ? "the command is too long"
					: "out of memory");
	}
	return 0;
}

int
attach_end(struct cli *c, int r, int code, const struct err *e)
{
	switch (r) {
	case 0:
		return code;
	case -EINTR:
		return EXIT_SIGNAL + (sig_asked() != 0 ? sig_asked() : SIGINT);
	case -EPIPE: /* as if SIGPIPE had come: the reader had enough */
		return EXIT_SIGNAL + SIGPIPE;
	default:
		cli_error(c, "%s", e->msg);
		return EXIT_OURS;
	}
}

struct opts {
	bool in, tty;
	const char *cwd;
	struct env env;
};

/* 0, or what opt_next() or the environment had against it. */
static int
parse(struct cli *c, struct opts *o, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "interactive", no_argument, NULL, 'i' },
		{ "tty", no_argument, NULL, 't' },
		{ "env", required_argument, NULL, 'e' },
		{ "env-file", required_argument, NULL, OPT_FIRST },
		{ "workdir", required_argument, NULL, 'w' },
		OPT_COMMON,
		OPT_LAST,
	};
	struct err e = { 0 };
	int opt, r;

	while ((opt = opt_next(c, argc, argv, "+:ite:w:", longs)) != OPT_END) {
		r = 0;
		switch (opt) {
		case 'i':
			o->in = true;
			break;
		case 't':
			o->tty = true;
			break;
		case 'e':
			r = env_add(&o->env, optarg, &e);
			break;
		case OPT_FIRST:
			r = env_file(&o->env, optarg, &e);
			break;
		case 'w':
			o->cwd = optarg;
			break;
		default:
			return opt;
		}
		if (r < 0) {
			cli_error(c, "%s", e.msg);
			return OPT_BAD;
		}
	}
	return 0;
}

static int
fill(const struct opts *o, int argc, char *argv[], struct exec_request *rq,
    struct err *e)
{
	int r;

	rq->stdin = o->in;
	rq->tty = o->tty;
	if ((r = attach_words(rq, argc, argv, e)) < 0 ||
	    (r = env_strs(&o->env, &rq->env, e)) < 0)
		return r;
	if (o->cwd != NULL &&
	    snprintf(rq->cwd, sizeof(rq->cwd), "%s", o->cwd) >=
		(int)sizeof(rq->cwd))
		return err_set(e, -EINVAL, "the directory's path is too long");
	return table_check(&exec_request_table, rq, e);
}

int
cmd_exec(struct cli *c, int argc, char *argv[])
{
	struct opts o = { 0 };
	struct exec_request rq = { 0 };
	struct err e = { 0 };
	int r, code = 0, status;

	if ((r = parse(c, &o, argc, argv)) != 0) {
		status = r == OPT_HELP ? 0 : EXIT_OURS;
		goto out;
	}
	if (argc - optind < 2) {
		status = cli_usage(
		    c, argc == optind ? "which VM?" : "which command?");
		goto out;
	}
	if (o.tty && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))) {
		status = cli_usage(c, "-t needs a terminal: leave it out");
		goto out;
	}
	r = fill(&o, argc - optind - 1, argv + optind + 1, &rq, &e);
	if (r == 0 && (r = sig_open()) < 0)
		err_errno(&e, r, "signals");
	if (r == 0)
		r = session_exec(c, argv[optind], &rq, &code, &e);
	status = attach_end(c, r, code, &e);
out:
	table_clear(&exec_request_table, &rq);
	env_clear(&o.env);
	return status;
}

int
cmd_console(struct cli *c, int argc, char *argv[])
{
	struct err e = { 0 };
	int r;

	r = opt_none(c, argc, argv);
	if (r != 0)
		return r == OPT_HELP ? 0 : EXIT_OURS;
	if (argc - optind != 1)
		return cli_usage(c, "which one VM?");
	if ((r = sig_open()) < 0)
		err_errno(&e, r, "signals");
	if (r == 0 && isatty(STDIN_FILENO))
		(void)fprintf(
		    stderr, "mews: Ctrl-] then . leaves the console\r\n");
	if (r == 0)
		r = session_console(c, argv[optind], &e);
	return attach_end(c, r, 0, &e);
}
