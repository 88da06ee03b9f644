#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/oom.h"
#include "common/log.h"
#include "tests/suite/t.h"

#define HEAD "3,517,5424840,-;"
#define TAIL " total-vm:26248kB, anon-rss:23916kB\n"
#define GROUP HEAD "Memory cgroup out of memory: Killed process "

static const struct {
	const char *name, *record, *last;
	bool is;
} rows[] = {
	{ "at the workload's limit", GROUP "91 (tail)" TAIL, "tail, process 91",
	    true },
	{ "at the guest's", HEAD "Out of memory: Killed process 80 (init)" TAIL,
	    "init, process 80", true },
	{ "a name with brackets", GROUP "7 (a) (b)" TAIL, "a) (b, process 7",
	    true },
	{ "a name of quotes", GROUP "7 (\"\\x22)" TAIL, "??x22, process 7",
	    true },
	{ "a long name",
	    GROUP "12345678901 (0123456789012345678901234567890123456789)" TAIL,
	    "0123456789012345678901234567890, process 12345678", true },
	{ "no name", GROUP "91" TAIL, "", true },
	{ "an empty name", GROUP "91 ()" TAIL, ", process 91", true },
	{ "no end of it", GROUP "91 (tail", "", true },
	{ "a name of other bytes", GROUP "7 (\x7f~\x1f \xc3)" TAIL,
	    "?~? ?, process 7", true },
	{ "no process", GROUP, "", true },
	{ "another record",
	    HEAD "usb: out of memory: Killed process 1 (a)" TAIL, "", false },
	{ "a word inside", HEAD "x Out of memory: Killed process 1 (a)" TAIL,
	    "", false },
	{ "empty", "", "", false },
};

static void
every_row(void)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct oom o = { .kills = 5 };

		t_row(rows[i].name);
		t_eq(oom_read(&o, rows[i].record), rows[i].is);
		t_eq(o.kills, rows[i].is ? 6 : 5);
		t_true(strncmp(o.last, rows[i].last, sizeof(o.last) - 1) == 0);
	}
}

/* --- the log itself, played --- */

#define KMSG 4000 /* no descriptor of ours */
#define RECORD_BYTES 8192

static struct {
	int open_r, seek_r, watch_r; /* 0, or what errno is */
	const int *reads; /* bytes, 0: the end, or a negative errno */
	unsigned int nreads;
	unsigned int nread, nwatched, nunwatched, nclosed;
} play;

int
open(const char *path, int flags, ...)
{
	if (strcmp(path, "/dev/kmsg") != 0)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
	t_eq(flags, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	errno = play.open_r;
	return play.open_r == 0 ? KMSG : -1;
}

off_t
lseek(int fd, off_t at, int whence)
{
	t_eq(fd, KMSG);
	t_eq(at, 0);
	t_eq(whence, SEEK_END); /* what was before is nobody's of ours */
	errno = play.seek_r;
	return play.seek_r == 0 ? 0 : -1;
}

int
close(int fd)
{
	if (fd != KMSG)
		return (int)syscall(SYS_close, fd);
	play.nclosed++;
	return 0;
}

ssize_t
read(int fd, void *buf, size_t cap)
{
	static const char text[] = HEAD "Out of memory: Killed process 80 (x)";
	int n;

	if (fd != KMSG)
		return syscall(SYS_read, fd, buf, cap);
	t_eq(cap, RECORD_BYTES);
	t_true(play.nread < play.nreads);
	n = play.nread < play.nreads ? play.reads[play.nread] : 0;
	play.nread++;
	if (n <= 0) {
		errno = -n;
		return n < 0 ? -1 : 0;
	}
	memset(buf, ' ', (size_t)n);
	memcpy(
	    buf, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
	return n;
}

int
loop_watch(struct watch *w, uint32_t events)
{
	t_eq(w->fd, KMSG);
	t_eq(events, EPOLLIN);
	play.nwatched++;
	errno = play.watch_r;
	return play.watch_r == 0 ? 0 : -1;
}

void
loop_unwatch(struct watch *w)
{
	t_eq(w->fd, KMSG);
	play.nunwatched++;
}

/* Without one an agent says so and goes on. */
static void
opened(void)
{
	static const struct {
		const char *name;
		int open_r, seek_r, watch_r;
		unsigned int nwatched, nclosed;
	} ways[] = {
		{ "there", 0, 0, 0, 1, 0 },
		{ "not there", ENOENT, 0, 0, 0, 0 },
		{ "without an end", 0, EINVAL, 0, 0, 1 },
		{ "not to be watched", 0, 0, ENOMEM, 1, 1 },
	};
	size_t i;

	log_init("test", LOG_ERROR);
	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct oom o = { .kills = 0 };

		t_row(ways[i].name);
		memset(&play, 0, sizeof(play));
		play.open_r = ways[i].open_r;
		play.seek_r = ways[i].seek_r;
		play.watch_r = ways[i].watch_r;
		oom_open(&o);
		t_eq(play.nwatched, ways[i].nwatched);
		t_eq(play.nclosed, ways[i].nclosed);
		t_eq(o.w.fd, i == 0 ? KMSG : -1);
		t_true(o.w.arg == &o);
	}
}

#define ALL 100 /* a record that says it, cut behind the process */
#define FEW 20 /* one that is cut before */

/* One turn: so many, and no more are read; what fails for a moment is tried
 * again, what fails for good is left. */
static void
read_on(void)
{
	static const int some[] = { ALL, FEW, ALL, -EAGAIN };
	static const int lost[] = { -EPIPE, ALL, -EPIPE, -EAGAIN };
	static const int signalled[] = { ALL, -EINTR };
	static const int ended[] = { ALL, 0 };
	static const int broken[] = { ALL, -EIO };
	static const int one[] = { 1, -EAGAIN };
	static const int longest[] = { RECORD_BYTES, -EAGAIN };
	static int many[33], gone[33];
#define READS(r) (r), sizeof(r) / sizeof((r)[0])
	static const struct {
		const char *name;
		const int *reads;
		unsigned int nreads, nread, kills, nunwatched;
	} turns[] = {
		{ "some", READS(some), 4, 2, 0 },
		{ "some were written over", READS(lost), 4, 1, 0 },
		{ "a signal", READS(signalled), 2, 1, 0 },
		{ "its end", READS(ended), 2, 1, 1 },
		{ "an error", READS(broken), 2, 1, 1 },
		{ "a byte", READS(one), 2, 0, 0 },
		{ "as long as can be", READS(longest), 2, 1, 0 },
		{ "more than a turn's", READS(many), 32, 32, 0 },
		{ "none but lost ones", READS(gone), 32, 0, 0 },
	};
	struct oom o;
	size_t i;

	for (i = 0; i < 33; i++) {
		many[i] = ALL;
		gone[i] = -EPIPE;
	}
	for (i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		t_row(turns[i].name);
		memset(&play, 0, sizeof(play));
		memset(&o, 0, sizeof(o));
		oom_open(&o);
		play.reads = turns[i].reads;
		play.nreads = turns[i].nreads;
		o.w.fn(o.w.arg, EPOLLIN);
		t_eq(play.nread, turns[i].nread);
		t_eq(o.kills, turns[i].kills);
		t_eq(play.nunwatched, turns[i].nunwatched);
	}
}

const struct t_case t_cases[] = { { "the kernel's log, opened", opened },
	{ "the kernel's log, read", read_on },
	{ "records of the kernel's log", every_row }, { NULL, NULL } };
