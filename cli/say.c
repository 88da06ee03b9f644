#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/esc.h"
#include "cli/out.h"
#include "cli/tty.h"
#include "proto/jbuf.h"

void
cli_error(const struct cli *c, const char *fmt, ...)
{
	char text[1024], safe[sizeof(text) * 2];
	struct jbuf b;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tty_restore();
	(void)fflush(stdout);
	if (!c->json) {
		esc_text(safe, sizeof(safe), text);
		(void)fprintf(stderr, "mews: %s\n", safe);
		return;
	}
	jbuf_init(&b, sizeof(text) * 8);
	jbuf_text(&b, "{\"error\":");
	jbuf_str(&b, text, strlen(text));
	jbuf_text(&b, "}");
	if (b.r == 0)
		out_json_line(stderr, b.p, b.len);
	jbuf_free(&b);
}

int
cli_usage(const struct cli *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (c->cmd == NULL) {
		cli_error(c, "%s (see `mews help`)", text);
		return EXIT_OURS;
	}
	cli_error(
	    c, "%s: %s (see `mews help %s`)", c->cmd->name, text, c->cmd->name);
	if (!c->json)
		(void)fprintf(
		    stderr, "usage: mews %s %s\n", c->cmd->name, c->cmd->usage);
	return EXIT_OURS;
}

void
cli_help(const struct cmd *cmd, FILE *to)
{
	(void)fprintf(to, "usage: mews %s%s%s\n\n%s.\n\n%s", cmd->name,
	    cmd->usage[0] == '\0' ? "" : " ", cmd->usage, cmd->what, cmd->help);
}
