#include <errno.h>

#include "orchd/batch.h"
#include "orchd/reserve.h"

/* Within the batch's transaction; a failure undoes this txn alone. */
static void
txn_run(const struct batch_to *to, struct txn *t)
{
	int r = t->result; /* an -ENOMEM while it was filled */

	if (t->kept)
		return;
	if (r == 0)
		r = sql_exec(to->db, "SAVEPOINT t");
	if (r < 0) {
		t->result = r;
		return;
	}
	if ((r = txn_apply(t, to->stmt)) < 0)
		(void)sql_exec(to->db, "ROLLBACK TO t");
	(void)sql_exec(to->db, "RELEASE t");
	t->result = r;
}

int
batch_end(sqlite3 *db, int r)
{
	if (r == 0)
		r = sql_exec(db, "COMMIT");
	if (r < 0 && sqlite3_get_autocommit(db) == 0)
		(void)sql_exec(db, "ROLLBACK");
	return r;
}

/* One commit of those that have not failed.  True: there was no space for one
 * that may be tried again. */
static bool
batch_once(const struct batch_to *to, struct txn_list *batch)
{
	struct txn *t;
	bool again = false;
	int r = sql_exec(to->db, "BEGIN IMMEDIATE");

	if (r == 0) {
		STAILQ_FOREACH(t, batch, entry)
		{
			txn_run(to, t);
			/* a full disk may undo all of it, not only t: then
			 * nothing of this batch is told to be written */
			if (sqlite3_get_autocommit(to->db) != 0) {
				r = t->result < 0 ? t->result : -EIO;
				break;
			}
		}
		r = batch_end(to->db, r);
	}
	STAILQ_FOREACH(t, batch, entry)
	{
		if (t->result == 0 && !t->kept) {
			t->result = r;
			t->kept = r == 0;
		}
		again |= t->result == -ENOSPC && !t->needs_room;
	}
	return again;
}

/* Those that were refused for want of space, once more. */
static void
forgive(struct txn_list *batch)
{
	struct txn *t;

	STAILQ_FOREACH(t, batch, entry)
	{
		if (t->result == -ENOSPC && !t->needs_room)
			t->result = 0;
	}
}

static void
refuse_new(struct txn_list *batch)
{
	struct txn *t;

	STAILQ_FOREACH(t, batch, entry)
	{
		if (t->needs_room && t->result == 0 && !t->kept)
			t->result = -ENOSPC;
	}
}

bool
batch_run(const struct batch_to *to, struct txn_list *batch)
{
	bool whole = reserve_make(to->reserve);

	if (!whole)
		refuse_new(batch);
	if (batch_once(to, batch)) {
		refuse_new(batch);
		do { /* what the WAL has done with it writes over */
			(void)sqlite3_wal_checkpoint_v2(to->db, NULL,
			    SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
			forgive(batch);
		} while (batch_once(to, batch) && reserve_give(to->reserve));
		whole = reserve_make(to->reserve);
	}
	return whole;
}
