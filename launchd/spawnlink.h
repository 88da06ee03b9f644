#ifndef MEWS_LAUNCHD_SPAWNLINK_H
#define MEWS_LAUNCHD_SPAWNLINK_H

#include <stdint.h>

struct launchd;
struct vm;

/*
 * Talk with the spawner.  A VM has one question at a time: a later one makes
 * the answer to the former nobody's, and so does spawnlink_forget.  What was
 * answered is written into the VM, which is woken.  A spawner that does not
 * keep up, or is gone, is the end of launchd too.
 */
/* Takes sock over, and asks what it holds, for adopt.c. */
void spawnlink_open(struct launchd *ld, int sock);
/* The probe's verdict, for it to keep. */
void spawnlink_accel(struct launchd *ld, uint32_t accel);
void spawnlink_prepare(struct vm *v);
void spawnlink_verify(struct vm *v);
void spawnlink_kill(struct vm *v);
void spawnlink_release(struct vm *v);
/* Of its group, what the kernel counted. */
void spawnlink_count(struct vm *v);
void spawnlink_forget(struct vm *v);
/* What waits for the VM's share of verbs (SPAWN_VERBS_PER_S): its time came. */
void spawnlink_due(struct vm *v);

#endif
