#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/addr.h"
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/near.h"
#include "cli/opt.h"
#include "cli/out.h"

static int
unknown(struct cli *c, const char *name)
{
	char hint[NEAR_TEXT_MAX];
	const struct cmd *cmd;
	struct near near;

	near_init(&near, name);
	for (cmd = cmds; cmd->name != NULL; cmd++)
		near_try(&near, cmd->name);
	near_text(&near, "", hint);
	c->cmd = NULL;
	return cli_usage(c, "there is no command %.64s%s", name, hint);
}

static int
help(struct cli *c, const char *name)
{
	const struct cmd *cmd;

	if (name == NULL) {
		(void)fputs(cmds_head, stdout);
		for (cmd = cmds; cmd->name != NULL; cmd++)
			(void)printf("  %-8s  %s\n", cmd->name, cmd->what);
		(void)fputs(cmds_tail, stdout);
		return 0;
	}
	if ((cmd = cmds_find(name)) == NULL)
		return unknown(c, name);
	cli_help(cmd, stdout);
	return 0;
}

static int
version(const struct cli *c)
{
	(void)printf(
	    c->json ? "{\"version\":\"%s\"}\n" : "mews %s\n", CLI_VERSION);
	return 0;
}

/* The options before the command; 0, OPT_HELP or OPT_BAD. */
static int
globals(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "host", required_argument, NULL, 'H' },
		{ "tenant", required_argument, NULL, 'T' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		OPT_LAST,
	};
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, "+:H:hv", longs, NULL)) != -1) {
		switch (o) {
		case 'H':
			c->host = optarg;
			break;
		case 'T':
			c->tenant = optarg;
			break;
		case 'j':
			c->json = true;
			break;
		case 'h':
			(void)help(c, NULL);
			return OPT_HELP;
		case 'v':
			(void)version(c);
			return OPT_HELP;
		default:
			opt_refuse(c, o, argv, longs);
			return OPT_BAD;
		}
	}
	return 0;
}

static int
run(struct cli *c, int argc, char *argv[])
{
	struct err e = { 0 };
	int status;

	if ((c->cmd = cmds_find(argv[0])) == NULL)
		return unknown(c, argv[0]);
	optind = 0; /* a new command line for getopt(3) */
	if (c->cmd->run == NULL) {
		int r = opt_none(c, argc, argv);

		if (r != 0)
			return r == OPT_HELP ? 0 : EXIT_OURS;
		return strcmp(argv[0], "help") == 0 ? help(c, argv[optind])
						    : version(c);
	}
	if ((status = api_open(c->host, c->tenant, &c->api, &e)) < 0)
		return cli_fail(c, status, &e);
	status = c->cmd->run(c, argc, argv);
	api_close(c->api);
	return status;
}

/*
 * So that no socket becomes descriptor 1.  What was closed can still not be
 * written to (EBADF): that is somebody's fault, and is said.
 */
static int
have_stdio(void)
{
	int fd, got;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		got = open("/dev/null", O_RDONLY | O_NOCTTY | O_CLOEXEC);
		if (got != fd)
			return -EBADF;
	}
	return 0;
}

static const char *
from_env(const char *name, const char *otherwise)
{
	const char *v = secure_getenv(name);

	return v != NULL && v[0] != '\0' ? v : otherwise;
}

int
main(int argc, char *argv[])
{
	struct cli c = { .host = from_env("MEWS_API", ADDR_DEFAULT),
		.tenant = from_env("MEWS_TENANT", NULL) };
	int r, status = EXIT_OURS;

	if (have_stdio() < 0 || out_begin() < 0 ||
	    curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
		cli_error(&c, "cannot begin: out of memory, or no /dev/null");
		return EXIT_OURS;
	}
	r = globals(&c, argc, argv);
	if (r == OPT_HELP)
		status = 0;
	else if (r == 0 && optind == argc)
		status = help(&c, NULL);
	else if (r == 0)
		status = run(&c, argc - optind, argv + optind);
	status = cli_end(&c, status);
	curl_global_cleanup();
	return status;
}
