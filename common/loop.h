#ifndef MEWS_LOOP_H
#define MEWS_LOOP_H

struct event_base;

/*
 * What a process with a loop of ours keeps of memory that it freed: the holes
 * in its heap, and bytes at the heap's end.  A block of LOOP_HEAP_BLOCK bytes
 * or more for which neither has room lies apart and is given back at once.  By
 * itself malloc(3) raises both with each larger block that is freed, to 64 MiB.
 * libevent has a block of 32 bytes for each number that a descriptor ever had.
 */
#define LOOP_HEAP_BLOCK (128UL * 1024)
#define LOOP_HEAP_KEPT (128UL * 1024)

/* A room's event loop: no locks and nothing from the environment, which both
 * want system calls that no room gets.  Start-up: dies where it cannot. */
struct event_base *loop_new(void);

#endif
