#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/env.h"
#include "cli/name.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/session.h"
#include "cli/sig.h"
#include "cli/size.h"
#include "cli/vm.h"
#include "cli/words.h"
#include "common/clock.h"
#include "common/num.h"

#define DEFAULT_CPUS 1
#define DEFAULT_MEMORY_MB 256
#define READY_MS 120000
#define GONE_MS 120000
#define NAME_TRIES 8
#define NS_PER_S INT64_C(1000000000)

struct run {
	bool detach, rm, in, tty;
	const char *name, *kernel_cmdline, *hostname, *cwd;
	uint32_t cpus, memory_mb;
	struct env env;
	const char *image;
	int argc; /* of the command */
	char **argv;
	struct vm_view vm;
	int64_t begun; /* seconds since 1970: before anything was asked */
};

static int
parse_cpus(const char *s, uint32_t *ret, struct err *e)
{
	long long v;

	if (num_parse(s, 1, VM_CPUS_MAX, &v) < 0)
		return err_set(e, -EINVAL,
		    "--cpus %.32s is no number of CPUs: 1 to %d", s,
		    VM_CPUS_MAX);
	*ret = (uint32_t)v;
	return 0;
}

enum { O_NAME = OPT_FIRST, O_RM, O_CPUS, O_ENV_FILE, O_CMDLINE, O_HOSTNAME };

static int
take(struct run *run, int opt, struct err *e)
{
	struct err why = { 0 };

	switch (opt) {
	case 'd':
		run->detach = opt_flag();
		return 0;
	case 'i':
		run->in = opt_flag();
		return 0;
	case 't':
		run->tty = opt_flag();
		return 0;
	case 'w':
		return attach_cwd(run->cwd = optarg, e);
	case O_HOSTNAME:
		run->hostname = optarg;
		if (name_check_hostname(optarg, strlen(optarg), &why) < 0)
			return err_set(
			    e, -EINVAL, "--hostname: %.160s", why.msg);
		return 0;
	case O_NAME:
		run->name = optarg;
		if (name_check(optarg, strlen(optarg), &why) < 0)
			return err_set(e, -EINVAL, "--name: %.160s", why.msg);
		return 0;
	case O_RM:
		run->rm = opt_flag();
		return 0;
	case O_CPUS:
		return parse_cpus(optarg, &run->cpus, e);
	case 'm':
		return size_parse_mib(
		    optarg, VM_MEMORY_MB_MAX, &run->memory_mb, e);
	case 'e':
		return env_add(&run->env, optarg, e);
	case O_ENV_FILE:
		return env_file(&run->env, optarg, e);
	case O_CMDLINE:
		run->kernel_cmdline = optarg;
		if (strlen(optarg) > CMDLINE_EXTRA_MAX)
			return err_set(e, -EINVAL,
			    "--kernel-cmdline: more than %d bytes",
			    CMDLINE_EXTRA_MAX);
		return 0;
	default:
		return opt;
	}
}

/* 0, OPT_HELP or OPT_BAD. */
static int
parse(struct cli *c, struct run *run, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "detach", no_argument, NULL, 'd' },
		{ "interactive", no_argument, NULL, 'i' },
		{ "tty", no_argument, NULL, 't' },
		{ "name", required_argument, NULL, O_NAME },
		{ "rm", no_argument, NULL, O_RM },
		{ "cpus", required_argument, NULL, O_CPUS },
		{ "memory", required_argument, NULL, 'm' },
		{ "env", required_argument, NULL, 'e' },
		{ "env-file", required_argument, NULL, O_ENV_FILE },
		{ "kernel-cmdline", required_argument, NULL, O_CMDLINE },
		{ "hostname", required_argument, NULL, O_HOSTNAME },
		{ "workdir", required_argument, NULL, 'w' },
		OPT_COMMON,
		OPT_LAST,
	};
	struct err e = { 0 };
	int opt, r;

	while (
	    (opt = opt_next(c, argc, argv, "+:ditm:e:w:", longs)) != OPT_END) {
		r = take(run, opt, &e);
		if (r < 0)
			(void)cli_fail(c, r, &e);
		if (r != 0)
			return r < 0 ? OPT_BAD : r;
	}
	if (optind == argc) {
		(void)cli_usage(c, "which image?");
		return OPT_BAD;
	}
	run->image = argv[optind++];
	attach_skip(argc, argv);
	run->argc = argc - optind;
	run->argv = argv + optind;
	return 0;
}

/* What the options mean together; 0 or EXIT_OURS. */
static int
settle(struct cli *c, struct run *run)
{
	static char sh[] = "/bin/sh";
	static char *shell[] = { sh, NULL };

	if (run->detach && run->argc > 0)
		return cli_usage(
		    c, "-d takes no command: use `mews exec` once it is up");
	if (run->detach && (run->rm || run->tty || run->in))
		return cli_usage(
		    c, "--rm, -i and -t do not go together with -d");
	if (run->tty && !attach_on_terminal(run->in))
		return cli_usage(c, "-t needs a terminal: leave it out");
	if (!run->detach && run->argc == 0 && attach_on_terminal(true)) {
		run->argv = shell;
		run->argc = 1;
		run->in = run->tty = true;
	}
	if (run->argc == 0 && run->rm)
		return cli_usage(c, "--rm needs a command to wait for");
	if (run->argc == 0 && (run->in || run->cwd != NULL))
		return cli_usage(c, "-i and -w are for a command: which one?");
	return 0;
}

static int
fill(const struct run *run, struct vm_create *rq, struct err *e)
{
	rq->cpu_cores = (int32_t)run->cpus;
	rq->memory_mb = (int32_t)run->memory_mb;
	rq->temporary = run->rm; /* also if we do not live to remove it */
	if (snprintf(rq->image, sizeof(rq->image), "%s", run->image) >=
	    (int)sizeof(rq->image))
		return err_set(e, -EINVAL,
		    "the image's name is longer than %zu bytes",
		    sizeof(rq->image) - 1);
	if (run->name != NULL)
		(void)snprintf(rq->name, sizeof(rq->name), "%s", run->name);
	if (run->hostname != NULL)
		(void)snprintf(
		    rq->hostname, sizeof(rq->hostname), "%s", run->hostname);
	if (run->kernel_cmdline != NULL)
		(void)snprintf(rq->kernel_cmdline, sizeof(rq->kernel_cmdline),
		    "%s", run->kernel_cmdline);
	return env_strs(&run->env, ENV_BYTES_MAX, &rq->env, e);
}

/* A name of our own choice that is taken is no fault: another is chosen. */
static int
create(struct cli *c, struct run *run, struct vm_create *rq, struct err *e)
{
	bool taken;
	int r = -EEXIST, i = 0;
	uint16_t salt;

	do {
		taken = false;
		if (run->name == NULL) {
			if (getrandom(&salt, sizeof(salt), 0) !=
			    (ssize_t)sizeof(salt))
				return err_set(e, -EIO, "no random numbers");
			name_from_image(run->image, salt, rq->name);
		}
		if ((r = table_check(&vm_create_table, rq, e)) == 0)
			r = vm_create_new(c, rq, &run->vm, &taken, e);
		if (r < 0)
			words_ours(words_run, e);
	} while (taken && run->name == NULL && ++i < NAME_TRIES);
	if (r < 0 && vm_is_missing(c))
		err_set(e, r,
		    "there is no image %.80s: `mews help run` names those "
		    "that are there",
		    run->image);
	return r;
}

static int
attach(
    struct cli *c, struct run *run, const char *ref, int *code, struct err *e)
{
	struct exec_request rq = { .stdin = run->in, .tty = run->tty };
	int r;

	if (run->cwd != NULL)
		(void)snprintf(rq.cwd, sizeof(rq.cwd), "%s", run->cwd);

	r = attach_words(&rq, run->argc, run->argv, e);
	if (r == 0)
		r = session_exec(c, ref, &rq, code, e);
	table_clear(&exec_request_table, &rq);
	return r;
}

static void
show_up(const struct cli *c, const struct run *run)
{
	struct jbuf b;

	if (!c->json) {
		out_line(stdout, run->vm.name);
		return;
	}
	jbuf_init(&b, TABLE_JSON_MAX);
	table_encode(&vm_table, 0, &run->vm, &b);
	if (b.r == 0)
		out_json_line(stdout, b.p, b.len);
	jbuf_free(&b);
}

/* The VM must not stay.  Another signal gives up. */
static int
clean_up(struct cli *c, const struct run *run, const char *ref)
{
	struct err e = { 0 };
	int r;

	sig_forget();
	r = vm_delete(c, ref, &e);
	if (r < 0 && vm_is_missing(c))
		return 0;
	if (r == 0)
		r = vm_wait_gone(c, ref, GONE_MS, &e);
	if (r == 0)
		return 0;
	cli_error(c, "VM %s may still be there: %s (try `mews rm -f %s`)",
	    run->vm.name, r == -EINTR ? "interrupted" : e.msg, run->vm.name);
	return r;
}

static void
say_stays(const struct cli *c, const char *name)
{
	if (!c->json)
		(void)fprintf(stderr,
		    "mews: VM %s stays (`mews rm -f %s` removes it)\n", name,
		    name);
}

/*
 * The create did not end well: was a VM made all the same?  It has the name
 * that no other had before, and is no older than this program.
 */
static void
after_failure(struct cli *c, struct run *run, const char *name)
{
	char ref[VM_REF_MAX];
	struct err e = { 0 };
	int r;

	/* what was asked wrongly, and what was never sent, made nothing */
	if (api_status(c->api) != 0 ? api_status(c->api) < 500
				    : !api_maybe_done(c->api))
		return;
	sig_forget();
	r = vm_get(c, name, &run->vm, &e);
	if (r < 0 && vm_is_missing(c))
		return;
	if (r < 0) {
		cli_error(c,
		    "it is not known whether VM %s was made: see `mews ps -a`",
		    name);
		return;
	}
	if (run->vm.created_at / NS_PER_S < run->begun ||
	    strcmp(run->vm.image, run->image) != 0)
		return;
	vm_ref(&run->vm, ref);
	if (run->rm)
		(void)clean_up(c, run, ref);
	else
		say_stays(c, name);
}

static int
run_vm(struct cli *c, struct run *run, struct err *e)
{
	char ref[VM_REF_MAX];
	int r, code = 0, status;

	vm_ref(&run->vm, ref);
	r = vm_wait(c, ref, READY_MS, vm_is_ready, &run->vm, e);
	if (r == 0 && run->argc == 0)
		show_up(c, run);
	else if (r == 0)
		r = attach(c, run, ref, &code, e);
	status = r < 0 ? cli_fail(c, r, e) : code;
	if (run->rm && clean_up(c, run, ref) < 0 && status == 0)
		status = EXIT_OURS;
	if (r == 0 && run->argc == 0)
		r = out_flush(); /* else nobody knows its name */
	if (!run->rm && (r < 0 || isatty(STDERR_FILENO)) &&
	    (run->argc > 0 || r < 0))
		say_stays(c, run->vm.name);
	return status;
}

int
cmd_run(struct cli *c, int argc, char *argv[])
{
	struct run run = { .cpus = DEFAULT_CPUS,
		.memory_mb = DEFAULT_MEMORY_MB };
	struct vm_create rq = { 0 };
	struct err e = { 0 };
	int r, status = EXIT_OURS;

	if ((r = parse(c, &run, argc, argv)) != 0) {
		status = r == OPT_HELP ? 0 : EXIT_OURS;
		goto out;
	}
	if (settle(c, &run) != 0)
		goto out;
	run.begun = clock_wall_ns() / NS_PER_S;
	if ((r = sig_open()) < 0)
		err_errno(&e, r, "signals");
	if (r == 0 && (r = fill(&run, &rq, &e)) == 0 &&
	    (r = create(c, &run, &rq, &e)) == 0) {
		status = run_vm(c, &run, &e);
		goto out;
	}
	status = cli_fail(c, r, &e);
	after_failure(c, &run, rq.name);
out:
	table_clear(&vm_create_table, &rq);
	env_clear(&run.env);
	return status;
}
