#ifndef MEWS_BEGIN_H
#define MEWS_BEGIN_H

/*
 * What a process inherits and does not see: who started mewsd may have blocked
 * or ignored signals, closed descriptors 0 to 2, left others open, set limits
 * and a mask of modes.  None of it is mewsd's, nor its rooms'.
 *
 * First thing of main(), before anything is opened or said.
 */
void begin_clean(void);
/* Limits of the process that would end a room without a word: lifted as far as
 * mewsd may; what stays is said. */
void begin_limits(void);

#endif
