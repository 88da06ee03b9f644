#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/num.h"
#include "common/utf8.h"
#include "proto/jbuf.h"
#include "proto/objects.h"

enum { SUCCESS, FAILURE };

void
exec_status_write(struct jbuf *b, int code)
{
	struct exec_cause cause = { .reason = "ExitCode" };
	struct exec_status s = { .status = FAILURE,
		.reason = "NonZeroExitCode",
		.details.causes = { &cause, 1 } };

	if (code == 0) {
		s = (struct exec_status){ .status = SUCCESS };
	} else {
		(void)snprintf(
		    cause.message, sizeof(cause.message), "%d", code);
		(void)snprintf(s.message, sizeof(s.message),
		    "command ended with exit status %d", code);
	}
	table_encode(&exec_status_table, 0, &s, b);
}

void
exec_status_fail(struct jbuf *b, const char *why)
{
	struct exec_status s = { .status = FAILURE, .reason = "InternalError" };

	(void)snprintf(s.message, sizeof(s.message), "%s", why);
	utf8_scrub(s.message, strlen(s.message)); /* it may have been cut */
	table_encode(&exec_status_table, 0, &s, b);
}

static int
exit_code(const struct exec_status *s, int *code, struct err *e)
{
	const struct exec_cause *c = s->details.causes.items;
	uint32_t i;
	long long v;

	for (i = 0; i < s->details.causes.count; i++)
		if (strcmp(c[i].reason, "ExitCode") == 0) {
			if (num_parse(c[i].message, 1, 255, &v) < 0)
				break;
			*code = (int)v;
			return 0;
		}
	return err_set(e, -EINVAL, "no exit status in the status");
}

int
exec_status_parse(const char *text, size_t len, int *code, struct err *e)
{
	struct exec_status s;
	int r;

	if ((r = table_decode(&exec_status_table, 0, text, len, &s, e)) < 0)
		return r;
	if (s.status == SUCCESS)
		*code = 0;
	else if (strcmp(s.reason, "NonZeroExitCode") == 0)
		r = exit_code(&s, code, e);
	else
		r = err_set(e, -ENOEXEC, "%s", s.message);
	table_clear(&exec_status_table, &s);
	return r;
}
