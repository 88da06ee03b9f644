#ifndef MEWS_TURN_H
#define MEWS_TURN_H

struct orchd;

/*
 * One turn: whatever woke an object in this round of the loop, it is looked
 * at once, here and nowhere else.  What the store has answered is taken in
 * and told to those who wait; then, if all that is known of it is on the disk,
 * what is wanted is held against what is there; and what that changed goes to
 * the store, together with all else of this turn as one commit.
 */
void turn_init(struct orchd *o);
/* One at once, before the loop ends. */
void turn_now(struct orchd *o);
/* A last time, with no store to write to any more: tells what was written. */
void turn_last(struct orchd *o);

#endif
