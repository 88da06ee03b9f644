#include <event2/event.h>
#include <malloc.h>
#include <stdlib.h>

#include "common/loop.h"
#include "tests/suite/t.h"

#define MIB (1024UL * 1024)

/* Whether a block of so many bytes lies outside of the heap, and so is given
 * back when it is freed. */
static bool
is_apart(size_t n)
{
	const size_t before = mallinfo2().hblks;
	void *p = malloc(n);
	const bool apart = mallinfo2().hblks > before;

	t_true(p != NULL);
	free(p);
	return apart;
}

/* A large answer once is no reason to keep as much for ever. */
static void
test_heap(void)
{
	struct event_base *base = loop_new();
	void *p;

	if (is_apart(MIB)) { /* not a sanitizer's malloc */
		t_true(is_apart(24 * MIB));
		t_true(is_apart(MIB));
		/* nor does the heap's end stay */
		p = malloc(LOOP_HEAP_BLOCK / 2);
		t_true(p != NULL);
		free(p);
		t_true(
		    mallinfo2().keepcost <= LOOP_HEAP_KEPT + LOOP_HEAP_BLOCK);
	}
	event_base_free(base);
}

const struct t_case t_cases[] = { { "the heap's size", test_heap },
	{ NULL, NULL } };
