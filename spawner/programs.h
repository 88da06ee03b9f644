#ifndef MEWS_SPAWNER_PROGRAMS_H
#define MEWS_SPAWNER_PROGRAMS_H

struct spawner;

/*
 * Start-up: the programs of all rows, in the staged tree that is open at stage,
 * or the end.  A tree may be older than the spawner and lack what a VM can be
 * without: the file of such a program stays {0}, and what needs it is refused.
 */
void programs_find(struct spawner *sp, int stage);

#endif
