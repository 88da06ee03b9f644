#ifndef MEWS_CLI_SESSION_H
#define MEWS_CLI_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;
struct err;
struct exec_request;

/*
 * A terminal or pipe here, a program or the console there.  Signals must be
 * open (sig.h).
 *
 * session_exec: 0 and *code, the program's exit status; -ENOEXEC: it never
 * ran; -EINTR: a signal; or another negative errno with e, or with
 * out_lost().
 */
int session_exec(struct cli *c, const char *name, const struct exec_request *rq,
    int *code, struct err *e);
/* Until the console ends or the keys Ctrl-] . are seen. */
int session_console(struct cli *c, const char *name, struct err *e);

/*
 * The console's way out: Ctrl-] then '.'; twice Ctrl-] sends one.  Filters
 * len bytes in place; true when it was seen: *len is what came before.
 */
struct leave {
	bool armed;
};
/* buf has room for one byte more than *len: a held Ctrl-] may come first */
bool session_leave_filter(struct leave *l, uint8_t *buf, size_t *len);

#endif
