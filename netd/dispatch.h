#ifndef NETD_DISPATCH_H
#define NETD_DISPATCH_H

struct netd;

/* Serves descriptor 3; orchd's channel arrives over it.  0 or -ENOMEM. */
int dispatch_start(struct netd *nd);
void dispatch_stop(struct netd *nd);

#endif
