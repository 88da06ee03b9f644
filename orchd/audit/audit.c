#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/util.h"
#include "orchd/audit/audit.h"
#include "orchd/orchd.h"
#include "orchd/text.h"
#include "proto/right.h"

#define MINUTE_MS 60000
#define OURS "orchd" /* the room that refuses, where no other did */

/* --- by itself --- */

/* By a commit of its own; done as in txn_new().  -ENOMEM, -EINVAL: there will
 * be none. */
static int
first(struct orchd *o, const struct audit_note *n,
    void (*done)(void *arg, int r), void *arg)
{
	struct txn *t = txn_new(o->store, done, arg);
	int r;

	if (t == NULL)
		return -ENOMEM;
	if ((r = audit_put(o, t, n)) < 0) {
		txn_free(t);
		return r;
	}
	txn_needs_room(t); /* what it tells of can be refused */
	txn_commit(t);
	return 0;
}

static struct audit_pace *
pace_of(struct orchd *o, int64_t chain)
{
	struct tenant *t = tenant_by_id(&o->tenants, chain);

	return t != NULL ? &t->free_rows : &o->audit.host;
}

int
audit_record(struct orchd *o, struct audit_ask *a, const char *object,
    uint64_t uid, void (*done)(void *arg, int r), void *arg)
{
	struct audit_note *n = audit_note(a);
	int r;

	if (n == NULL)
		return -ENOMEM;
	if (object != NULL)
		audit_about(n, object, uid);
	if ((r = first(o, n, done, arg)) == 0)
		a->is_begun = true;
	free(n);
	return r;
}

/* A row that nobody waits for, on its way. */
struct on_way {
	struct orchd *o;
	int64_t chain;
};

static void
on_way_done(void *arg, int r)
{
	struct on_way *w = arg;
	struct audit_pace *p = pace_of(w->o, w->chain);

	/* its tenant may be another's by now, or none's */
	if (p->waiting > 0)
		p->waiting--;
	if (r < 0) {
		p->lost++;
		log_error(
		    "audit: a row was not written: %s", strerrordesc_np(-r));
	}
	free(w);
}

/* One row more that no change pays for? */
static bool
may_say(struct audit_pace *p, unsigned int status)
{
	const int64_t minute = clock_ms() / MINUTE_MS;

	if (minute != p->minute) {
		p->minute = minute;
		p->n = 0;
	}
	if (RULE(AUDIT_PACE) &&
	    ((status >= 400 && p->n >= AUDIT_FREE_A_MINUTE) ||
		p->waiting >= AUDIT_WAITING_MAX)) {
		p->lost++;
		return false;
	}
	p->n += status >= 400;
	return true;
}

static int
send_free(struct orchd *o, const struct audit_note *n, struct audit_pace *p)
{
	struct on_way *w = calloc(1, sizeof(*w));
	int r;

	if (w == NULL)
		return -ENOMEM;
	*w = (struct on_way){ o, n->chain };
	p->waiting++;
	if ((r = first(o, n, on_way_done, w)) < 0) {
		p->waiting--;
		free(w);
	}
	return r;
}

static void
say(struct orchd *o, const struct audit_ask *a, unsigned int status,
    const char *why)
{
	struct audit_pace *p = pace_of(o, a->chain);
	struct audit_note *n;
	char more[64] = "";

	if (!may_say(p, status))
		return;
	if (p->lost > 0)
		(void)snprintf(more, sizeof(more),
		    "(%" PRIu64 " like this are not recorded) ", p->lost);
	if ((n = audit_note(a)) == NULL) {
		p->lost++;
		return;
	}
	n->e.result = status < 400 ? TRAIL_ALLOWED
	    : status < 500	   ? TRAIL_REFUSED
				   : TRAIL_FAILED;
	if (status >= 400) {
		n->e.status = status;
		(void)snprintf(n->e.room, sizeof(n->e.room), OURS);
	}
	(void)snprintf(n->e.detail, sizeof(n->e.detail), "%s%.180s", more, why);
	text_clean(n->e.detail, sizeof(n->e.detail), n->e.detail);
	if (send_free(o, n, p) < 0)
		p->lost++;
	else
		p->lost = 0;
	free(n);
}

void
audit_answered(
    struct orchd *o, struct audit_ask *a, unsigned int status, const char *why)
{
	if (a->right != NULL && !a->is_noted &&
	    !(a->is_begun && status < 400) &&
	    (a->right->does == ACTS || status == 403))
		say(o, a, status, why);
	a->right = NULL;
}

/* --- heads --- */

static uint64_t *
told_of(struct orchd *o, int64_t chain)
{
	struct tenant *t = tenant_by_id(&o->tenants, chain);

	if (chain == AUDIT_HOST)
		return &o->audit.host_told;
	return t != NULL ? &t->told_row : NULL;
}

struct telling {
	struct orchd *o;
	unsigned int n;
};

static int
tell_head(void *arg, const struct audit_head *h)
{
	struct telling *w = arg;
	uint64_t *told = told_of(w->o, h->tenant);
	struct boot_audit msg = { .tenant = h->tenant, .row = h->last };

	if (w->n == AUDIT_TELL_MAX)
		return 1;
	w->o->audit.told_to = h->tenant;
	if (told == NULL || *told == h->last)
		return 0;
	memcpy(msg.hash, h->hash, sizeof(msg.hash));
	if (chan_send(w->o->parent, BOOT_AUDIT, 0, &msg, sizeof(msg), -1) < 0)
		return 1;
	*told = h->last;
	w->n++;
	return 0;
}

/* Those behind the last one that was told. */
static void
tell(struct orchd *o)
{
	struct telling w = { .o = o };
	int r =
	    store_audit_heads(o->store, o->audit.told_to + 1, tell_head, &w);

	if (r < 0)
		log_error(
		    "audit: heads cannot be read: %s", strerrordesc_np(-r));
	if (r == 0)
		o->audit.told_to = -1; /* from the host's own on */
	else
		audit_arm(o);
}

static void
on_tell(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell(arg);
}

/* A number is never given to another tenant while the chain of an earlier one
 * of that number is kept. */
static int
see_number(void *arg, const struct audit_head *h)
{
	tenant_number_given(arg, h->tenant);
	return 0;
}

void
audit_begin(struct orchd *o)
{
	o->audit.told_to = -1;
	o->audit.tell = evtimer_new(o->base, on_tell, o);
	if (o->audit.tell == NULL)
		fatal("audit: out of memory");
	if (store_audit_heads(o->store, 0, see_number, &o->tenants) < 0)
		log_error("audit: heads cannot be read");
	audit_arm(o);
}

void
audit_end(struct orchd *o)
{
	if (o->audit.tell == NULL)
		return;
	tell(o);
	event_free(o->audit.tell);
	o->audit.tell = NULL;
}
