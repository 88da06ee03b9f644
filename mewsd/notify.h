#ifndef MEWS_NOTIFY_H
#define MEWS_NOTIFY_H

/*
 * Tells a service manager how far the suite is, as sd_notify(3) describes:
 * one datagram of lines to the AF_UNIX socket that $NOTIFY_SOCKET names.
 * Without a manager every call does nothing.
 */

/* Takes the name out of the environment, where no child is to find it. */
void notify_init(void);
/* state: "READY=1" and the like.  What cannot be sent is logged. */
void notify_send(const char *state);

#endif
