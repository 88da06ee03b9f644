#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/util.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/link/link_launch.h"
#include "orchd/orchd.h"
#include "orchd/vm/doubt.h"
#include "orchd/vm/stream.h"
#include "orchd/vm/vm.h"
#include "proto/launch.h"
#include "tests/suite/ev.h"
#include "tests/suite/t.h"

/* Who gets a stream of a VM, who waits for one, and what all others hear; the
 * launcher, the connections and the clock are played. */

#define CONNS 8

static struct orchd o;
static struct vm *vm;
static struct conn conns[CONNS]; /* by id; 0 is none */
static const uint32_t listed[SHARE_KINDS] = { 1, 1 };
static long blocks;
static char said[1024];
static int up, down, kept; /* ends of the last stream, and a copy of up */

/* How it is played; begin() sets all back. */
static struct {
	int64_t now_ms;
	bool no_pair;
	int pass_r;
	const char *words, *now; /* doubt, in the two ways; NULL: none */
} play;

#define SAYS(want)                   \
	do {                         \
		t_str(said, (want)); \
		said[0] = '\0';      \
	} while (0)

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
note(const char *fmt, ...)
{
	const size_t n = strlen(said);
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)snprintf(
	    said + n, sizeof(said) - n, "%s%s", n > 0 ? " " : "", text);
}

int64_t
clock_ms(void)
{
	return play.now_ms;
}

int
socketpair(int domain, int type, int protocol, int sv[2])
{
	if (play.no_pair) {
		errno = EMFILE;
		return -1;
	}
	return (int)syscall(SYS_socketpair, domain, type, protocol, sv);
}

/* --- connections --- */

struct conn *
conn_find(struct orchd *orchd, uint64_t id)
{
	t_true(orchd == &o);
	return id > 0 && id < CONNS && conns[id].id == id ? &conns[id] : NULL;
}

static bool
waits(uint64_t conn)
{
	const struct queued *who;

	TAILQ_FOREACH (who, &vm->queue.list, entry)
		if (who->ask.conn == conn)
			return true;
	return false;
}

/* As an apid does that does not take it: the connection ends with it. */
static void
answered(uint64_t conn, uint64_t id)
{
	t_eq(id, conn + 100);
	t_true(!waits(conn));
	if (conn < CONNS) {
		t_eq(conns[conn].queued_at, 0);
		conns[conn].id = 0;
	}
}

void
answer_error(struct orchd *orchd, uint64_t conn, uint64_t id,
    unsigned int status, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	t_true(orchd == &o);
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	note("%u:%u:%s", (unsigned int)conn, status, text);
	answered(conn, id);
}

void
answer_stream(struct orchd *orchd, uint64_t conn, uint64_t id, int fd)
{
	t_true(orchd == &o);
	note("%u:stream", (unsigned int)conn);
	up = fd;
	answered(conn, id);
}

/* --- the VM and its launcher --- */

static int
passed(int fd)
{
	if (play.pass_r < 0)
		(void)close(fd);
	else
		down = fd;
	return play.pass_r;
}

int
link_launch_stream(
    struct orchd *orchd, uint64_t vmid, uint32_t kind, uint32_t flags, int fd)
{
	t_true(orchd == &o);
	note("stream:%u:%u:%u", (unsigned int)vmid, kind, flags);
	return passed(fd);
}

int
link_launch_log(struct orchd *orchd, uint64_t vmid, uint32_t kind,
    uint32_t flags, int64_t since_ns, int fd)
{
	t_true(orchd == &o);
	note("log:%u:%u:%u:%d", (unsigned int)vmid, kind, flags, (int)since_ns);
	return passed(fd);
}

static bool
doubts(const char *words, char *ret, size_t len)
{
	if (words != NULL)
		(void)snprintf(ret, len, "%s", words);
	return words != NULL;
}

bool
doubt_words(const struct vm *of, char *ret, size_t len)
{
	t_true(of == vm);
	return doubts(play.words, ret, len);
}

bool
doubt_now(const struct vm *of, char *ret, size_t len)
{
	t_true(of == vm);
	return doubts(play.now, ret, len);
}

void
doubt_broken(const struct vm *of, char *ret, size_t len)
{
	t_true(of == vm);
	memset(ret, 'x', len - 1);
	ret[len - 1] = '\0';
}

const struct part *
vm_life_const(const struct vm *of)
{
	return &of->part[0];
}

void
temporary_hold(struct vm *of)
{
	t_true(of == vm);
	note("hold");
}

struct share *
vm_share(struct vm *of, uint32_t kind)
{
	t_true(of == vm);
	return kind == STREAM_SIGNAL ? &of->signals : &of->streams;
}

bool
vm_is_held_by(uint32_t kind)
{
	return kind == STREAM_EXEC || kind == STREAM_CONSOLE;
}

void
conn_has_stream(struct conn *c, uint64_t vmid, uint32_t kind, int fd)
{
	t_true(c == &conns[c->id]);
	c->stream_of = vmid;
	c->stream_kind = kind;
	kept = fd;
}

/* --- a test --- */

static void
on_turn(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* A VM that runs and is ready, of so many streams. */
static void
begin(uint64_t total)
{
	static const struct object_kind kind = { .name = "vm" };
	uint64_t i;

	memset(&play, 0, sizeof(play));
	play.now_ms = 1000;
	ev = (struct ev){ .fail_new = 0 };
	said[0] = '\0';
	up = down = kept = -1;
	blocks = t_live();
	memset(&o, 0, sizeof(o));
	o.base = event_base_new();
	TAILQ_INIT(&o.objects.woken);
	o.objects.turn = event_new(o.base, -1, 0, on_turn, NULL);
	if ((vm = calloc(1, sizeof(*vm) + sizeof(vm->part[0]))) == NULL)
		abort();
	object_init(&vm->obj, &kind, &o);
	vm->obj.life = OBJECT_STORED;
	vm->row.vmid = 7;
	(void)snprintf(vm->row.name, sizeof(vm->row.name), "v");
	vm->row.state = VM_RUNNING;
	vm->run.ready = true;
	vm->nparts = 1;
	vm->part[0].state = PART_USED;
	share_init(&vm->streams, total, listed);
	share_init(&vm->signals, VM_SIGNALS_MAX, listed);
	queue_init(&vm->queue, listed);
	for (i = 0; i < CONNS; i++)
		conns[i] = (struct conn){ .id = i };
}

static void
close_ends(void)
{
	fd_close(&up);
	fd_close(&down);
	fd_close(&kept);
}

static void
end(void)
{
	close_ends();
	queue_clear(&vm->queue);
	share_clear(&vm->streams);
	share_clear(&vm->signals);
	object_clear(&vm->obj);
	free(vm);
	event_free(o.objects.turn);
	event_base_free(o.base);
	t_eq(t_live(), blocks);
}

static struct share_who
user(uint32_t uid)
{
	return (struct share_who){ uid, SHARE_USER };
}

static void
ask(uint64_t conn, uint32_t uid, uint32_t kind)
{
	const struct stream_ask a = { .who = user(uid),
		.conn = conn,
		.id = conn + 100,
		.kind = kind,
		.flags = 5,
		.since_ns = 9 };

	stream_ask(vm, &a);
}

static void
serve(void)
{
	stream_serve(&vm->obj);
	close_ends();
}

/* Of three streams a user has all that he may: he waits with a connection. */
static void
begin_waiting(uint64_t conn)
{
	begin(3);
	ask(1, 1, STREAM_EXEC);
	close_ends();
	ask(2, 1, STREAM_CONSOLE_LOG);
	close_ends();
	SAYS("stream:7:1:5 hold 1:stream log:7:3:5:9 2:stream");
	ask(conn, 1, STREAM_EXEC);
	SAYS("");
	t_true(waits(conn));
}

static void
test_given(void)
{
	static const struct {
		uint32_t kind;
		unsigned int nstreams, nsignals;
		const char *says;
	} rows[] = {
		{ STREAM_EXEC, 1, 0, "stream:7:1:5 hold 1:stream" },
		{ STREAM_CONSOLE, 1, 0, "stream:7:2:5 hold 1:stream" },
		{ STREAM_CONSOLE_LOG, 1, 0, "log:7:3:5:9 1:stream" },
		{ STREAM_SIGNAL, 0, 1, "stream:7:4:5 1:stream" },
		{ STREAM_VMM_LOG, 1, 0, "log:7:5:5:9 1:stream" },
	};
	char byte = 0;
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].says);
		begin(3);
		ask(1, 1, rows[i].kind);
		SAYS(rows[i].says);
		t_eq(conns[1].stream_of, 7);
		t_eq(conns[1].stream_kind, rows[i].kind);
		t_eq(share_has(&vm->streams, user(1)), rows[i].nstreams);
		t_eq(share_has(&vm->signals, user(1)), rows[i].nsignals);
		t_eq(write(up, "a", 1), 1);
		t_eq(read(down, &byte, 1), 1);
		t_eq(byte, 'a');
		t_eq(read(down, &byte, 1), -1);
		t_eq(errno, EAGAIN);
		t_true((fcntl(up, F_GETFD) & FD_CLOEXEC) != 0);
		t_true((fcntl(kept, F_GETFD) & FD_CLOEXEC) != 0);
		t_true(kept > 2);
		(void)shutdown(kept, SHUT_RDWR); /* is the end of it */
		t_eq(read(down, &byte, 1), 0);
		end();
	}
}

/* It has none then, and nothing is left of it. */
static void
test_not_given(void)
{
	static const struct {
		const char *name;
		bool no_pair, no_conn;
		int pass_r;
		unsigned int alloc;
		const char *exec, *signal;
	} rows[] = {
		{ "no descriptor", true, false, 0, 0,
		    "1:503:no descriptor is left for a stream: try again",
		    "1:503:no descriptor is left for a stream: try again" },
		{ "no launcher", false, false, -EPIPE, 0,
		    "stream:7:1:5 1:503:the launcher restarts: try again",
		    "stream:7:4:5 1:503:the launcher restarts: try again" },
		{ "a busy one", false, false, -ENOBUFS, 0,
		    "stream:7:1:5 1:503:the launcher is busy: try again",
		    "stream:7:4:5 1:503:the launcher is busy: try again" },
		{ "nobody", false, true, 0, 0, "", "" },
		{ "no memory", false, false, 0, 1, "1:500:out of memory",
		    "1:500:out of memory" },
	};
	size_t i, how;
	int lowest, fd;

	for (i = 0; i < nitems(rows); i++) {
		for (how = 0; how < 2; how++) {
			t_row(rows[i].name);
			begin(3);
			lowest = fcntl(0, F_DUPFD_CLOEXEC, 0);
			(void)close(lowest);
			play.no_pair = rows[i].no_pair;
			play.pass_r = rows[i].pass_r;
			if (rows[i].no_conn)
				conns[1].id = 0;
			t_fail_alloc(rows[i].alloc);
			ask(1, 1, how == 0 ? STREAM_EXEC : STREAM_SIGNAL);
			t_fail_alloc(0);
			SAYS(how == 0 ? rows[i].exec : rows[i].signal);
			t_eq(share_has(&vm->streams, user(1)), 0);
			t_eq(share_has(&vm->signals, user(1)), 0);
			t_eq(kept, -1);
			t_true(queue_is_empty(&vm->queue));
			close_ends();
			fd = fcntl(0, F_DUPFD_CLOEXEC, 0);
			t_eq(fd, lowest);
			(void)close(fd);
			end();
		}
	}
}

#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10

/* What the VM is says who may have one. */
static void
test_unfit(void)
{
	static const struct {
		const char *name;
		enum object_life life;
		enum vm_state state;
		enum part_state jail;
		bool unready;
		const char *words, *now;
		uint32_t kind;
		const char *says;
	} rows[] = {
		{ "deleted", OBJECT_GONE, VM_RUNNING, PART_USED, false, NULL,
		    NULL, STREAM_EXEC, "1:409:vm v was deleted meanwhile" },
		{ "and its log", OBJECT_GONE, VM_RUNNING, PART_USED, false,
		    NULL, NULL, STREAM_CONSOLE_LOG,
		    "1:409:vm v was deleted meanwhile" },
		{ "stopped", OBJECT_STORED, VM_STOPPED, PART_USED, false, NULL,
		    NULL, STREAM_CONSOLE, "1:409:vm not running" },
		{ "its log is there", OBJECT_STORED, VM_STOPPED, PART_NONE,
		    true, "a", "b", STREAM_VMM_LOG, "log:7:5:5:9 1:stream" },
		{ "its jail is another's", OBJECT_STORED, VM_RUNNING,
		    PART_STALE, false, NULL, NULL, STREAM_EXEC,
		    "1:409:vm not running" },
		{ "not known", OBJECT_STORED, VM_RUNNING, PART_NONE, false, "a",
		    "b", STREAM_EXEC, "1:503:vm v: b" },
		{ "not ready", OBJECT_STORED, VM_RUNNING, PART_USED, true, NULL,
		    NULL, STREAM_EXEC, "1:503:vm not ready yet" },
		{ "and no signal", OBJECT_STORED, VM_RUNNING, PART_USED, true,
		    NULL, NULL, STREAM_SIGNAL, "1:503:vm not ready yet" },
		{ "and why", OBJECT_STORED, VM_RUNNING, PART_USED, true, "a",
		    NULL, STREAM_EXEC, "1:503:vm v a" },
		{ "its console is", OBJECT_STORED, VM_RUNNING, PART_USED, true,
		    "a", NULL, STREAM_CONSOLE, "stream:7:2:5 hold 1:stream" },
		{ "ready", OBJECT_STORED, VM_RUNNING, PART_USED, false, "a",
		    NULL, STREAM_EXEC, "stream:7:1:5 hold 1:stream" },
		{ "broken", OBJECT_STORED, VM_BROKEN, PART_USED, false, NULL,
		    "b", STREAM_EXEC,
		    "1:409:" X50 X50 X50 X50 X50 X50 X10 "xxxxxxxxx" },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin(3);
		vm->obj.life = rows[i].life;
		vm->row.state = rows[i].state;
		vm->part[0].state = rows[i].jail;
		vm->run.ready = !rows[i].unready;
		play.words = rows[i].words;
		play.now = rows[i].now;
		ask(1, 1, rows[i].kind);
		SAYS(rows[i].says);
		t_true(queue_is_empty(&vm->queue));
		end();
	}
}

/* --- those who wait --- */

static void
test_waits(void)
{
	begin_waiting(3);
	t_eq(conns[3].queued_at, 7);
	t_true(vm->obj.woken);
	ask(9, 1, STREAM_CONSOLE_LOG); /* whose connection is gone */
	serve();
	SAYS("");
	ask(4, 2, STREAM_EXEC); /* it is nobody's turn: who may have one does */
	close_ends();
	SAYS("stream:7:1:5 hold 4:stream");
	ask(5, 1, STREAM_SIGNAL); /* which needs none */
	close_ends();
	SAYS("stream:7:4:5 5:stream");
	t_eq(share_has(&vm->streams, user(1)), 2);
	share_give(&vm->streams, user(1), 1);
	serve();
	SAYS("stream:7:1:5 hold 3:stream");
	t_eq(conns[3].stream_of, 7);
	t_eq(share_has(&vm->streams, user(1)), 2);
	t_true(!waits(3));
	t_true(evtimer_pending(vm->queue.timer, NULL));
	share_give(&vm->streams, user(1), 1);
	serve();
	SAYS("");
	t_true(queue_is_empty(&vm->queue));
	t_true(!evtimer_pending(vm->queue.timer, NULL));
	serve(); /* and nothing more */
	SAYS("");
	end();
}

/* Nobody overtakes those whose turn has come; who has fewer goes first. */
static void
test_turn(void)
{
	unsigned int how;

	for (how = 0; how < 2; how++) {
		begin_waiting(3);
		share_give(&vm->streams, user(1), 1);
		ask(4, 2, STREAM_CONSOLE);
		SAYS("");
		t_eq(conns[4].queued_at, 7);
		t_fail_alloc(how);
		serve();
		t_fail_alloc(0);
		if (how == 0)
			SAYS("stream:7:2:5 hold 4:stream "
			     "stream:7:1:5 hold 3:stream");
		else
			SAYS("4:500:out of memory stream:7:1:5 hold 3:stream");
		end();
	}
}

static void
test_no_place(void)
{
	uint64_t n;

	begin_waiting(3);
	t_fail_alloc(1);
	ask(4, 1, STREAM_EXEC);
	t_fail_alloc(0);
	SAYS("4:500:out of memory");
	for (n = 1; n < 112; n++)
		ask(CONNS + n, 1, STREAM_EXEC);
	SAYS("");
	ask(5, 1, STREAM_EXEC);
	SAYS("5:503:too many requests wait for a stream of this vm: your user "
	     "has 112 of them, all users together have at most 128, and some "
	     "are kept for others: end a command or console of yours, or try "
	     "again later");
	end();
}

#define LATE                                                              \
	"503:too many streams of this vm are open: your user has 2 of "   \
	"them, all users together have at most 3, and some are kept for " \
	"others; none ended within 30 s: end a command or console of "    \
	"yours, or try again later"

/* So long, and no longer, unless its turn has come at last. */
static void
test_late(void)
{
	begin_waiting(3);
	ask(4, 1, STREAM_EXEC);
	play.now_ms = 1500;
	ask(5, 1, STREAM_EXEC);
	play.now_ms = 1000 + QUEUE_MS - 1;
	serve();
	SAYS("");
	play.now_ms++;
	serve();
	SAYS("3:" LATE " 4:" LATE);
	t_eq(ev.added.tv_sec, 0);
	t_eq(ev.added.tv_usec, 500000);
	play.now_ms += 1000;
	share_give(&vm->streams, user(1), 1);
	serve();
	SAYS("stream:7:1:5 hold 5:stream");
	end();
}

/* What can be over in a moment is waited for as well; what it comes to, and
 * what stays so, is said. */
static void
test_unfit_waits(void)
{
	begin_waiting(3);
	ask(4, 1, STREAM_CONSOLE_LOG);
	vm->run.ready = false;
	share_give(&vm->streams, user(1), 1);
	serve(); /* who can have it now does */
	SAYS("log:7:3:5:9 4:stream");
	share_give(&vm->streams, user(1), 1);
	serve();
	SAYS("");
	vm->run.ready = true;
	serve();
	SAYS("stream:7:1:5 hold 3:stream");
	ask(5, 1, STREAM_EXEC);
	SAYS("");
	vm->run.ready = false;
	play.now_ms += QUEUE_MS - 1;
	serve();
	SAYS("");
	play.now_ms++;
	serve();
	SAYS("5:503:vm not ready yet");
	end();
	begin_waiting(3);
	ask(4, 1, STREAM_CONSOLE_LOG);
	vm->row.state = VM_STOPPED;
	serve();
	SAYS("3:409:vm not running");
	t_true(waits(4));
	vm->obj.life = OBJECT_GONE;
	serve();
	SAYS("4:409:vm v was deleted meanwhile");
	end();
}

/* Signals have places of their own, and their callers shares of them. */
static void
test_signals(void)
{
	unsigned int n;

	begin(3);
	for (n = 0; share_can(&vm->signals, user(1), 1); n++) {
		conns[1].id = 1;
		ask(1, 1, STREAM_SIGNAL);
		close_ends();
		SAYS("stream:7:4:5 1:stream");
	}
	t_eq(n, 7);
	conns[1].id = 1;
	ask(1, 1, STREAM_SIGNAL);
	SAYS("1:503:too many signals to this vm are under way: your user has 7 "
	     "of them, all users together have at most 8, and some are kept "
	     "for others: wait for their answers");
	ask(2, 2, STREAM_SIGNAL);
	close_ends();
	SAYS("stream:7:4:5 2:stream");
	conns[1].id = 1;
	ask(1, 1, STREAM_EXEC);
	SAYS("stream:7:1:5 hold 1:stream");
	t_true(queue_is_empty(&vm->queue));
	end();
}

const struct t_case t_cases[] = {
	{ "given", test_given },
	{ "not given", test_not_given },
	{ "what the vm is", test_unfit },
	{ "signals", test_signals },
	{ "who waits", test_waits },
	{ "whose turn it is", test_turn },
	{ "no place to wait", test_no_place },
	{ "waited too long", test_late },
	{ "who waits for more than that", test_unfit_waits },
	{ NULL, NULL },
};
