#ifndef MEWS_AGENT_WORD_H
#define MEWS_AGENT_WORD_H

#include <stdbool.h>

struct conn;

/*
 * The last word.  A machine that resets itself looks the same from outside
 * whether its kernel gave up or was told to; so before an orderly end it is
 * said, to who asked for it (GET /v1/end) and waits.  That he heard it is seen
 * by his end of that stream: what is written last may be lost with the machine.
 */
struct word {
	void (*heard)(void *arg); /* after word_say() */
	void *arg;
	struct conn *asker; /* NULL: nobody waits */
	bool was_asked; /* he who did will do so again */
	const char *text; /* that was said; NULL: it was not */
};

/* A request for it, answered when there is one.  0, or -EBUSY: another one
 * waits. */
int word_ask(struct word *w, struct conn *c);
/* text: JSON, kept by pointer.  True: it is worth waiting for `heard`, which
 * comes later; false: nobody listens. */
bool word_say(struct word *w, const char *text);

#endif
