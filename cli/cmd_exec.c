#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/env.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/session.h"
#include "cli/sig.h"
#include "cli/vm.h"
#include "cli/words.h"

int
attach_words(
    struct exec_request *rq, int argc, char *const argv[], struct err *e)
{
	int i, r;

	for (i = 0; i < argc; i++) {
		r = strs_add(
		    &rq->cmd, argv[i], strlen(argv[i]), CMD_MAX, CMD_BYTES_MAX);
		if (r < 0)
			return r == -E2BIG
			    ? err_set(e, r,
				  "a command has at most %d words and %d "
				  "bytes: send a longer one as a script (mews "
				  "exec -i VM sh < FILE)",
				  CMD_MAX, CMD_BYTES_MAX)
			    : err_set(e, r, "out of memory");
	}
	return 0;
}

int
attach_cwd(const char *dir, struct err *e)
{
	const size_t max = sizeof(((struct exec_request *)0)->cwd) - 1;
	const char *p;

	if (dir[0] != '/')
		return err_set(e, -EINVAL,
		    "-w %.80s: must be an absolute path, one that begins with "
		    "a slash",
		    dir);
	for (p = dir; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return err_set(e, -EINVAL,
			    "-w: there is a control character in the "
			    "directory's path");
	}
	if (strlen(dir) > max)
		return err_set(e, -EINVAL,
		    "-w: the directory's path is longer than %zu bytes", max);
	return 0;
}

void
attach_skip(int argc, char *const argv[])
{
	if (optind < argc && strcmp(argv[optind], "--") == 0)
		optind++;
}

bool
attach_on_terminal(bool in)
{
	return isatty(STDOUT_FILENO) && (!in || isatty(STDIN_FILENO));
}

struct opts {
	bool in, tty, detach;
	const char *cwd, *user;
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
		{ "user", required_argument, NULL, 'u' },
		{ "detach", no_argument, NULL, 'd' },
		OPT_COMMON,
		OPT_LAST,
	};
	struct err e = { 0 };
	int opt, r;

	while (
	    (opt = opt_next(c, argc, argv, "+:dite:w:u:", longs)) != OPT_END) {
		r = 0;
		switch (opt) {
		case 'i':
			o->in = opt_flag();
			break;
		case 't':
			o->tty = opt_flag();
			break;
		case 'd':
			o->detach = opt_flag();
			break;
		case 'u':
			o->user = optarg;
			break;
		case 'e':
			r = env_add(&o->env, optarg, &e);
			break;
		case OPT_FIRST:
			r = env_file(&o->env, optarg, &e);
			break;
		case 'w':
			r = attach_cwd(o->cwd = optarg, &e);
			break;
		default:
			return opt;
		}
		if (r < 0) {
			(void)cli_fail(c, r, &e);
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
	    (r = env_strs(&o->env, CMD_ENV_BYTES_MAX, &rq->env, e)) < 0)
		return r;
	if (o->cwd != NULL)
		(void)snprintf(rq->cwd, sizeof(rq->cwd), "%s", o->cwd);
	if (o->user != NULL &&
	    snprintf(rq->user, sizeof(rq->user), "%s", o->user) >=
		(int)sizeof(rq->user))
		return err_set(
		    e, -EINVAL, "-u: at most %zu bytes", sizeof(rq->user) - 1);
	if ((r = table_check(&exec_request_table, rq, e)) < 0)
		words_ours(words_exec, e);
	return r;
}

/* 0, or what the options do not mean together. */
static int
settle(struct cli *c, const struct opts *o)
{
	if (o->detach && (o->in || o->tty))
		return cli_usage(c, "-i and -t do not go together with -d");
	if (o->user != NULL && o->user[0] == '\0')
		return cli_usage(c, "-u: which user?");
	if (o->tty && !attach_on_terminal(o->in))
		return cli_usage(c, "-t needs a terminal: leave it out");
	return 0;
}

static int
detached(struct cli *c, const char *name, const struct exec_request *rq,
    struct err *e)
{
	int32_t pid = 0;
	char text[32];
	int r = vm_exec_detached(c, name, rq, &pid, e);

	if (r < 0)
		return r;
	(void)snprintf(
	    text, sizeof(text), c->json ? "{\"pid\":%d}" : "%d", pid);
	out_line(stdout, text);
	return 0;
}

int
cmd_exec(struct cli *c, int argc, char *argv[])
{
	struct opts o = { 0 };
	struct exec_request rq = { 0 };
	struct err e = { 0 };
	const char *name;
	int r, code = 0, status;

	if ((r = parse(c, &o, argc, argv)) != 0) {
		status = r == OPT_HELP ? 0 : EXIT_OURS;
		goto out;
	}
	if (optind == argc) {
		status = cli_usage(c, "which VM?");
		goto out;
	}
	name = argv[optind++];
	attach_skip(argc, argv);
	if (optind == argc) {
		status = cli_usage(c, "which command?");
		goto out;
	}
	if ((status = settle(c, &o)) != 0)
		goto out;
	r = fill(&o, argc - optind, argv + optind, &rq, &e);
	if (r == 0 && (r = sig_open()) < 0)
		err_errno(&e, r, "signals");
	if (r == 0)
		r = o.detach ? detached(c, name, &rq, &e)
			     : session_exec(c, name, &rq, &code, &e);
	status = r < 0 ? cli_fail(c, r, &e) : code;
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
	return r < 0 ? cli_fail(c, r, &e) : 0;
}
