#include <errno.h>

#include "agent/conn.h"
#include "agent/word.h"

/* An asker that has nothing more to say has gone, with the answer or not. */
static void
on_pump(void *arg)
{
	struct word *w = arg;

	if (duct_is_eof(&w->asker->d))
		conn_free(w->asker);
}

static void
on_gone(void *arg)
{
	struct word *w = arg;

	w->asker = NULL;
	if (w->text != NULL)
		w->heard(w->arg);
}

/* There is nothing more to ask. */
static const struct conn_taker taker = { .pump = on_pump, .gone = on_gone };

int
word_ask(struct word *w, struct conn *c)
{
	if (w->asker != NULL)
		return -EBUSY;
	w->asker = c;
	w->was_asked = true;
	conn_take(c, &taker, w);
	if (w->text != NULL)
		conn_answer(c, 200, w->text);
	return 0;
}

bool
word_say(struct word *w, const char *text)
{
	w->text = text;
	if (w->asker != NULL)
		conn_answer(w->asker, 200, text);
	return w->was_asked;
}
