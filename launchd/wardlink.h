#ifndef MEWS_LAUNCHD_WARDLINK_H
#define MEWS_LAUNCHD_WARDLINK_H

#include <stdint.h>

struct launch_stream;
struct vm;

/*
 * The warden may die and be started anew: then it is connected to, asked and
 * read back again; the VM runs on meanwhile, however long that takes
 * (vm_may_run).  One that cannot be had is the end of a start, and one that is
 * not what it should be the end of the VM.
 */
void wardlink_connect(struct vm *v);
/* Ends it, with all that was on its way through it. */
void wardlink_close(struct vm *v);
/* The link's timer came. */
void wardlink_due(struct vm *v);
/* Read-back, once everything that is to be read is there (I4). */
void wardlink_verify(struct vm *v);
/* The spawner's answer, v->spawn_code and v->spawn_why: LINK_UP, or not. */
void wardlink_verified(struct vm *v);
/* Lets the guest run, unless it does. */
void wardlink_run(struct vm *v);
/* The boot spec, where there is one that this warden has not. */
void wardlink_spec(struct vm *v);
/* The current rung of the ladder, if it is one of the warden's; so long its
 * guest has yet, 0: as long as that thinks right. */
void wardlink_rung(struct vm *v, uint32_t grace_ms);
/* orchd is no more: the streams that it gave end, at the latest when there is a
 * warden to say so to. */
void wardlink_orphans(struct vm *v);
/* Gives fd away.  -EAGAIN: not now. */
int wardlink_stream(struct vm *v, const struct launch_stream *s, int fd);

#endif
