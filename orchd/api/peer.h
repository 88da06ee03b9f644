#ifndef MEWS_PEER_H
#define MEWS_PEER_H

#include "orchd/tenant/member.h"

/* Of more groups none counts; the kernel allows 65,536 (NGROUPS_MAX). */
#define PEER_GROUPS_MAX 1024

/*
 * Who is at the other end of a Unix socket, as he was when he connected:
 * SO_PEERCRED and SO_PEERGROUPS of unix(7), all groups of either.  What he
 * becomes later, or who gets the socket from him, is not seen here.  0 or a
 * negative errno; peer_clear() frees the groups.
 */
int peer_creds(int sock, struct creds *ret);
void peer_clear(struct creds *c);

#endif
