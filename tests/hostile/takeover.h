#ifndef MEWS_HOSTILE_TAKEOVER_H
#define MEWS_HOSTILE_TAKEOVER_H

#include <stddef.h>
#include <stdint.h>

/*
 * A room that was taken over: it serves on, and also says what its peers
 * must refuse.  What ends a channel is said one a life; the count of lives
 * is taken before the room is confined.
 */
unsigned int takeover_life(void);

/* One line in the room's own log, so that a test knows it was said. */
void takeover_said(const char *what);

#endif
