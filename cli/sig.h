#ifndef MEWS_CLI_SIG_H
#define MEWS_CLI_SIG_H

#include <stdbool.h>

/*
 * Ctrl-C and friends as something to poll.  A command that must clean up
 * calls sig_open(); the others die of signals as programs do.  What was
 * ignored when the program began (nohup) stays so.
 */
int sig_open(void); /* 0 or a negative errno */
/* Restores what was blocked; a no-op when nothing was. */
void sig_close(void);
/* To poll for reading; -1 when not open. */
int sig_fd(void);

/*
 * Takes what came.  SIGINT, SIGTERM, SIGHUP and SIGQUIT are asked for: the
 * number of the last one is what sig_asked() says from then on.  A stop
 * (SIGTSTP) happens in here, with the terminal as it was before.
 */
void sig_take(void);
int sig_asked(void);
unsigned int sig_count(void); /* how often */
/* Forgets what was asked: the next signal is a new wish (to give up). */
void sig_forget(void);
/* True once after SIGWINCH, and after a stop, which may have hidden one. */
bool sig_resized(void);

/*
 * Waits until fd (-1: none) has one of events, a signal came (-EINTR) or ms
 * have passed (-ETIMEDOUT); returns revents.
 */
int sig_poll(int fd, short events, int ms);

#endif
