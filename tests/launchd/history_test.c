#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/frame.h"
#include "common/logfile.h"
#include "common/logmarks.h"
#include "launchd/history.h"
#include "proto/ward.h"
#include "tests/suite/ev.h"
#include "tests/suite/t.h"

#define NAME "0000000000000001.console"
#define LINES 4096 /* of a file, in bytes */
#define NS INT64_C(1000000000)

static const struct logfile_conf conf = {
	.max = LINES, .rate = 1 << 30, .burst = 1 << 30, .mode = 0600
};

static struct event_base *base;
static struct histories hs;
static struct logfile *file;
static char dir[64];
static int64_t now;
static unsigned int said; /* lines */
static unsigned int gaps;
static long blocks;
static int lowest; /* descriptor that is free */

static int
free_fd(void)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	const int was = fd;

	fd_close(&fd);
	return was;
}

static void
begin(void)
{
	ev = (struct ev){ .fail_new = 0 };
	blocks = t_live();
	lowest = free_fd();
	(void)snprintf(dir, sizeof(dir), "/tmp/history.XXXXXX");
	t_true(mkdtemp(dir) != NULL);
	base = event_base_new();
	histories_init(&hs, base, open(dir, O_RDONLY | O_CLOEXEC));
	t_eq(logfile_new(hs.dir, NAME, &conf, &file), 0);
	said = gaps = 0;
}

static void
finish(void)
{
	logfile_free(file);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	t_eq(hs.n, 0);
	(void)unlinkat(hs.dir, NAME, 0);
	(void)unlinkat(hs.dir, NAME ".1", 0);
	(void)rmdir(dir);
	fd_close(&hs.dir);
	event_base_free(base);
	t_eq(t_live(), blocks);
	t_eq(free_fd(), lowest);
}

/* So many numbered lines of eight bytes. */
static void
say(unsigned int n)
{
	char line[16];

	for (; n > 0; n--) {
		(void)snprintf(line, sizeof(line), "%07u\n", said++);
		t_true(logfile_write(file, line, 8, now));
	}
	history_more(&hs, NAME);
}

static int
ask_of(const char *name, bool follow, int64_t since_ns)
{
	static const uint8_t knock[FRAME_HEAD_LEN] = { FRAME_OPEN };
	int sv[2];

	t_eq(socketpair(
		 AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv),
	    0);
	t_eq(send(sv[0], knock, sizeof(knock), 0), (long long)sizeof(knock));
	history_open(&hs, name, follow, since_ns, sv[1]);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	return sv[0];
}

static int
ask_since(bool follow, int64_t since_ns)
{
	return ask_of(NAME, follow, since_ns);
}

static int
ask(bool follow)
{
	return ask_since(follow, 0);
}

/* What comes without waiting: numbers from `from` on, without a gap but where
 * one is said.  Where they end; *ended: it hung up. */
static unsigned int
take(int sock, unsigned int from, bool *ended)
{
	static uint8_t in[1 << 20];
	static char text[1 << 20];
	size_t used = 0, at = 0, len = 0;
	ssize_t n;
	char *p;
	int i;

	*ended = false;
	for (i = 0; i < 64; i++) {
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		n = recv(sock, in + used, sizeof(in) - used, 0);
		if (n == 0)
			*ended = true;
		if (n > 0)
			used += (size_t)n;
	}
	while (at + FRAME_HEAD_LEN <= used) {
		size_t part = (size_t)in[at + 3] << 8 | in[at + 4];

		if (in[at] == FRAME_STDOUT) {
			memcpy(text + len, in + at + FRAME_HEAD_LEN, part);
			len += part;
		}
		at += FRAME_HEAD_LEN + part;
	}
	t_eq(at, used);
	text[len] = '\0';
	for (p = text; *p != '\0'; p += 8, from++) {
		if (strncmp(p, "\r\n[mews: ", 9) == 0) {
			gaps++;
			p = strstr(p, "]\r\n") + 3;
			t_true(strtoul(p, NULL, 10) >= from);
			from = (unsigned int)strtoul(p, NULL, 10);
		}
		if (strtoul(p, NULL, 10) != from || p[7] != '\n') {
			t_true(!"the next line");
			break;
		}
	}
	return from;
}

/* Both files, once, and nothing of what came after it was asked. */
static void
whole(void)
{
	bool ended;
	int s;

	begin();
	say(LINES / 8 + 10);
	s = ask(false);
	say(5);
	t_eq(take(s, 0, &ended), LINES / 8 + 10);
	t_true(ended);
	fd_close(&s);
	s = ask(false);
	(void)take(s, 0, &ended);
	fd_close(&s);
	finish();
}

/* Who follows has each line once, across the turns of the file, to the end. */
static void
follows(void)
{
	unsigned int at;
	bool ended;
	int s, i;

	begin();
	s = ask(true);
	at = take(s, 0, &ended);
	t_eq(at, 0);
	for (i = 0; i < 40; i++) {
		say(100);
		at = take(s, at, &ended);
		t_eq(at, said);
		t_true(!ended);
	}
	t_eq(gaps, 0);
	say(3);
	history_end(&hs, NAME);
	t_eq(take(s, at, &ended), said);
	t_true(ended);
	fd_close(&s);
	finish();
}

/* One whose file was removed before it had read it goes on with what there is,
 * and says so. */
static void
left_behind(void)
{
	unsigned int at;
	bool ended;
	int s;

	begin();
	say(10);
	s = ask(true);
	at = take(s, 0, &ended);
	t_eq(at, 10);
	t_eq(gaps, 0);
	say(4 * LINES / 8);
	t_eq(take(s, at, &ended), said);
	t_eq(gaps, 1);
	history_end(&hs, NAME);
	(void)take(s, said, &ended);
	t_true(ended);
	fd_close(&s);
	finish();
}

/* The first frame, and nothing behind it; refused: then the end. */
static void
first(int s, unsigned int status, const char *text)
{
	const size_t len = 2 + strlen(text);
	uint8_t got[300],
	    want[300] = { FRAME_OPENED, 0, 0, (uint8_t)(len >> 8), (uint8_t)len,
		    (uint8_t)(status >> 8), (uint8_t)status };
	ssize_t n = recv(s, got, sizeof(got), 0);

	memcpy(want + 7, text, len - 2);
	t_mem(got, n > 0 ? (size_t)n : 0, want, FRAME_HEAD_LEN + len);
	t_eq(recv(s, got, sizeof(got), 0), status == 101 ? -1 : 0);
}

/* All go, and their places are free. */
static void
hang_up(int *s, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		fd_close(&s[i]);
	for (i = 0; i < 4; i++)
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
	t_eq(hs.n, 0);
}

/* Places are few, whosever log is read, and are given back by who goes: at once
 * where another needs them. */
static void
places(void)
{
	int s[HISTORIES_MAX], more;
	unsigned int i;

	begin();
	for (i = 0; i < HISTORIES_MAX; i++) {
		s[i] = ask_of(i < 4 ? "other.console" : NAME, true, 0);
		first(s[i], 101, "");
	}
	more = ask_of("other.console", true, 0);
	first(more, 503, "64 read logs of VMs on this host already: try again");
	fd_close(&more);
	for (i = 0; i < 3; i++) {
		fd_close(&s[i]);
		s[i] = ask(true);
		first(s[i], 101, "");
	}
	more = ask(true);
	first(more, 503, "64 read logs of VMs on this host already: try again");
	fd_close(&more);
	hang_up(s, HISTORIES_MAX);
	s[0] = ask(true);
	first(s[0], 101, "");
	hang_up(s, 1);
	finish();
}

/* Why not is said as far as there is room for it. */
static void
refused(void)
{
	char text[300];
	int sv[2];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	begin();
	t_eq(socketpair(
		 AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv),
	    0);
	t_eq(send(sv[0], "abc", 3, 0), 3);
	history_refuse(sv[1], 409, text);
	text[256 - FRAME_HEAD_LEN - 2] = '\0';
	first(sv[0], 409, text);
	fd_close(&sv[0]);
	finish();
}

/* Who cannot be served hears it, and has no place. */
static void
no_memory(void)
{
	unsigned int n, how;
	bool failed;
	int s;

	for (how = 0; how < 2; how++) {
		for (n = 1, failed = true; failed; n++) {
			begin();
			if (how == 0)
				t_fail_alloc(n);
			else
				ev.fail_new = n;
			s = ask(true);
			failed = how == 0 ? t_alloc_failed() : n <= 3;
			t_fail_alloc(0);
			ev.fail_new = 0;
			if (failed && how == 0 && hs.n == 1)
				failed = false; /* of the loop, not ours */
			if (failed) {
				first(s, 503, "out of memory");
				t_eq(hs.n, 0);
			}
			hang_up(&s, 1);
			finish();
		}
		/* the loop's own do not fail where a sanitizer has the
		 * allocator */
		t_true(n > (how == 0 ? 2 : 4));
	}
	begin();
	ev.no_add = true;
	s = ask(true);
	ev.no_add = false;
	first(s, 503, "out of memory");
	hang_up(&s, 1);
	finish();
}

/* Who says nothing has ten seconds to, and is served nothing. */
static void
silent(void)
{
	int sv[2];

	begin();
	say(1);
	t_eq(socketpair(
		 AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv),
	    0);
	history_open(&hs, NAME, true, 0, sv[1]);
	t_eq(ev.added.tv_sec, 10);
	t_eq(ev.added.tv_usec, 0);
	say(1);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	t_eq(recv(sv[0], (char[1]){ 0 }, 1, 0), -1);
	hang_up(sv, 1);
	finish();
}

/* The marks of a file, which was written last when the last of them says. */
static void
mark(const char *name, const struct logmark *k, size_t n)
{
	const struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
		{ .tv_sec = k[n - 1].until_ns / NS } };
	char marks[LOGMARKS_NAME_MAX];
	int fd;

	(void)snprintf(marks, sizeof(marks), "%s" LOGMARKS_SUFFIX, name);
	fd = openat(
	    hs.dir, marks, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	t_eq(write(fd, k, n * sizeof(*k)), (long long)(n * sizeof(*k)));
	fd_close(&fd);
	t_eq(utimensat(hs.dir, name, t, 0), 0);
}

/* From the first mark of either file that is young enough; to the end if none
 * is.  Who follows has what comes, too. */
static void
since(void)
{
	static const struct logmark older[] = { { 0, 1000 * NS },
		{ 800, 2000 * NS } };
	static const struct logmark newer[] = { { 0, 3000 * NS },
		{ 40, 4000 * NS } };
	static const struct {
		int64_t at;
		unsigned int from;
	} rows[] = { { 1, 0 }, { 1000, 0 }, { 1500, 100 }, { 2000, 100 },
		{ 2500, 512 }, { 3500, 517 }, { 4500, 522 } };
	unsigned int at;
	bool ended;
	size_t i;
	int s;

	begin();
	say(LINES / 8 + 10); /* 512 in the older file */
	mark(NAME ".1", older, 2);
	mark(NAME, newer, 2);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		s = ask_since(false, rows[i].at * NS);
		t_eq(take(s, rows[i].from, &ended), said);
		t_true(ended);
		fd_close(&s);
	}
	s = ask_since(true, 4500 * NS);
	t_eq(take(s, said, &ended), said);
	for (i = 0; i < 12; i++) {
		at = said;
		say(100);
		t_eq(take(s, at, &ended), said);
	}
	t_true(!ended);
	history_end(&hs, NAME);
	(void)take(s, said, &ended);
	t_true(ended);
	fd_close(&s);
	t_eq(gaps, 0);
	(void)unlinkat(hs.dir, NAME LOGMARKS_SUFFIX, 0);
	(void)unlinkat(hs.dir, NAME ".1" LOGMARKS_SUFFIX, 0);
	finish();
}

/* Of the older file alone, when there is no other at that moment. */
static void
since_one_file(void)
{
	static const struct logmark k[] = { { 0, 1000 * NS } };
	bool ended;
	int s;

	begin();
	s = ask_since(true, 1000 * NS); /* none at all */
	t_eq(take(s, 0, &ended), 0);
	say(10);
	t_eq(take(s, 0, &ended), 10);
	history_end(&hs, NAME);
	fd_close(&s);
	t_eq(renameat(hs.dir, NAME, hs.dir, NAME ".1"), 0);
	mark(NAME ".1", k, 1);
	s = ask_since(true, 2000 * NS);
	t_eq(take(s, 10, &ended), 10);
	now += LOGFILE_LOOK_MS;
	say(5);
	t_eq(take(s, 10, &ended), said);
	history_end(&hs, NAME);
	(void)take(s, said, &ended);
	t_true(ended);
	fd_close(&s);
	(void)unlinkat(hs.dir, NAME ".1" LOGMARKS_SUFFIX, 0);
	finish();
}

const struct t_case t_cases[] = {
	{ "whole", whole },
	{ "follows", follows },
	{ "left behind", left_behind },
	{ "places", places },
	{ "refused", refused },
	{ "no memory", no_memory },
	{ "silent", silent },
	{ "since", since },
	{ "since, one file", since_one_file },
	{ NULL, NULL },
};
