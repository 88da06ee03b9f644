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
#include "orchd/link/link_launch.h"
#include "orchd/vm/doubt.h"
#include "orchd/vm/stream.h"
#include "proto/launch.h"
#include "tests/orchd/stream_played.h"
#include "tests/suite/ev.h"

struct orchd o;
struct vm *vm;
struct conn conns[CONNS];
char said[1024];
int up, down, kept;
struct stream_play play;

static const uint32_t listed[SHARE_LISTED] = { 1, 1 };
static long blocks;

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

int
fcntl(int fd, int cmd, ...)
{
	va_list ap;
	int n;

	va_start(ap, cmd);
	n = va_arg(ap, int);
	va_end(ap);
	if (play.no_copy && cmd == F_DUPFD_CLOEXEC) {
		errno = EMFILE;
		return -1;
	}
	return (int)syscall(SYS_fcntl, fd, cmd, n);
}

/* --- connections --- */

struct conn *
conn_find(struct orchd *orchd, uint64_t id)
{
	t_true(orchd == &o);
	return id > 0 && id < CONNS && conns[id].id == id ? &conns[id] : NULL;
}

bool
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
    struct orchd *orchd, uint64_t vmid, const struct stream_ask *a, int fd)
{
	t_true(orchd == &o);
	if (launch_is_log(a->kind))
		note("log:%u:%u:%u:%d", (unsigned int)vmid, a->kind, a->flags,
		    (int)a->since_ns);
	else
		note("stream:%u:%u:%u", (unsigned int)vmid, a->kind, a->flags);
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

void
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
	share_init(&o.passing.share, PASSING_MAX, listed);
	share_init(&o.logs, LOGS_MAX, listed);
	queue_init(&vm->queue, listed);
	for (i = 0; i < CONNS; i++)
		conns[i] = (struct conn){ .id = i };
}

void
close_ends(void)
{
	fd_close(&up);
	fd_close(&down);
	fd_close(&kept);
}

void
end(void)
{
	close_ends();
	queue_clear(&vm->queue);
	share_clear(&vm->streams);
	share_clear(&vm->signals);
	share_clear(&o.logs);
	object_clear(&vm->obj);
	free(vm);
	event_free(o.objects.turn);
	event_base_free(o.base);
	t_eq(t_live(), blocks);
}

struct share_who
user(uint32_t uid)
{
	return (struct share_who){ uid, SHARE_USER };
}

void
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

void
serve(void)
{
	stream_serve(&vm->obj);
	close_ends();
}

void
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
