#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/esc.h"
#include "cli/out.h"
#include "cli/sig.h"
#include "cli/tty.h"
#include "proto/jbuf.h"

/* "Connection refused" in the middle of a sentence */
void
cli_errno_text(int code, char *buf, size_t cap)
{
	const char *why = strerrordesc_np(-code);

	(void)snprintf(buf, cap, "%s", why == NULL ? "unknown error" : why);
	if (buf[0] >= 'A' && buf[0] <= 'Z')
		buf[0] = (char)(buf[0] + ('a' - 'A'));
}

void
cli_error(const struct cli *c, const char *fmt, ...)
{
	char text[1024], safe[sizeof(text) * 2];
	struct jbuf b;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (text[0] == '\0')
		(void)snprintf(text, sizeof(text),
		    "it failed, and nobody said why (a fault of mews)");
	tty_restore();
	(void)out_flush();
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

int
cli_fail(const struct cli *c, int r, const struct err *e)
{
	char why[64];

	if (r == -EINTR)
		return EXIT_SIGNAL + (sig_asked() != 0 ? sig_asked() : SIGINT);
	if (out_lost() != 0) /* cli_end() says it */
		return EXIT_OURS;
	if (e->msg[0] != '\0') {
		cli_error(c, "%s", e->msg);
	} else {
		cli_errno_text(r, why, sizeof(why));
		cli_error(c, "it failed without a reason: %s", why);
	}
	return EXIT_OURS;
}

int
cli_end(const struct cli *c, int status)
{
	char why[64];
	int r;

	tty_restore();
	if ((r = out_flush()) == 0)
		return status;
	if (r == -EPIPE) /* as if SIGPIPE had come: the reader had enough */
		return status == 0 || status == EXIT_OURS
		    ? EXIT_SIGNAL + SIGPIPE
		    : status;
	if (r == -EBADF) {
		cli_error(c, "cannot write: %s is closed", out_lost_name());
		return EXIT_LOST;
	}
	cli_errno_text(r, why, sizeof(why));
	cli_error(c, "cannot write to %s: %s", out_lost_name(), why);
	return EXIT_LOST;
}

void
cli_help(const struct cmd *cmd, FILE *to)
{
	(void)fprintf(to, "usage: mews %s%s%s\n\n%s.\n\n%s", cmd->name,
	    cmd->usage[0] == '\0' ? "" : " ", cmd->usage, cmd->what, cmd->help);
}
