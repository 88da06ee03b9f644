#include <stddef.h>

#include "common/log.h"
#include "common/util.h"
#include "warden/call.h"
#include "warden/word.h"

/* Letting go of the call is what the agent waits for. */
static void
on_end(void *arg, const struct call_answer *ans)
{
	struct word *w = arg;
	struct call *c = w->call;

	w->call = NULL;
	if (ans->status == 200)
		w->is_said = true;
	else if (ans->status != 0) {
		log_warn("agent: no last word: %d", ans->status);
		w->is_promised = false;
	}
	call_free(c);
}

void
word_ask(struct word *w, struct yamux *y)
{
	w->is_promised = true;
	if (w->call == NULL &&
	    call_mux(y, HTTP_GET, "/v1/end", NULL, 0, on_end, w, &w->call) < 0)
		log_warn("agent: its last word is not asked for");
}

void
word_stop(struct word *w)
{
	call_free(w->call);
	w->call = NULL;
}

bool
word_is_owed(const struct word *w)
{
	return RULE(LAST_WORD) && w->is_promised && !w->is_said;
}
