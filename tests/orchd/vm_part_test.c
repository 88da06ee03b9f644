#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/util.h"
#include "orchd/object/object.h"
#include "tests/orchd/vm_played.h"
#include "tests/suite/t.h"

/* A part of a VM: its questions, what their answers make of it, its pauses. */
static struct part *tap, *jail;

static void
begin_part(enum part_state s)
{
	begin(VM_RUNNING);
	tap = &vm->part[0];
	jail = &vm->part[2];
	tap->state = jail->state = s;
}

/* A question that is answered so. */
static void
asks(struct part *p, enum part_ask what, int r)
{
	part_ask(p, what);
	part_answered(p, r, "because");
}

/* Milliseconds that a timer was last set to. */
static long
set_ms(void)
{
	return ev.added.tv_sec * 1000 + ev.added.tv_usec / 1000;
}

static void
test_init(void)
{
	struct part p;

	begin_part(PART_NONE);
	memset(&p, 0xff, sizeof(p));
	part_init(&p, tap->kind, vm, 5);
	t_true(p.kind == tap->kind);
	t_true(p.vm == vm);
	t_eq(p.index, 5);
	t_eq(p.fd, -1);
	t_eq(p.state, PART_NONE);
	t_eq(p.ask, ASK_NONE);
	t_eq(p.ask_id, 0);
	t_true(p.timer == NULL);
	t_true(!p.listed);
	end();
}

/* Each question has its number, and 15 s. */
static void
test_ask(void)
{
	begin_part(PART_NONE);
	t_true(!part_busy(tap));
	part_ask(tap, ASK_MAKE);
	t_str(asked, "make:tap");
	t_true(part_busy(tap));
	t_eq(set_ms(), 15000);
	t_eq(ev.added.tv_usec, 0);
	t_true(tap->listed); /* this life of its helper has it */
	part_ask(jail, ASK_RELEASE);
	t_true(!jail->listed);
	t_eq(tap->ask_id, 1);
	t_eq(jail->ask_id, 2);
	t_true(part_by_ask(&o, 1) == tap);
	t_true(part_by_ask(&o, 2) == jail);
	t_true(part_by_ask(&o, 3) == NULL);
	t_true(part_by_ask(&o, 0) == NULL);
	part_answered(tap, 0, "");
	t_true(part_by_ask(&o, 1) == NULL);
	t_eq(tap->ask_id, 0);
	t_true(!part_busy(tap));
	t_true(!evtimer_pending(tap->timer, NULL));
	part_answered(jail, 0, "");
	t_true(RB_EMPTY(&o.asks));
	end();
}

static void
test_late(void)
{
	begin_part(PART_NONE);
	part_ask(tap, ASK_MAKE);
	ev_expire(o.base, tap->timer);
	t_true(vm->obj.woken);
	t_true(!part_busy(tap));
	t_true(RB_EMPTY(&o.asks));
	t_eq(tap->state, PART_STALE); /* what came of it is not known */
	t_eq(tap->fault, -ETIMEDOUT);
	t_str(tap->why, "no answer in time");
	end();
	begin_part(PART_STALE); /* a pause that is over is no answer */
	asks(tap, ASK_RELEASE, -EIO);
	object_clear(&vm->obj);
	ev_expire(o.base, tap->timer);
	t_true(vm->obj.woken);
	t_eq(tap->state, PART_STALE);
	t_eq(tap->fault, 0);
	t_true(!part_busy(tap));
	end();
}

/* Each refusal in a row doubles it, up to 5 s. */
static void
test_pause(void)
{
	static const long ms[] = { 100, 200, 400, 800, 1600, 3200, 5000, 5000,
		5000 };
	size_t i;

	begin_part(PART_STALE);
	for (i = 0; i < nitems(ms); i++) {
		asks(tap, ASK_RELEASE, -EIO);
		t_true(part_busy(tap));
		t_eq(set_ms(), ms[i]);
	}
	asks(tap, ASK_RELEASE, 0);
	t_true(!part_busy(tap));
	asks(tap, ASK_RELEASE, -EIO);
	t_eq(set_ms(), 100);
	t_eq(ev.added.tv_usec, 100000);
	asks(tap, ASK_MAKE, -EIO); /* a fault of its own: no pause */
	t_true(!part_busy(tap));
	asks(tap, ASK_RELEASE, -EIO);
	t_eq(set_ms(), 100);
	end();
}

/* Its helper is not there to read it, or it cannot be asked at all. */
static void
test_not_sent(void)
{
	static const int dead[] = { -EPIPE, -ENOBUFS };
	size_t i;

	for (i = 0; i < nitems(dead); i++) {
		begin_part(PART_USED);
		refuse = dead[i];
		part_ask(jail, ASK_STOP);
		t_true(RB_EMPTY(&o.asks));
		t_true(!jail->stopping);
		t_eq(jail->fault, 0);
		t_eq(set_ms(), 100);
		t_true(part_busy(jail));
		end();
	}
	begin_part(PART_NONE);
	refuse = -EINVAL;
	part_ask(tap, ASK_MAKE);
	t_true(RB_EMPTY(&o.asks));
	t_eq(tap->state, PART_STALE);
	t_eq(tap->fault, -EINVAL);
	t_str(tap->why, "what it boots from cannot be made");
	t_true(vm->obj.woken);
	end();
}

static void
test_well(void)
{
	begin_part(PART_NONE);
	asks(tap, ASK_MAKE, 0); /* nothing came with it */
	t_eq(tap->state, PART_USED);
	tap->state = PART_NONE;
	part_ask(tap, ASK_MAKE);
	tap->fd = 0; /* as good as any */
	part_answered(tap, 0, "");
	t_eq(tap->state, PART_READY);
	tap->fd = -1;
	tap->state = PART_STALE; /* it ended meanwhile */
	asks(tap, ASK_MAKE, 0);
	t_eq(tap->state, PART_STALE);
	tap->adopt = true;
	asks(tap, ASK_ADOPT, 0);
	t_true(!tap->adopt);
	t_eq(forgotten, 0);
	asks(jail, ASK_STOP, 0);
	t_true(jail->stopping);
	t_true(vm->obj.woken);
	end();
}

/* Nothing is held any more, nor what came with it. */
static void
test_let_go(void)
{
	int fd;

	begin_part(PART_READY);
	fd = tap->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	tap->adopt = tap->stopping = true;
	asks(tap, ASK_RELEASE, 0);
	t_eq(tap->state, PART_NONE);
	t_true(!tap->adopt);
	t_true(!tap->stopping);
	t_eq(tap->fd, -1);
	t_eq(fcntl(fd, F_GETFD), -1);
	t_eq(forgotten, 1);
	jail->state = PART_USED; /* which has nothing to forget */
	asks(jail, ASK_RELEASE, 0);
	t_eq(jail->state, PART_NONE);
	end();
}

static void
test_badly(void)
{
	static const struct {
		const char *name;
		enum part_ask what;
		int r;
		bool adopts, stops, held;
	} rows[] = {
		{ "cannot be made good", ASK_ADOPT, -EIO, false, true, true },
		{ "is not known to be", ASK_ADOPT, -ETIMEDOUT, true, true,
		    true },
		{ "not released", ASK_RELEASE, -EIO, true, true, true },
		{ "another's by now", ASK_RELEASE, -EPERM, false, false,
		    false },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin_part(PART_USED);
		tap->adopt = tap->stopping = true;
		asks(tap, rows[i].what, rows[i].r);
		t_eq(tap->adopt, rows[i].adopts);
		t_eq(tap->stopping, rows[i].stops);
		t_eq(tap->state, rows[i].held ? PART_USED : PART_NONE);
		t_eq(tap->fault, 0);
		t_eq(set_ms(), 100);
		t_true(part_busy(tap));
		end();
	}
	for (i = 0; i < 2; i++) {
		t_row(i == 0 ? "not stopped" : "not there to be stopped");
		begin_part(PART_USED);
		asks(jail, ASK_STOP, i == 0 ? -EIO : -ENOENT);
		t_true(!jail->stopping);
		t_eq(jail->state, i == 0 ? PART_USED : PART_NONE);
		t_true(part_busy(jail));
		end();
	}
}

/* Its helper died: no answer comes, and a pause goes on. */
static void
test_lost(void)
{
	begin_part(PART_STALE);
	tap->listed = true;
	part_ask(tap, ASK_RELEASE);
	part_lost(tap);
	t_true(!tap->listed);
	t_true(!part_busy(tap));
	t_true(RB_EMPTY(&o.asks));
	asks(tap, ASK_RELEASE, -EIO);
	part_lost(tap);
	t_true(part_busy(tap));
	end();
}

/* What its next life holds, and what it does not. */
static void
test_listed(void)
{
	begin_part(PART_USED);
	part_listed(tap);
	t_eq(tap->state, PART_NONE);
	t_eq(forgotten, 1);
	tap->listed = true;
	part_listed(tap);
	t_eq(tap->state, PART_USED);
	tap->state = PART_READY;
	part_listed(tap);
	t_eq(tap->state, PART_READY);
	t_eq(forgotten, 1);
	end();
}

static void
test_clear(void)
{
	int fd;

	begin_part(PART_READY);
	fd = tap->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	part_ask(tap, ASK_ADOPT);
	part_clear(tap);
	t_true(RB_EMPTY(&o.asks));
	t_true(tap->timer == NULL);
	t_eq(fcntl(fd, F_GETFD), -1);
	part_clear(tap); /* nothing is left to clear */
	end();
}

/* Without a timer the log says so, and only then. */
static void
test_no_timer(void)
{
	char text[256];
	unsigned int how;
	int fd, err = fcntl(2, F_DUPFD_CLOEXEC, 3);
	ssize_t n;

	for (how = 0; how < 3; how++) {
		begin_part(PART_NONE);
		ev.fail_new = how == 1;
		ev.no_add = how == 2;
		fd = memfd_create("log", MFD_CLOEXEC);
		t_eq(dup3(fd, 2, 0), 2);
		part_ask(tap, ASK_MAKE);
		t_eq(dup3(err, 2, 0), 2);
		n = pread(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		(void)close(fd);
		t_eq(strstr(text, "no timer") != NULL, how > 0);
		ev.no_add = false;
		t_true(part_busy(tap));
		end();
	}
	(void)close(err);
}

const struct t_case t_cases[] = {
	{ "a new one", test_init },
	{ "a question", test_ask },
	{ "no answer", test_late },
	{ "pauses", test_pause },
	{ "a question that is not sent", test_not_sent },
	{ "answered well", test_well },
	{ "let go", test_let_go },
	{ "answered badly", test_badly },
	{ "a helper that died", test_lost },
	{ "a helper's list", test_listed },
	{ "one that goes", test_clear },
	{ "no timer", test_no_timer },
	{ NULL, NULL },
};
