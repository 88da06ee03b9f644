#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/near.h"
#include "cli/opt.h"
#include "common/clock.h"
#include "common/util.h"
#include "common/when.h"

/* Of the option that was returned last: there is one command line. */
static bool flag;

bool
opt_flag(void)
{
	return flag;
}

int
opt_since(struct cli *c, const char **ret)
{
	struct err e = { 0 };
	int64_t ns;

	if (strlen(optarg) > WHEN_MAX ||
	    when_parse(optarg, clock_wall_ns(), &ns, &e) < 0) {
		(void)cli_usage(c, "--since %.32s: %s", optarg,
		    e.msg[0] != '\0' ? e.msg : "too long");
		return OPT_BAD;
	}
	*ret = optarg;
	return 0;
}

/* 0 and what the flag is now, or -1. */
static int
read_flag(const char *value)
{
	static const char *const yes[] = { "true", "1" };
	static const char *const no[] = { "false", "0" };
	size_t i;

	flag = true;
	if (value == NULL)
		return 0;
	for (i = 0; i < nitems(yes); i++) {
		if (strcmp(value, yes[i]) == 0)
			return 0;
	}
	flag = false;
	for (i = 0; i < nitems(no); i++) {
		if (strcmp(value, no[i]) == 0)
			return 0;
	}
	return -1;
}

/* "--name" of "--name=value", without the dashes. */
static void
bare_name(const char *word, char name[NEAR_WORD_MAX + 2])
{
	word += strspn(word, "-");
	(void)snprintf(
	    name, NEAR_WORD_MAX + 2, "%.*s", (int)strcspn(word, "="), word);
}

static void
refuse_long(struct cli *c, const char *word, const struct option *longs)
{
	char name[NEAR_WORD_MAX + 2], hint[NEAR_TEXT_MAX];
	const struct option *l, *two[2] = { NULL, NULL };
	struct near near;
	size_t n = 0;

	bare_name(word, name);
	near_init(&near, name);
	for (l = longs; l->name != NULL; l++) {
		near_try(&near, l->name);
		if (strncmp(l->name, name, strlen(name)) == 0 && n < 2)
			two[n++] = l;
	}
	near_text(&near, "--", hint);
	if (n == 2)
		(void)cli_usage(c, "--%s can be --%s or --%s", name,
		    two[0]->name, two[1]->name);
	else
		(void)cli_usage(c, "there is no option --%s%s", name, hint);
}

void
opt_refuse(struct cli *c, int o, char *argv[], const struct option *longs)
{
	if (o == ':')
		(void)cli_usage(c, "%.64s needs a value", argv[optind - 1]);
	else if (optopt > 0 && optopt < 0x80)
		(void)cli_usage(c, "there is no option -%c", optopt);
	else
		refuse_long(c, argv[optind - 1], longs);
}

/* -name, where --name was meant, would be read as -n with the value "ame". */
static bool
has_one_dash(struct cli *c, int argc, char *argv[], const struct option *longs)
{
	const int at = optind > 0 ? optind : 1;
	char name[NEAR_WORD_MAX + 2];
	const struct option *l;

	if (at >= argc || argv[at][0] != '-' || argv[at][1] == '-' ||
	    strlen(argv[at]) < 3)
		return false;
	bare_name(argv[at], name);
	for (l = longs; l->name != NULL; l++) {
		if (strcmp(l->name, name) != 0)
			continue;
		(void)cli_usage(
		    c, "-%s begins with two dashes: --%s", name, name);
		return true;
	}
	return false;
}

/* A copy in which options without a value may have one. */
static void
with_values(const struct option *longs, struct option to[OPTS_MAX + 1])
{
	size_t i;

	for (i = 0; longs[i].name != NULL; i++) {
		assert(i < OPTS_MAX);
		to[i] = longs[i];
		if (to[i].has_arg == no_argument)
			to[i].has_arg = optional_argument;
	}
	to[i] = longs[i];
}

int
opt_next(struct cli *c, int argc, char *argv[], const char *shorts,
    const struct option *longs)
{
	struct option all[OPTS_MAX + 1];
	int o, at;

	with_values(longs, all);
	opterr = 0;
	do {
		at = -1;
		if (has_one_dash(c, argc, argv, longs))
			return OPT_BAD;
		o = getopt_long(argc, argv, shorts, all, &at);
		if (at >= 0 && all[at].has_arg != optional_argument)
			at = -1;
		if (read_flag(at >= 0 ? optarg : NULL) < 0) {
			(void)cli_usage(c, "--%s is true or false, not %.64s",
			    all[at].name, optarg);
			return OPT_BAD;
		}
		if (o == OPT_JSON)
			c->json = flag;
	} while (o == OPT_JSON || (o == OPT_HELP && !flag));
	if (o == OPT_HELP || (o == '?' && optopt == 'h')) {
		cli_help(c->cmd, stdout);
		return OPT_HELP;
	}
	if (o != '?' && o != ':')
		return o;
	opt_refuse(c, o, argv, longs);
	return OPT_BAD;
}

int
opt_none(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = { OPT_COMMON, OPT_LAST };
	int o = opt_next(c, argc, argv, ":", longs);

	return o == OPT_END ? 0 : o;
}
