#ifndef MEWS_LAUNCHD_LIFE_H
#define MEWS_LAUNCHD_LIFE_H

struct vm;

/*
 * What follows from what is known of a VM: its answers, timers and deadline
 * are looked at, then it goes from state to state as far as that leads, and
 * each state does what it is for.  From the turn only.
 */
void life_converge(struct vm *v);

#endif
