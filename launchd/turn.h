#ifndef MEWS_LAUNCHD_TURN_H
#define MEWS_LAUNCHD_TURN_H

struct launchd;

/*
 * One turn of the loop: handlers wrote down what they heard and woke VMs; at
 * its end, before the loop waits again, each VM that was woken is converged
 * once, and after that orchd is told.  Start-up: dies where it cannot.
 */
void turn_open(struct launchd *ld);

#endif
