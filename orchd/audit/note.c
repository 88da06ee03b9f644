#include <ctype.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "orchd/audit/audit.h"
#include "orchd/orchd.h"
#include "orchd/stored.h"
#include "orchd/text.h"
#include "proto/jbuf.h"
#include "proto/right.h"

/* --- what a row says --- */

/* VM_CREATE is vm-create. */
static void
action_of(const struct right *right, char *buf, size_t cap)
{
	size_t i;

	(void)snprintf(buf, cap, "%s", right->name);
	for (i = 0; buf[i] != '\0'; i++)
		buf[i] =
		    buf[i] == '_' ? '-' : (char)tolower((unsigned char)buf[i]);
}

struct audit_note *
audit_note(const struct audit_ask *a)
{
	struct audit_note *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	n->chain = a->chain;
	n->at_ns = clock_wall_ns();
	n->e.has = TABLE_HAS(TRAIL_USER);
	n->e.user = a->user;
	n->e.pid = a->pid;
	n->e.role = a->role;
	(void)snprintf(n->e.tenant, sizeof(n->e.tenant), "%.63s", a->tenant);
	(void)snprintf(n->e.credential, sizeof(n->e.credential), "unix");
	action_of(a->right, n->e.action, sizeof(n->e.action));
	audit_about(n, a->object, 0);
	return n;
}

struct audit_note *
audit_fact(const struct tenant *t, const char *action, enum audit_result result,
    const char *room, const char *why)
{
	struct audit_note *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	n->chain = t->row.id;
	n->at_ns = clock_wall_ns();
	n->e.result = (uint8_t)result;
	(void)snprintf(n->e.tenant, sizeof(n->e.tenant), "%s", t->row.name);
	(void)snprintf(n->e.action, sizeof(n->e.action), "%s", action);
	(void)snprintf(n->e.room, sizeof(n->e.room), "%s", room);
	text_clean(n->e.detail, sizeof(n->e.detail), why);
	return n;
}

void
audit_about(struct audit_note *n, const char *object, uint64_t uid)
{
	text_clean(n->e.object, sizeof(n->e.object), object);
	n->e.uid = uid;
}

/* --- to the store --- */

void
audit_arm(struct orchd *o)
{
	const struct timeval tv = { .tv_sec = AUDIT_TELL_S };

	if (o->audit.tell != NULL && !evtimer_pending(o->audit.tell, NULL) &&
	    event_add(o->audit.tell, &tv) < 0)
		log_error("audit: no timer");
}

int
audit_put(struct orchd *o, struct txn *t, const struct audit_note *n)
{
	struct audit_row row = { .tenant = n->chain, .at_ns = n->at_ns };
	struct jbuf b;
	int r;

	jbuf_init(&b, TABLE_JSON_MAX);
	if ((r = table_store(&stored_audit, &n->e, &b, NULL)) == 0) {
		row.entry =
		    (struct store_doc){ b.p, b.len, stored_audit.version };
		txn_audit(t, &row);
		audit_arm(o);
	}
	jbuf_free(&b);
	return r;
}
