#ifndef MEWS_CLI_TTY_H
#define MEWS_CLI_TTY_H

#include <stdint.h>

/*
 * The one owner of the terminal's mode.  Between tty_raw() and tty_restore()
 * every key goes to the guest, and what was before comes back on every way
 * out: at the end, by a signal that kills (what sig.h does not take is caught
 * here for that), and while the program is stopped.  Only SIGKILL and a
 * SIGSTOP whose sender restores nothing leave it raw.
 *
 * A terminal whose foreground is another job is never touched.
 */
int tty_raw(int fd); /* 0, also where fd is no terminal; or -errno */
void tty_restore(void); /* at any time, also twice */

/* Around a stop: as it was before, and raw again if it is to be. */
void tty_stop(void);
void tty_again(void);

/*
 * The terminal at fd once more, for writing that never waits: a terminal
 * takes part of what poll(2) let through and then blocks, signals or not.
 * O_NONBLOCK is of this descriptor alone, not of the shell's.  -1: it is no
 * terminal, or may not be opened; the caller owns it.
 */
int tty_open_out(int fd);

/* 0, or -ENOTTY. */
int tty_size(int fd, uint16_t *width, uint16_t *height);

#endif
