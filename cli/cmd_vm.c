#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/vm.h"
#include "common/num.h"
#include "common/util.h"

/* start, stop, restart, kill, wait, rm: what takes several names. */

#define READY_MS 120000
#define DOWN_MS 120000 /* the whole stop ladder */
#define WAIT_S_MAX 2000000 /* 23 days, in 31 bits of ms */

enum wait_for { FOR_DOWN, FOR_READY, FOR_GONE };

struct names {
	bool force; /* rm -f */
	bool no_wait;
	enum wait_for wait_for;
	int wait_ms;
	int grace; /* seconds; -1: not said */
	uint8_t signal;
	int (*one)(struct cli *c, const struct names *n, const char *name,
	    struct err *e);
};

enum { O_NO_WAIT = OPT_FIRST, O_FOR, O_TIMEOUT };

/* A line for each that worked, an error for each that did not. */
static int
each(struct cli *c, const struct names *n, int argc, char *argv[])
{
	int i, r, status = 0;

	if (argc < 1)
		return cli_usage(c, "which VM?");
	if (argc > CLI_NAMES_MAX)
		return cli_usage(c,
		    "more than %d names at once: name them in several commands",
		    CLI_NAMES_MAX);
	for (i = 0; i < argc; i++) {
		struct err e = { 0 };

		r = n->one(c, n, argv[i], &e);
		if (r < 0)
			status = cli_fail(c, r, &e);
		if (c->json)
			out_result(
			    stdout, argv[i], r == 0, r < 0 ? e.msg : NULL);
		else if (r == 0)
			out_line(stdout, argv[i]);
		if (out_flush() < 0)
			break;
	}
	return status;
}

static int
start_one(struct cli *c, const struct names *n, const char *name, struct err *e)
{
	char ref[VM_REF_MAX];
	struct vm_view vm;
	int r;

	if ((r = vm_post(c, name, "start", &vm, e)) < 0 || n->no_wait)
		return r;
	vm_ref(&vm, ref);
	return vm_wait(c, ref, READY_MS, vm_is_ready, &vm, e);
}

static int
stop_one(struct cli *c, const struct names *n, const char *name, struct err *e)
{
	char ref[VM_REF_MAX];
	struct vm_view vm;
	int r;

	if ((r = vm_stop(c, name, n->grace, &vm, e)) < 0 || n->no_wait)
		return r;
	vm_ref(&vm, ref);
	return vm_wait(c, ref, DOWN_MS, vm_is_down, &vm, e);
}

/* By uid from the first step on: a name may mean another VM by then. */
static int
restart_one(
    struct cli *c, const struct names *n, const char *name, struct err *e)
{
	char ref[VM_REF_MAX];
	struct vm_view vm;
	int r;

	if ((r = vm_get(c, name, &vm, e)) < 0)
		return r;
	vm_ref(&vm, ref);
	if (!vm_at_rest(&vm) &&
	    ((r = vm_stop(c, ref, n->grace, &vm, e)) < 0 ||
		(r = vm_wait(c, ref, DOWN_MS, vm_is_down, &vm, e)) < 0))
		return r;
	return start_one(c, n, ref, e);
}

static int
kill_one(struct cli *c, const struct names *n, const char *name, struct err *e)
{
	uint32_t reached;

	return vm_kill(c, name, n->signal, &reached, e);
}

static int
wait_one(struct cli *c, const struct names *n, const char *name, struct err *e)
{
	char ref[VM_REF_MAX];
	struct vm_view vm;
	int r;

	if ((r = vm_get(c, name, &vm, e)) < 0)
		return n->wait_for == FOR_GONE && vm_is_missing(c) ? 0 : r;
	vm_ref(&vm, ref);
	switch (n->wait_for) {
	case FOR_DOWN:
		r = vm_wait(c, ref, n->wait_ms, vm_is_down, &vm, e);
		/* what is gone by now is down, too */
		return r < 0 && vm_is_missing(c) ? 0 : r;
	case FOR_READY:
		return vm_wait(c, ref, n->wait_ms, vm_is_ready, &vm, e);
	case FOR_GONE:
		return vm_wait_gone(c, ref, n->wait_ms, e);
	}
	return -EINVAL;
}

static int
rm_one(struct cli *c, const struct names *n, const char *name, struct err *e)
{
	char ref[VM_REF_MAX];
	struct vm_view vm;
	int r;

	r = vm_get(c, name, &vm, e);
	if (r < 0 && vm_is_missing(c) && n->force)
		return 0; /* as rm(1): it is not there, which is the aim */
	if (r < 0)
		return r;
	if (!n->force && !vm_at_rest(&vm))
		return err_set(e, -EBUSY,
		    "VM %s is %s: stop it first (`mews stop %s`), or use "
		    "`mews rm -f %s`",
		    vm.name, vm_status_names[vm.status], vm.name, vm.name);
	/* by uid: a prefix may mean another VM once this one is gone */
	vm_ref(&vm, ref);
	r = vm_delete(c, ref, e);
	if (r < 0 && vm_is_missing(c))
		return 0;
	if (r < 0 || n->no_wait)
		return r;
	return vm_wait_gone(c, ref, DOWN_MS, e);
}

/* -EINVAL with e. */
static int
take_for(const char *word, struct names *n, struct err *e)
{
	static const char *const words[] = {
		[FOR_DOWN] = "down", [FOR_READY] = "ready", [FOR_GONE] = "gone"
	};
	size_t i;

	for (i = 0; i < nitems(words); i++) {
		if (strcmp(word, words[i]) == 0) {
			n->wait_for = (enum wait_for)i;
			return 0;
		}
	}
	return err_set(
	    e, -EINVAL, "--for %.32s: it is down, ready or gone", word);
}

static int
take_timeout(const char *word, struct names *n, struct err *e)
{
	long long s;

	if (num_parse(word, 0, WAIT_S_MAX, &s) < 0)
		return err_set(e, -EINVAL,
		    "--timeout %.32s: it is a number of seconds, 0 to %d", word,
		    WAIT_S_MAX);
	n->wait_ms = (int)s * 1000;
	return 0;
}

static int
take_grace(const char *word, struct names *n, struct err *e)
{
	long long s;

	if (num_parse(word, 0, STOP_TIMEOUT_MAX_S, &s) < 0)
		return err_set(e, -EINVAL,
		    "-t %.32s: it is a number of seconds, 0 to %d", word,
		    STOP_TIMEOUT_MAX_S);
	n->grace = (int)s;
	return 0;
}

/* TERM, SIGTERM, term or 15. */
static int
take_signal(const char *word, struct names *n, struct err *e)
{
	const char *name = strncasecmp(word, "SIG", 3) == 0 ? word + 3 : word;
	long long v = 1;

	if (num_parse(word, 1, SIGNALS_MAX, &v) < 0) {
		while (
		    v <= SIGNALS_MAX && strcasecmp(signal_names[v], name) != 0)
			v++;
	}
	if (v > SIGNALS_MAX)
		return err_set(e, -EINVAL,
		    "-s %.32s: it is a signal's name, as TERM or HUP, or its "
		    "number, 1 to %d",
		    word, SIGNALS_MAX);
	n->signal = (uint8_t)v;
	return 0;
}

static int
names_run(struct cli *c, struct names *n, const char *shorts,
    const struct option *longs, int argc, char *argv[])
{
	struct err e = { 0 };
	int o, r = 0;

	while ((o = opt_next(c, argc, argv, shorts, longs)) != OPT_END) {
		switch (o) {
		case 'f':
			n->force = opt_flag();
			break;
		case O_NO_WAIT:
			n->no_wait = opt_flag();
			break;
		case 't':
			r = take_grace(optarg, n, &e);
			break;
		case 's':
			r = take_signal(optarg, n, &e);
			break;
		case O_FOR:
			r = take_for(optarg, n, &e);
			break;
		case O_TIMEOUT:
			r = take_timeout(optarg, n, &e);
			break;
		default:
			return o == OPT_HELP ? 0 : EXIT_OURS;
		}
		if (r < 0)
			return cli_usage(c, "%s", e.msg);
	}
	return each(c, n, argc - optind, argv + optind);
}

static const struct option longs_wait[] = {
	{ "no-wait", no_argument, NULL, O_NO_WAIT },
	OPT_COMMON,
	OPT_LAST,
};

static const struct option longs_stop[] = {
	{ "no-wait", no_argument, NULL, O_NO_WAIT },
	{ "time", required_argument, NULL, 't' },
	OPT_COMMON,
	OPT_LAST,
};

int
cmd_start(struct cli *c, int argc, char *argv[])
{
	struct names n = { .one = start_one };

	return names_run(c, &n, ":", longs_wait, argc, argv);
}

int
cmd_stop(struct cli *c, int argc, char *argv[])
{
	struct names n = { .one = stop_one, .grace = -1 };

	return names_run(c, &n, ":t:", longs_stop, argc, argv);
}

int
cmd_restart(struct cli *c, int argc, char *argv[])
{
	struct names n = { .one = restart_one, .grace = -1 };

	return names_run(c, &n, ":t:", longs_stop, argc, argv);
}

int
cmd_kill(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "signal", required_argument, NULL, 's' },
		OPT_COMMON,
		OPT_LAST,
	};
	struct names n = { .one = kill_one, .signal = SIGKILL };

	return names_run(c, &n, ":s:", longs, argc, argv);
}

int
cmd_wait(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "for", required_argument, NULL, O_FOR },
		{ "timeout", required_argument, NULL, O_TIMEOUT },
		OPT_COMMON,
		OPT_LAST,
	};
	struct names n = { .one = wait_one, .wait_ms = WAIT_S_MAX * 1000 };

	return names_run(c, &n, ":", longs, argc, argv);
}

int
cmd_rm(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "no-wait", no_argument, NULL, O_NO_WAIT },
		OPT_COMMON,
		OPT_LAST,
	};
	struct names n = { .one = rm_one };

	return names_run(c, &n, ":f", longs, argc, argv);
}
