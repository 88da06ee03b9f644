#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/reader.h"
#include "orchd/orchd.h"
#include "orchd/stored.h"
#include "proto/chan.h"
#include "proto/jbuf.h"
#include "proto/objects.h"
#include "tests/suite/t.h"

/*
 * Readers of events, between what the disk has and what orchd knows of it:
 * the store is played, and has an event as soon as its commit is through;
 * told_seq follows a turn later.
 */
static uint64_t on_disk;
static uint64_t kept = 1; /* the oldest that is */

int
store_oldest(struct store *s, int64_t tenant, uint64_t *ret)
{
	(void)s;
	(void)tenant;
	*ret = kept > on_disk ? 0 : kept;
	return 0;
}

int
store_events(struct store *s, int64_t tenant, uint64_t after, unsigned int max,
    int (*cb)(void *arg, const struct event_row *), void *arg)
{
	struct event_view ev = { .name = "a", .timestamp = 1, .uid = 1 };
	struct event_row row = { .tenant = tenant };
	struct err e = { 0 };
	struct jbuf b;
	int n, r = 0;

	(void)s;
	if (after + 1 < kept)
		after = kept - 1;
	for (n = 0; r == 0 && after + (uint64_t)n < on_disk && n < (int)max;
	     n++) {
		row.seq = after + (uint64_t)n + 1;
		ev.seq = (int64_t)row.seq;
		jbuf_init(&b, TABLE_JSON_MAX);
		t_eq(table_store(&stored_event, &ev, &b, &e), 0);
		row.body =
		    (struct store_doc){ b.p, b.len, stored_event.version };
		r = cb(arg, &row);
		jbuf_free(&b);
	}
	return r < 0 ? r : n;
}

struct chan *
conn_chan(const struct conn *c)
{
	static int there;

	(void)c;
	return (struct chan *)(void *)&there; /* it is only handed on */
}

static struct api_res res;
static uint32_t count; /* of the events in the answer */
static unsigned int answers;

int
chan_send2(struct chan *c, uint32_t type, uint64_t id, const void *head,
    size_t headlen, const void *tail, size_t taillen, int fd)
{
	(void)c;
	(void)id;
	t_eq(type, API_RES);
	t_eq(fd, -1);
	t_eq(headlen, sizeof(res));
	memcpy(&res, head, sizeof(res));
	count = UINT32_MAX;
	if (tail != NULL && taillen >= sizeof(count))
		memcpy(&count, tail, sizeof(count));
	answers++;
	return 0;
}

void
conn_park(struct conn *c)
{
	TAILQ_INSERT_TAIL(&c->orchd->conns.parked, c, parked);
	c->is_parked = true;
}

void
conn_unpark(struct conn *c)
{
	if (c->is_parked)
		TAILQ_REMOVE(&c->orchd->conns.parked, c, parked);
	c->is_parked = false;
}

void
answer_error(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status,
    const char *fmt, ...)
{
	(void)o;
	(void)conn;
	(void)id;
	(void)fmt;
	t_eq(status, 0); /* nothing fails here */
}

static struct orchd o;
static struct conn c;

/* Numbers up to given are given, up to disk on the disk, up to told known. */
static void
at(uint64_t given, uint64_t disk, uint64_t told)
{
	o.tenant.last_seq = given;
	o.tenant.told_seq = told;
	on_disk = disk;
}

static void
begin(void)
{
	memset(&o, 0, sizeof(o));
	TAILQ_INIT(&o.conns.parked);
	kept = 1;
	c = (struct conn){ .id = 1, .req = 1, .orchd = &o };
	answers = 0;
}

static void
ask(uint64_t after, bool at_once)
{
	c.req = 1;
	t_eq(reader_ask(&c, after, at_once), 0);
}

static void
test_turns(void)
{
	begin();
	at(5, 5, 5);
	ask(3, true);
	t_eq(count, 2);
	t_eq(res.last, 5);
	ask(res.last, false);
	t_eq(answers, 1);
	t_true(c.is_parked);
	at(6, 6, 6);
	reader_wake(&o);
	t_eq(answers, 2);
	t_eq(count, 1);
	t_eq(res.last, 6);
	t_true(!c.is_parked);
}

/* Its commit is through and orchd does not know yet: it is given once. */
static void
test_before_told(void)
{
	begin();
	at(6, 6, 5);
	ask(3, true);
	t_eq(count, 3);
	t_eq(res.last, 6);
	ask(res.last, false);
	t_eq(answers, 1);
	at(6, 6, 6);
	reader_wake(&o);
	t_eq(answers, 1);
	at(7, 7, 7);
	reader_wake(&o);
	t_eq(answers, 2);
	t_eq(count, 1);
	t_eq(res.last, 7);
}

static void
test_now(void)
{
	static const uint64_t after[] = { API_NOW, 1000, 7 };
	size_t i;

	for (i = 0; i < nitems(after); i++) {
		begin();
		at(6, 5, 5); /* one is given and not on the disk */
		ask(after[i], true);
		t_eq(count, 0);
		t_eq(res.last, 5);
		/* who brought a number is told that it is none */
		t_eq(res.total, after[i] == API_NOW ? 0 : 5 + 1);
	}
}

/* What is kept no more is said in its place, to who had a number before it. */
static void
test_gap(void)
{
	static const struct {
		const char *name;
		uint64_t after, kept, disk;
		uint32_t count;
		uint64_t total, last;
	} rows[] = {
		{ "nothing is missing", 4, 5, 9, 5, 0, 9 },
		{ "one is", 3, 5, 9, 5, 4 + 1, 9 },
		{ "many are", 1, 100, 120, 21, 99 + 1, 120 },
		{ "all that is kept", 0, 100, 120, 21, 0, 120 },
		{ "all are, and none came since", 3, 10, 9, 0, 9 + 1, 9 },
		{ "the last one is his", 9, 10, 9, 0, 0, 9 },
		{ "from now on", API_NOW, 10, 9, 0, 0, 9 },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin();
		kept = rows[i].kept;
		at(rows[i].disk, rows[i].disk, rows[i].disk);
		ask(rows[i].after, true);
		t_eq(answers, 1);
		t_eq(count, rows[i].count);
		t_eq(res.total, rows[i].total);
		t_eq(res.last, rows[i].last);
	}
}

/* One who falls behind while he reads is told as well. */
static void
test_gap_later(void)
{
	begin();
	at(5, 5, 5);
	ask(API_NOW, true);
	kept = 50;
	at(60, 60, 60);
	ask(res.last, false);
	t_eq(answers, 2);
	t_eq(count, 11);
	t_eq(res.total, 49 + 1);
	t_eq(res.last, 60);
}

const struct t_case t_cases[] = {
	{ "events in turns", test_turns },
	{ "an event that is on the disk before orchd knows", test_before_told },
	{ "from now on, or a number of another store", test_now },
	{ "a gap", test_gap },
	{ "a gap later", test_gap_later },
	{ NULL, NULL },
};
