#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/right.h"
#include "tests/orchd/played_audit.h"

char trail[512];
int trail_r;

struct audit_note *
audit_note(const struct audit_ask *a)
{
	struct audit_note *n = calloc(1, sizeof(*n));

	if (n != NULL)
		(void)snprintf(
		    n->e.action, sizeof(n->e.action), "%s", a->right->name);
	return n;
}

struct audit_note *
audit_fact(const struct tenant *t, const char *action, enum audit_result result,
    const char *room, const char *why)
{
	struct audit_note *n = calloc(1, sizeof(*n));

	(void)t;
	if (n == NULL)
		return NULL;
	(void)snprintf(n->e.action, sizeof(n->e.action), "%s", action);
	(void)snprintf(n->e.room, sizeof(n->e.room), "%s", room);
	(void)snprintf(n->e.detail, sizeof(n->e.detail), "%s", why);
	n->e.result = (uint8_t)result;
	return n;
}

void
audit_about(struct audit_note *n, const char *object, uint64_t uid)
{
	(void)snprintf(n->e.object, sizeof(n->e.object), "%s", object);
	n->e.uid = uid;
}

int
audit_put(struct orchd *o, struct txn *t, const struct audit_note *n)
{
	static const char *const results[] = { "", " refused", " failed" };
	const size_t len = strlen(trail);

	(void)o;
	(void)t;
	(void)snprintf(trail + len, sizeof(trail) - len, "%s %s%s%s%s%s%s;",
	    n->e.action, n->e.object, results[n->e.result],
	    n->e.room[0] != '\0' ? " " : "", n->e.room,
	    n->e.detail[0] != '\0' ? ": " : "", n->e.detail);
	return trail_r;
}
