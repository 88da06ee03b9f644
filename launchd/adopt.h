#ifndef MEWS_LAUNCHD_ADOPT_H
#define MEWS_LAUNCHD_ADOPT_H

#include <stdbool.h>

struct launchd;
struct spawn_held;

/*
 * After a start: what the spawner's records say is there, is asked where it
 * stands.  orchd is heard once every VM has answered or was given up on.
 */
/* One that the spawner holds; *pidfd (-1: it is dead) is taken or left. */
void adopt_held(struct launchd *ld, const struct spawn_held *h, int *pidfd);
/* Every VM of the spawner's list is known for what it is. */
bool adopt_is_over(const struct launchd *ld);

#endif
