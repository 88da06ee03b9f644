#include "orchd/object/gate.h"
#include "common/util.h"
#include "orchd/object/object.h"

void
gate_init(struct gate *g, unsigned int total)
{
	g->total = total;
	g->kept = (total + GATE_KEPT - 1) / GATE_KEPT;
	g->taken = g->of_host = 0;
	TAILQ_INIT(&g->lines);
}

void
line_init(struct line *l, const uint32_t *weight)
{
	static const uint32_t one = 1;

	TAILQ_INIT(&l->first);
	TAILQ_INIT(&l->rest);
	l->has = l->turns = 0;
	l->is_host = weight == NULL;
	l->weight = weight != NULL ? weight : &one;
}

static struct seat *
next_of(const struct line *l)
{
	struct seat *s = TAILQ_FIRST(&l->first);

	return s != NULL ? s : TAILQ_FIRST(&l->rest);
}

static unsigned int
weight_of(const struct line *l)
{
	return *l->weight > 0 ? *l->weight : 1;
}

/* One more of that line. */
static bool
may(const struct gate *g, const struct line *l)
{
	unsigned int left = g->taken < g->total ? g->total - g->taken : 0;
	unsigned int own = l->has;
	const unsigned int kept =
	    g->of_host < g->kept ? g->kept - g->of_host : 0;

	if (!RULE(GATE_SHARE))
		return true;
	if (l->is_host) {
		if (kept > 0 && RULE(GATE_HOST))
			return left > 0;
		own -= g->kept < own ? g->kept : own;
	} else if (RULE(GATE_HOST))
		left -= kept < left ? kept : left;
	/* the last is for somebody who has none */
	return left > (own > 0) && own / weight_of(l) < left;
}

static void
take(struct gate *g, struct line *l, struct seat *s, enum seat_state state)
{
	s->gate = g;
	s->line = l;
	s->state = state;
	l->has++;
	g->taken++;
	g->of_host += l->is_host;
}

static void
stand(struct gate *g, struct line *l, struct seat *s, bool first)
{
	if (next_of(l) == NULL) {
		l->turns = weight_of(l);
		TAILQ_INSERT_TAIL(&g->lines, l, entry);
	}
	s->gate = g;
	s->line = l;
	s->state = SEAT_WAITS;
	s->first = first;
	if (first)
		TAILQ_INSERT_TAIL(&l->first, s, entry);
	else
		TAILQ_INSERT_TAIL(&l->rest, s, entry);
}

/* Out of its line. */
static void
step_out(struct seat *s)
{
	struct line *l = s->line;

	if (s->first)
		TAILQ_REMOVE(&l->first, s, entry);
	else
		TAILQ_REMOVE(&l->rest, s, entry);
	s->state = SEAT_NONE;
	if (next_of(l) == NULL)
		TAILQ_REMOVE(&s->gate->lines, l, entry);
}

/* Its turn; the round goes on with the next when it has had all of them. */
static void
give(struct gate *g, struct line *l)
{
	struct seat *s = next_of(l);

	step_out(s);
	take(g, l, s, SEAT_GIVEN);
	if (next_of(l) != NULL && --l->turns == 0) {
		l->turns = weight_of(l);
		TAILQ_REMOVE(&g->lines, l, entry);
		TAILQ_INSERT_TAIL(&g->lines, l, entry);
	}
	object_wake(s->obj);
}

static void
serve(struct gate *g)
{
	struct line *l;

	do {
		TAILQ_FOREACH (l, &g->lines, entry)
			if (may(g, l))
				break;
		if (l != NULL)
			give(g, l);
	} while (l != NULL);
}

bool
gate_ask(struct gate *g, struct line *l, struct seat *s, struct object *obj,
    bool first)
{
	s->obj = obj;
	s->asked = true;
	switch (s->state) {
	case SEAT_NONE:
		/* who waits may have none now: serve() leaves no others */
		if (!may(g, l)) {
			stand(g, l, s, first);
			return false;
		}
		take(g, l, s, SEAT_TAKEN);
		return true;
	case SEAT_WAITS:
		if (s->first != first) {
			step_out(s);
			stand(g, l, s, first);
		}
		return false;
	case SEAT_GIVEN:
		s->state = SEAT_TAKEN;
		return true;
	case SEAT_TAKEN:
		return true;
	}
	return false;
}

void
gate_hold(struct gate *g, struct line *l, struct seat *s)
{
	if (s->state == SEAT_WAITS)
		step_out(s);
	if (s->state == SEAT_NONE)
		take(g, l, s, SEAT_TAKEN);
	s->state = SEAT_TAKEN;
}

void
seat_leave(struct seat *s)
{
	s->asked = false;
	switch (s->state) {
	case SEAT_NONE:
		return;
	case SEAT_WAITS:
		step_out(s);
		return;
	case SEAT_GIVEN:
	case SEAT_TAKEN:
		break;
	}
	s->state = SEAT_NONE;
	s->line->has--;
	s->gate->taken--;
	s->gate->of_host -= s->line->is_host;
	serve(s->gate);
}

void
seat_settle(struct seat *s)
{
	if (!s->asked && s->state != SEAT_TAKEN)
		seat_leave(s);
	s->asked = false;
}

bool
seat_waits(const struct seat *s, unsigned int *before, unsigned int *has)
{
	const struct seat *p = s;

	if (s->state != SEAT_WAITS)
		return false;
	*has = s->line->has;
	for (*before = 0; p != NULL; p = TAILQ_PREV(p, seats, entry))
		++*before;
	--*before;
	if (!s->first)
		TAILQ_FOREACH (p, &s->line->first, entry)
			++*before;
	return true;
}
