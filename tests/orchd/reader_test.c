#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cur.h"
#include "common/log.h"
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
static struct {
	uint64_t bad_from, bad_to; /* cannot be read */
	unsigned int message; /* bytes in each */
	int events, oldest, send; /* what they come to; 0: well */
	uint64_t oldest_is; /* a moment later; 0: the same */
	unsigned int looks; /* for it */
	uint64_t after; /* of the first question since it was 0 */
	bool no_apid;
} play;

int
store_oldest(struct store *s, int64_t tenant, uint64_t *ret)
{
	(void)s;
	t_eq(tenant, 4);
	play.looks++;
	*ret = kept > on_disk ? 0 : kept;
	if (play.oldest_is != 0)
		*ret = play.oldest_is;
	return play.oldest;
}

static int
give(uint64_t seq, int (*cb)(void *arg, const struct event_row *), void *arg)
{
	struct event_view ev = {
		.name = "a", .timestamp = 1, .uid = 1, .seq = (int64_t)seq
	};
	struct event_row row = { .tenant = 4, .seq = seq };
	struct err e = { 0 };
	struct jbuf b;
	int r;

	memset(ev.message, 'm', play.message);
	jbuf_init(&b, TABLE_JSON_MAX);
	t_eq(table_store(&stored_event, &ev, &b, &e), 0);
	row.body = (struct store_doc){ b.p, b.len, stored_event.version };
	if (seq >= play.bad_from && seq <= play.bad_to)
		row.body.text = "no event";
	r = cb(arg, &row);
	t_true(r == 0 || r == -E2BIG); /* 0: the next one */
	jbuf_free(&b);
	return r;
}

int
store_events(struct store *s, int64_t tenant, uint64_t after, unsigned int max,
    int (*cb)(void *arg, const struct event_row *), void *arg)
{
	uint64_t seq = after + 1 < kept ? kept : after + 1;
	int n, r;

	(void)s;
	t_eq(tenant, 4);
	t_eq(max, 64);
	if (play.after == 0)
		play.after = after;
	for (n = 0; seq <= on_disk && n < (int)max; n++, seq++)
		if ((r = give(seq, cb, arg)) < 0)
			return r;
	return play.events < 0 ? play.events : n;
}

struct chan *
conn_chan(const struct conn *c)
{
	static int there;

	(void)c;
	/* it is only handed on */
	return play.no_apid ? NULL : (struct chan *)(void *)&there;
}

static struct api_res res;
static uint32_t count; /* of the events in the answer */
static uint64_t first; /* of them */
static uint32_t size; /* of the last one */
static unsigned int answers, errors;

/* That it has them one behind the other, and nothing else. */
static void
look(const void *tail, size_t len)
{
	struct event_view ev;
	const uint8_t *p;
	struct cur c;
	struct err e = { 0 };
	uint64_t seq;
	uint32_t i, n;

	cur_init(&c, tail, len);
	t_eq(cur_u32(&c, &count), 0);
	for (i = 0; i < count; i++) {
		if (cur_u32(&c, &n) < 0 || cur_u64(&c, &seq) < 0 || n < 8 ||
		    cur_view(&c, &p, n - 8) < 0)
			break;
		if (i == 0)
			first = seq;
		size = n + 4;
		t_eq(table_unpack_all(&event_table, p, n - 8, &ev, &e), 0);
		t_eq(ev.seq, seq);
		t_str(ev.name, "a");
		t_eq(strlen(ev.message), play.message);
	}
	t_eq(i, count);
	t_eq(cur_end(&c), 0);
}

int
chan_send2(struct chan *c, uint32_t type, uint64_t id, const void *head,
    size_t headlen, const void *tail, size_t taillen, int fd)
{
	t_true(c != NULL);
	t_eq(id, 9);
	t_eq(type, API_RES);
	t_eq(fd, -1);
	t_eq(headlen, sizeof(res));
	memcpy(&res, head, sizeof(res));
	t_eq(res.conn, 1);
	t_eq(res.status, 200);
	t_eq(res.doc, API_DOC_EVENTS);
	look(tail, taillen);
	answers++;
	return play.send;
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
answer_error(struct orchd *orchd, uint64_t conn, uint64_t id,
    unsigned int status, const char *fmt, ...)
{
	(void)orchd;
	t_eq(conn, 1);
	t_eq(id, 9);
	t_eq(status, 500);
	t_str(fmt, "events cannot be read");
	errors++;
}

static struct orchd o;
static struct tenant tenant = { .row = { .id = 4 } };
static struct conn c;

/* Numbers up to given are given, up to disk on the disk, up to told known. */
static void
at(uint64_t given, uint64_t disk, uint64_t told)
{
	tenant.row.last_seq = given;
	tenant.told_seq = told;
	on_disk = disk;
}

static void
begin(void)
{
	memset(&o, 0, sizeof(o));
	TAILQ_INIT(&o.conns.parked);
	kept = 1;
	memset(&play, 0, sizeof(play));
	c = (struct conn){ .id = 1, .req = 9, .tenant = &tenant, .orchd = &o };
	answers = errors = 0;
}

static void
ask(uint64_t after, bool at_once)
{
	c.req = 9;
	t_eq(reader_ask(&c, after, at_once), 0);
	t_eq(c.req, c.is_parked ? 9 : 0); /* no request any more */
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
	t_eq(c.req, 0);
	ask(res.last, true); /* who does not wait is told that there is none */
	t_eq(answers, 3);
	t_eq(count, 0);
	t_eq(res.last, 6);
	t_eq(res.total, 0);
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

/* What fits into an answer, to the byte, and the next one goes on behind it. */
static void
test_full(void)
{
	unsigned int i;

	begin();
	at(100, 100, 100);
	ask(0, true);
	t_eq(count, 64);
	t_eq(res.last, 64);
	play.message = 100;
	at(1, 1, 1);
	ask(0, true);
	play.message = (API_TAIL_MAX - 4) / 23 - size + 100;
	t_eq((API_TAIL_MAX - 4) % 23, 0);
	at(46, 46, 46);
	for (i = 0; i < 2; i++) {
		ask(i * UINT64_C(23), true);
		t_eq(first, i * 23 + 1);
		t_eq(count, 23);
		t_eq(res.last, (i + 1) * 23);
		t_eq(res.total, 0);
	}
	play.message++;
	ask(0, true);
	t_eq(count, 22);
	t_eq(res.last, 22);
}

/* A gap is said also with as many events behind it as an answer takes, or
 * with those that were read before reading failed. */
static void
test_gap_full(void)
{
	begin();
	at(100, 100, 100);
	kept = 50;
	play.message = 500;
	ask(3, true);
	t_eq(first, 50);
	t_true(res.last < 100);
	t_eq(res.total, 49 + 1);
	play.message = 0;
	play.events = -EIO;
	ask(4, true);
	t_eq(count, 51);
	t_eq(res.total, 49 + 1);
}

/* Where one falls out while he reads: between what he had and the first. */
static void
test_gap_oldest(void)
{
	begin();
	at(9, 9, 9);
	play.oldest = -EIO;
	ask(8, true); /* it is not looked for where the next one is there */
	t_eq(count, 1);
	c.req = 9;
	kept = 5;
	t_eq(reader_ask(&c, 3, true), -EIO);
	t_eq(answers, 1);
	t_eq(c.req, 9);
}

/* The oldest goes between what is read and the look for it, or the first one
 * comes. */
static void
test_gap_meanwhile(void)
{
	begin();
	at(90, 90, 90);
	kept = 50;
	play.oldest_is = 60;
	ask(3, true);
	t_eq(first, 50);
	t_eq(res.total, 49 + 1); /* it has those up to 59 */
	begin();
	at(90, 9, 90);
	play.oldest_is = 60;
	ask(9, true);
	t_eq(count, 0);
	t_eq(res.total, 59 + 1);
	t_eq(res.last, 59);
	begin();
	at(90, 9, 90);
	play.oldest_is = 10;
	ask(9, true);
	t_eq(count, 0);
	t_eq(res.total, 0);
	t_eq(res.last, 9);
}

/* Who has the last one, or gets the next one, is no reason to look for it. */
static void
test_no_look(void)
{
	begin();
	at(9, 9, 9);
	ask(9, true);
	ask(8, true);
	ask(0, true);
	at(9, 10, 9);
	ask(10, true);
	t_eq(play.looks, 0);
	ask(9, true);
	t_eq(play.looks, 0);
	kept = 5;
	ask(3, true);
	t_eq(play.looks, 1);
	at(9, 9, 3); /* on the disk, and not known */
	ask(3, true);
	t_eq(play.looks, 2);
	t_eq(res.total, 4 + 1);
}

/* What is logged. */
static void
logged(uint64_t after, bool at_once, char *text, size_t cap)
{
	int err = fcntl(2, F_DUPFD_CLOEXEC, 3);
	int fd = memfd_create("log", MFD_CLOEXEC);
	ssize_t n;

	t_eq(dup3(fd, 2, 0), 2);
	ask(after, at_once);
	t_eq(dup3(err, 2, 0), 2);
	n = pread(fd, text, cap - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	(void)close(fd);
	(void)close(err);
}

/* Events that cannot be read are left out, be they a whole batch. */
static void
test_bad(void)
{
	static const struct {
		const char *name;
		uint64_t from, to, kept;
		uint32_t count;
		uint64_t first, total;
		const char *says;
	} rows[] = {
		{ "none", 0, 0, 1, 60, 141, 0, "" },
		{ "the first", 141, 141, 1, 59, 142, 0,
		    "1 events left out; the"
		    " first, 141: " },
		{ "two of them", 150, 151, 1, 58, 141, 0,
		    "2 events left out; the first, 150: " },
		{ "the last", 200, 200, 1, 59, 141, 0,
		    "1 events left out; the first, 200: " },
		{ "all", 1, 200, 1, 0, 0, 0,
		    "60 events left out; the first, 141: " },
		{ "all that are left", 1, 200, 150, 0, 0, 150,
		    "51 events left out; the first, 150: " },
	};
	char text[512];
	size_t i;

	log_init("reader", LOG_ERROR);
	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin();
		at(200, 200, 200);
		kept = rows[i].kept;
		play.bad_from = rows[i].from;
		play.bad_to = rows[i].to;
		first = 0;
		logged(140, true, text, sizeof(text));
		t_eq(count, rows[i].count);
		t_eq(first, rows[i].first);
		t_eq(res.last, 200);
		t_eq(res.total, rows[i].total);
		t_true(rows[i].says[0] == '\0'
			? text[0] == '\0'
			: strstr(text, rows[i].says) != NULL);
		t_true(rows[i].says[0] == '\0' ||
		    strstr(text, ": \n") == NULL); /* and why */
	}
	begin();
	at(200, 200, 200);
	play.bad_from = 1;
	play.bad_to = 190;
	logged(0, true, text, sizeof(text));
	t_eq(count, 2); /* of the third batch, in which some are */
	t_eq(res.last, 192);
}

/* Who waits behind some that cannot be read does not get to them again. */
static void
test_bad_once(void)
{
	char text[512];

	begin();
	at(7, 7, 7);
	play.bad_from = 6;
	play.bad_to = 7;
	c.req = 9;
	log_init("reader", LOG_ERROR);
	logged(5, false, text, sizeof(text));
	t_true(strstr(text, "2 events left out") != NULL);
	t_true(c.is_parked);
	at(8, 8, 8);
	play.after = 0;
	reader_wake(&o);
	t_eq(play.after, 7);
	t_eq(answers, 1);
	t_eq(first, 8);
}

static void
test_fails(void)
{
	begin();
	at(5, 5, 5);
	play.events = -EIO;
	t_eq(reader_ask(&c, 5, true), -EIO);
	t_eq(answers, 0);
	t_true(!c.is_parked);
	play.events = 0;
	play.send = -1;
	t_eq(reader_ask(&c, 3, true), -ENOBUFS);
}

/* Those who wait: each by itself. */
static void
test_wake(void)
{
	struct conn other;

	begin();
	at(5, 5, 5);
	ask(5, false);
	other =
	    (struct conn){ .id = 1, .req = 9, .tenant = &tenant, .orchd = &o };
	t_eq(reader_ask(&other, 5, false), 0);
	t_true(other.is_parked);
	reader_wake(&o); /* none came */
	t_true(c.is_parked);
	t_true(other.is_parked);
	at(6, 6, 6);
	play.no_apid = true; /* it goes with its room */
	reader_wake(&o);
	t_eq(answers, 0);
	t_true(c.is_parked);
	play.no_apid = false;
	play.events = -EIO;
	at(6, 5, 5);
	reader_wake(&o); /* nor is the store asked for what is not told */
	t_eq(errors, 0);
	at(6, 5, 6);
	reader_wake(&o);
	t_eq(errors, 2);
	t_true(!c.is_parked);
	t_true(!other.is_parked);
	t_eq(c.req, 9); /* the error's to end */
	play.events = 0;
	at(5, 5, 5);
	t_eq(reader_ask(&c, 5, false), 0);
	other.req = 9;
	t_eq(reader_ask(&other, 5, false), 0);
	at(6, 6, 6);
	reader_wake(&o);
	t_eq(answers, 2);
	t_true(!c.is_parked);
	t_true(!other.is_parked);
	t_eq(c.req, 0);
	t_eq(other.req, 0);
	t_eq(errors, 2);
}

const struct t_case t_cases[] = {
	{ "events in turns", test_turns },
	{ "an event that is on the disk before orchd knows", test_before_told },
	{ "from now on, or a number of another store", test_now },
	{ "a gap", test_gap },
	{ "a gap later", test_gap_later },
	{ "as many as an answer takes", test_full },
	{ "a gap, and as many as an answer takes", test_gap_full },
	{ "where a gap is not looked for", test_gap_oldest },
	{ "a gap that comes meanwhile", test_gap_meanwhile },
	{ "no gap", test_no_look },
	{ "events that cannot be read", test_bad },
	{ "events that cannot be read, once", test_bad_once },
	{ "reading that fails", test_fails },
	{ "who waits", test_wake },
	{ NULL, NULL },
};
