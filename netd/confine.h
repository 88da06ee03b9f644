#ifndef NETD_CONFINE_H
#define NETD_CONFINE_H

struct boot_common;

/* The directory with the tun node has this number, for the filter. */
#define NETD_DEV_FD 8

/* Root, user, capabilities.  Before the event base. */
void netd_confine(const struct boot_common *bc);
/* The filter; nothing is opened or set up after it. */
void netd_filter(void);

#endif
