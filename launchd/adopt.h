#ifndef MEWS_LAUNCHD_ADOPT_H
#define MEWS_LAUNCHD_ADOPT_H

struct launchd;
struct spawn_held;

/*
 * After a start: what the spawner's records say is there, is asked where it
 * stands, each VM for itself and for as long as it takes (vm_may_run).
 */
/* One that the spawner holds; *pidfd (-1: it is dead) is taken or left. */
void adopt_held(struct launchd *ld, const struct spawn_held *h, int *pidfd);

#endif
