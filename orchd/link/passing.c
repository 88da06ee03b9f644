#include <errno.h>
#include <stdlib.h>

#include "orchd/link/passing.h"

struct passing_one {
	STAILQ_ENTRY(passing_one) entry;
	uint64_t id;
	struct share_who who;
};

void
passing_init(
    struct passing *p, uint32_t max_conns, const uint32_t listed[SHARE_LISTED])
{
	const uint64_t total = PASSING_SOCKET + max_conns / 4;

	share_init(
	    &p->share, total < PASSING_MAX ? total : PASSING_MAX, listed);
	STAILQ_INIT(&p->list);
	p->n = 0;
}

int
passing_add(struct passing *p, struct share_who who, uint64_t id)
{
	struct passing_one *one;
	int r;

	if ((r = share_take(&p->share, who, 1)) < 0)
		return r;
	if ((one = malloc(sizeof(*one))) == NULL) {
		share_give(&p->share, who, 1);
		return -ENOMEM;
	}
	one->id = id;
	one->who = who;
	STAILQ_INSERT_TAIL(&p->list, one, entry);
	p->n++;
	return 0;
}

static void
drop(struct passing *p, struct passing_one *one)
{
	STAILQ_REMOVE(&p->list, one, passing_one, entry);
	p->n--;
	share_give(&p->share, one->who, 1);
	free(one);
}

bool
passing_end(struct passing *p, uint64_t id)
{
	struct passing_one *one;

	/* answers come in the order of the questions: the first, mostly */
	STAILQ_FOREACH(one, &p->list, entry)
	{
		if (one->id == id) {
			drop(p, one);
			return true;
		}
	}
	return false;
}

void
passing_clear(struct passing *p)
{
	while (!STAILQ_EMPTY(&p->list))
		drop(p, STAILQ_FIRST(&p->list));
}
