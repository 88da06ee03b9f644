#ifndef MEWS_WARDEN_WORD_H
#define MEWS_WARDEN_WORD_H

#include <stdbool.h>

struct call;
struct yamux;

/*
 * The agent's last word (agent/word.h): asked for once a session, answered when
 * the machine is about to end in good order.  From who promised it, a reset
 * without it is a crash, also where no device tells of panics.  It is a guest's
 * word, about that guest alone.
 */
struct word {
	struct call *call; /* NULL: not asked */
	bool is_promised; /* by its health, in this session or one before */
	bool is_said;
};

/* There is a session with an agent that promises it. */
void word_ask(struct word *w, struct yamux *y);
/* The session is gone. */
void word_stop(struct word *w);
bool word_is_owed(const struct word *w);

#endif
