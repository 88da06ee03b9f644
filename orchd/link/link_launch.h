#ifndef MEWS_LINK_LAUNCH_H
#define MEWS_LINK_LAUNCH_H

#include <stdint.h>

struct link_row;
struct orchd;
struct part_kind;
struct stream_ask;
struct vm;

extern const struct link_row link_launch;
/* The jail: keeper, warden and hypervisor.  A VM lives in it. */
extern const struct part_kind link_launch_jail;
/* The agent of a running VM has lost its boot spec's bearer: brings it. */
void link_launch_spec(struct vm *vm);
/* One end of a stream for the VM's warden, or of what is kept of it.  Takes fd.
 * -EPIPE; -EBUSY: as many of that caller are on their way as may be; -ENOBUFS.
 */
int link_launch_stream(
    struct orchd *o, uint64_t vmid, const struct stream_ask *a, int fd);
/* The VM is deleted: what it said goes too.  A launchd that is not there now
 * lists what it keeps when it is. */
void link_launch_forget(struct orchd *o, uint64_t vmid);

#endif
