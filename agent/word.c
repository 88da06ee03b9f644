#include <errno.h>

#include "agent/conn.h"
#include "agent/word.h"

static int
on_input(void *arg, const uint8_t *p, size_t len, size_t *used)
{
	(void)arg;
	(void)p;
	*used = len; /* there is nothing more to ask */
	return 0;
}

static void
on_eof(void *arg)
{
	(void)arg; /* pump comes next */
}

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

static const struct conn_taker taker = {
	.input = on_input, .eof = on_eof, .pump = on_pump, .gone = on_gone
};

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
