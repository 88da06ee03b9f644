#include <stdio.h>
#include <string.h>

#include "common/err.h"

int
err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (e != NULL) {
		e->code = code;
		va_start(ap, fmt);
		(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
		va_end(ap);
	}
	return code;
}

int
err_errno(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (e != NULL) {
		e->code = code;
		va_start(ap, fmt);
		(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
		va_end(ap);
		len = strlen(e->msg);
		(void)snprintf(e->msg + len, sizeof(e->msg) - len, ": %s",
		    strerrordesc_np(-code));
	}
	return code;
}
