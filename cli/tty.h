#ifndef MEWS_CLI_TTY_H
#define MEWS_CLI_TTY_H

#include <stdint.h>

/*
 * The terminal at fd, raw: every key goes to the guest.  A no-op where fd
 * is no terminal.  tty_restore() may be called at any time, also twice.
 */
int tty_raw(int fd); /* 0 or a negative errno */
void tty_restore(void);
/* 0, or -ENOTTY. */
int tty_size(int fd, uint16_t *width, uint16_t *height);

#endif
