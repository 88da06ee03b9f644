#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "orchd/audit/audit.h"
#include "orchd/object/idem.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"

#define AGAIN_S 5

static void *
row_of(const struct object *obj)
{
	return (uint8_t *)(uintptr_t)obj + obj->kind->row;
}

static void
was_free(struct write *w, size_t len)
{
	if (w->was != NULL)
		explicit_bzero(w->was, len);
	free(w->was);
	w->was = NULL;
}

/* Those that were asked alone, or all. */
static void
audits_free(struct write *w, bool asked)
{
	struct audit_note *n, **at = &w->audits;

	while ((n = *at) != NULL) {
		if (asked && !n->asked) {
			at = &n->next;
			continue;
		}
		*at = n->next;
		free(n);
	}
}

/* What it holds goes. */
static void
discard(struct object *obj, struct write *w)
{
	struct used_key *k;

	while ((k = w->keys) != NULL) {
		w->keys = k->next;
		free(k);
	}
	audits_free(w, false);
	was_free(w, obj->kind->rowlen);
}

void
write_clear(struct object *obj)
{
	discard(obj, &obj->open);
	discard(obj, &obj->sent);
	if (obj->again != NULL)
		event_free(obj->again);
}

void
write_forget(struct object *obj)
{
	write_clear(obj);
	obj->again = NULL;
	memset(&obj->open, 0, sizeof(obj->open));
}

/* --- what is to be written --- */

void
write_fact(struct object *obj)
{
	obj->open.dirty = obj->open.facts = true;
	object_wake(obj);
}

void
write_anew(struct object *obj)
{
	obj->open.op = WRITE_NEW;
	write_fact(obj);
}

static void
note_add(struct write *w, const struct note *n)
{
	if (w->nnotes == WRITE_NOTES_MAX) {
		memmove(w->note, w->note + 1,
		    (WRITE_NOTES_MAX - 1) * sizeof(w->note[0]));
		w->nnotes--;
		if (w->notes_was > 0)
			w->notes_was--;
	}
	w->note[w->nnotes++] = *n;
}

void
write_note(struct object *obj, uint8_t type, uint32_t status, const char *why)
{
	const struct note n = {
		.type = type, .status = (uint8_t)status, .why = why
	};

	obj->open.dirty = true;
	note_add(&obj->open, &n);
	object_wake(obj);
}

/* --- the trail --- */

/* Where the next row goes; how many there are, in *n. */
static struct audit_note **
audits_end(struct write *w, unsigned int *n)
{
	struct audit_note **at = &w->audits;

	while (*at != NULL) {
		at = &(*at)->next;
		++*n;
	}
	return at;
}

void
write_audit(struct object *obj, struct audit_note *n)
{
	unsigned int count = 0;
	struct audit_note **at = audits_end(&obj->open, &count);

	if (n == NULL || count >= WRITE_AUDITS_MAX) {
		log_error("%s %s: what happened is not in the audit trail",
		    obj->kind->name, obj->kind->title(obj));
		free(n);
		return;
	}
	*at = n;
	obj->open.dirty = true;
}

/* The row of the request that asks, if it has none yet: NULL where there is
 * none to write. */
static int
audit_new(struct object *obj, bool asked, struct audit_note **ret)
{
	const struct audit_ask *a = obj->orchd->audit.asking;
	unsigned int n = 0;

	*ret = NULL;
	if (a == NULL || a->right == NULL || a->is_noted)
		return 0;
	(void)audits_end(&obj->open, &n);
	(void)audits_end(&obj->sent, &n);
	if (n >= WRITE_AUDITS_MAX)
		return -EBUSY;
	if ((*ret = audit_note(a)) == NULL)
		return -ENOMEM;
	(*ret)->asked = asked;
	audit_about(*ret, obj->kind->title(obj), obj->key);
	return 0;
}

static void
audit_add(struct object *obj, struct audit_note *n)
{
	unsigned int count = 0;

	if (n == NULL)
		return;
	*audits_end(&obj->open, &count) = n;
	obj->orchd->audit.asking->is_noted = true;
}

/* --- keys --- */

/* Where the next key goes. */
static struct used_key **
keys_end(struct write *w)
{
	struct used_key **k = &w->keys;

	while (*k != NULL)
		k = &(*k)->next;
	return k;
}

static unsigned int
keys_count(const struct write *w)
{
	const struct used_key *k;
	unsigned int n = 0;

	for (k = w->keys; k != NULL; k = k->next)
		n++;
	return n;
}

static int
key_add(struct object *obj, const struct idem_row *key, bool asked)
{
	struct used_key *k;
	int r;

	if (key->key[0] == '\0')
		return 0;
	if (keys_count(&obj->open) + keys_count(&obj->sent) >= WRITE_KEYS_MAX)
		return -EBUSY;
	if ((k = calloc(1, sizeof(*k))) == NULL)
		return -ENOMEM;
	k->row = *key;
	k->asked = asked;
	if ((r = idem_use(obj->orchd, key)) < 0) {
		free(k);
		return r;
	}
	*keys_end(&obj->open) = k;
	obj->open.dirty = true;
	if (obj->again != NULL)
		(void)evtimer_del(obj->again); /* somebody waits for it */
	object_wake(obj);
	return 0;
}

/* The key and the row of the trail, both or none. */
static int
ask_add(struct object *obj, const struct idem_row *key, bool asked)
{
	struct audit_note *n;
	int r = audit_new(obj, asked, &n);

	if (r == 0 && (r = key_add(obj, key, asked)) < 0)
		free(n);
	else if (r == 0)
		audit_add(obj, n);
	return r;
}

int
write_key(struct object *obj, const struct idem_row *key)
{
	/* without one nothing is written: its answer tells the trail */
	return key->key[0] == '\0' ? 0 : ask_add(obj, key, false);
}

int
write_ask(struct object *obj, uint32_t asked, const struct idem_row *key)
{
	struct write *w = &obj->open;
	void *was = NULL;
	int r;

	if (w->was == NULL && (was = malloc(obj->kind->rowlen)) == NULL)
		return -ENOMEM;
	if ((r = ask_add(obj, key, true)) < 0) {
		free(was);
		return r;
	}
	if (was != NULL) {
		memcpy(was, row_of(obj), obj->kind->rowlen);
		w->was = was;
		w->notes_was = w->nnotes;
	}
	w->asked |= asked;
	w->dirty = true;
	if (obj->again != NULL)
		(void)evtimer_del(obj->again);
	object_wake(obj);
	return 0;
}

int
write_new(struct object *obj, uint32_t asked, const struct idem_row *key)
{
	int r = ask_add(obj, key, true);

	if (r < 0)
		return r;
	obj->open.op = WRITE_NEW;
	obj->open.asked = asked;
	obj->open.dirty = true;
	object_wake(obj);
	return 0;
}

void
write_del(struct object *obj, uint32_t asked)
{
	obj->open.op = WRITE_DEL;
	obj->open.asked = asked;
	write_fact(obj);
}

/* --- with the store --- */

static void
on_done(void *arg, int r)
{
	struct object *obj = arg;

	obj->written = true;
	obj->result = r;
	object_wake(obj);
}

static void
on_again(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	object_wake(arg);
}

bool
write_owed(const struct object *obj)
{
	return obj->again != NULL && evtimer_pending(obj->again, NULL);
}

bool
write_asks_only(const struct object *obj, uint32_t asked)
{
	const struct write *w = &obj->sent;

	return w->asked != 0 && (w->asked & ~asked) == 0 && !w->facts;
}

bool
write_follows(const struct object *obj, const struct note *n, uint8_t type)
{
	const struct write *w = &obj->sent;

	while (++n < w->note + w->nnotes)
		if (n->type == type)
			return true;
	return false;
}

static int
send_txn(struct object *obj)
{
	struct write *w = &obj->sent;
	struct txn *t = txn_new(obj->orchd->store, on_done, obj);
	const struct audit_note *a;
	struct used_key *k;
	unsigned int i;
	int r;

	if (t == NULL)
		return -ENOMEM;
	r = obj->kind->save(t, obj, w->op);
	for (a = w->audits; r == 0 && a != NULL; a = a->next)
		r = audit_put(obj->orchd, t, a);
	if (r < 0) {
		txn_free(t);
		return r;
	}
	for (k = w->keys; k != NULL; k = k->next)
		k->has_old = idem_put(obj->orchd, t, &k->row, &k->old);
	for (i = 0; i < w->nnotes; i++)
		obj->last_seq = obj->kind->event(t, obj, &w->note[i]);
	txn_commit(t);
	return 0;
}

void
write_send(struct object *obj)
{
	int r;

	if (!obj->open.dirty || obj->writing || write_owed(obj))
		return;
	obj->sent = obj->open;
	memset(&obj->open, 0, sizeof(obj->open));
	obj->writing = true;
	if ((r = send_txn(obj)) < 0)
		on_done(obj, r);
}

static void
succeeded(struct object *obj)
{
	struct orchd *o = obj->orchd;
	const struct used_key *k;

	for (k = obj->sent.keys; k != NULL; k = k->next) {
		if (k->has_old)
			idem_forget(o, &k->old);
	}
	if (obj->sent.op == WRITE_NEW)
		obj->life = OBJECT_STORED;
	else if (obj->sent.op == WRITE_DEL)
		obj->life = OBJECT_GONE;
	if (obj->sent.nnotes > 0) {
		if (obj->last_seq > obj->tenant->told_seq)
			obj->tenant->told_seq = obj->last_seq;
		o->objects.told = true;
	}
	if (obj->kind->kept != NULL)
		obj->kind->kept(obj, obj->sent.asked);
	discard(obj, &obj->sent);
}

/* What a person asked cannot be kept: as if it had never been asked. */
static void
undo(struct object *obj, int r)
{
	struct write *w = &obj->sent;
	const uint32_t asked = w->asked;
	struct used_key *k, **at = &w->keys;

	if (w->op == WRITE_NEW)
		obj->life = OBJECT_NEVER;
	if (obj->kind->dropped != NULL)
		obj->kind->dropped(obj, asked, w->was);
	if (w->was != NULL) {
		memcpy(row_of(obj), w->was, obj->kind->rowlen);
		was_free(w, obj->kind->rowlen);
		w->nnotes = w->notes_was;
	}
	while (w->op != WRITE_DEL && (k = *at) != NULL) {
		if (!k->asked) { /* it was so already: that stays true */
			at = &k->next;
			continue;
		}
		*at = k->next;
		idem_forget(obj->orchd, &k->row);
		free(k);
	}
	if (w->op != WRITE_DEL)
		audits_free(w, true);
	w->asked = 0;
	wait_undone(obj, asked, r);
}

/* What could not be written goes before what is to be written next. */
static void
merge(struct object *obj)
{
	struct write *old = &obj->sent, next = obj->open;
	unsigned int i;

	if (next.was != NULL && old->was == NULL) {
		old->was = next.was;
		old->notes_was = old->nnotes + next.notes_was;
		next.was = NULL;
	}
	was_free(&next, obj->kind->rowlen);
	for (i = 0; i < next.nnotes; i++)
		note_add(old, &next.note[i]);
	*keys_end(old) = next.keys;
	*audits_end(old, &i) = next.audits;
	old->asked |= next.asked;
	old->facts = old->facts || next.facts;
	obj->open = *old;
	memset(old, 0, sizeof(*old));
}

/* Undone to the last: nothing of it is to be written, or remembered. */
static bool
is_void(const struct write *w)
{
	return w->op != WRITE_NEW && !w->facts && w->keys == NULL &&
	    w->audits == NULL && w->was == NULL;
}

static void
failed(struct object *obj, int r)
{
	const struct timeval tv = { .tv_sec = AGAIN_S };
	const bool more = obj->open.dirty;

	log_error("%s %s: state not written: %s", obj->kind->name,
	    obj->kind->title(obj), strerrordesc_np(-r));
	if (obj->sent.asked != 0 && !more)
		undo(obj, r);
	if (is_void(&obj->sent))
		return;
	merge(obj);
	if (more)
		return; /* with what was asked meanwhile, now */
	if (obj->again == NULL)
		obj->again = evtimer_new(obj->orchd->base, on_again, obj);
	if (obj->again == NULL || event_add(obj->again, &tv) < 0)
		log_error(
		    "%s %s: no timer", obj->kind->name, obj->kind->title(obj));
}

void
write_settle(struct object *obj)
{
	if (!obj->written)
		return;
	obj->written = obj->writing = false;
	if (obj->result < 0)
		failed(obj, obj->result);
	else
		succeeded(obj);
}
