#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/util.h"
#include "proto/launch.h"
#include "tests/orchd/stream_played.h"
#include "tests/suite/ev.h"

/* Who gets a stream of a VM, who waits for one, and what all others hear. */

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
		t_eq(write(kept, "b", 1), 1); /* it is apid's end */
		t_eq(read(down, &byte, 1), 1);
		t_eq(byte, 'b');
		(void)shutdown(kept, SHUT_RDWR); /* is the end of it */
		t_eq(read(down, &byte, 1), 0);
		end();
	}
}

static unsigned int
nopen(void)
{
	unsigned int n = 0;
	int fd;

	for (fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

#define PASSING                                                                \
	"too many streams are on their way to the launcher: your user has 0 "  \
	"of them, all users together have at most 512, and some are kept for " \
	"others: try again"

/* It has none then, and nothing is left of it. */
static void
test_not_given(void)
{
	static const struct {
		const char *name;
		bool no_pair, no_copy, no_conn;
		int pass_r;
		unsigned int alloc;
		const char *exec, *signal;
	} rows[] = {
		{ "no descriptor", true, false, false, 0, 0,
		    "1:503:no descriptor is left for a stream: try again",
		    "1:503:no descriptor is left for a stream: try again" },
		{ "no launcher", false, false, false, -EPIPE, 0,
		    "stream:7:1:5 1:503:the launcher restarts: try again",
		    "stream:7:4:5 1:503:the launcher restarts: try again" },
		{ "a busy one", false, false, false, -ENOBUFS, 0,
		    "stream:7:1:5 1:503:the launcher is busy: try again",
		    "stream:7:4:5 1:503:the launcher is busy: try again" },
		{ "one of whom that one has enough", false, false, false,
		    -EBUSY, 0, "stream:7:1:5 1:503:" PASSING,
		    "stream:7:4:5 1:503:" PASSING },
		{ "no third one", false, true, false, 0, 0,
		    "1:503:no descriptor is left for a stream: try again",
		    "1:503:no descriptor is left for a stream: try again" },
		{ "nobody", false, false, true, 0, 0, "", "" },
		{ "no memory", false, false, false, 0, 1, "1:500:out of memory",
		    "1:500:out of memory" },
	};
	size_t i, how;
	unsigned int before;

	for (i = 0; i < nitems(rows); i++) {
		for (how = 0; how < 2; how++) {
			t_row(rows[i].name);
			begin(3);
			before = nopen();
			play.no_pair = rows[i].no_pair;
			play.no_copy = rows[i].no_copy;
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
			t_eq(nopen(), before);
			end();
		}
	}
}

/* It leaves what others have, and they are seen to. */
static void
test_not_given_more(void)
{
	begin_waiting(3);
	TAILQ_INIT(&o.objects.woken);
	vm->obj.woken = false;
	play.pass_r = -EPIPE;
	ask(4, 2, STREAM_EXEC);
	SAYS("stream:7:1:5 4:503:the launcher restarts: try again");
	t_true(vm->obj.woken);
	t_eq(share_has(&vm->streams, user(2)), 0);
	end();
	begin(4);
	ask(1, 1, STREAM_EXEC);
	close_ends();
	said[0] = '\0';
	play.pass_r = -EPIPE;
	ask(2, 1, STREAM_EXEC);
	SAYS("stream:7:1:5 2:503:the launcher restarts: try again");
	t_eq(share_has(&vm->streams, user(1)), 1);
	t_true(!vm->obj.woken);
	end();
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

#define LOGS_ARE_FULL                                                      \
	":503:too many logs of vms are being read: your user has 56 of "   \
	"them, all users together have at most 64, and some are kept for " \
	"others: end a log that you follow, or try again later"

/* Logs are all VMs': of those callers have shares as well. */
static void
test_logs(void)
{
	unsigned int n;

	begin(200);
	for (n = 0; share_can(&o.logs, user(1), 1); n++) {
		conns[1].id = 1;
		ask(1, 1, n % 2 == 0 ? STREAM_VMM_LOG : STREAM_CONSOLE_LOG);
		close_ends();
		said[0] = '\0';
	}
	t_eq(n, 56);
	conns[1].id = 1;
	ask(1, 1, STREAM_CONSOLE_LOG);
	SAYS("1" LOGS_ARE_FULL);
	t_eq(share_has(&vm->streams, user(1)), 56);
	t_eq(share_has(&o.logs, user(1)), 56);
	conns[1].id = 1;
	ask(1, 1, STREAM_EXEC);
	SAYS("stream:7:1:5 hold 1:stream");
	end();
	/* not given: nothing of either is kept */
	for (n = 0; n < 2; n++) {
		begin(3);
		play.pass_r = n == 0 ? -EPIPE : 0;
		if (n == 0) /* of other VMs */
			t_eq(share_take(&o.logs, user(1), 3), 0);
		t_fail_alloc(n == 0 ? 0 : 2);
		ask(1, 1, STREAM_VMM_LOG);
		t_fail_alloc(0);
		SAYS(n == 0
			? "log:7:5:5:9 1:503:the launcher restarts: try again"
			: "1:500:out of memory");
		t_eq(share_has(&vm->streams, user(1)), 0);
		t_eq(share_has(&o.logs, user(1)), n == 0 ? 3 : 0);
		end();
	}
}

/* Also where it waited for one of the VM's streams. */
static void
test_log_waits(void)
{
	begin_waiting(3);
	ask(4, 1, STREAM_CONSOLE_LOG);
	SAYS("");
	while (share_take(&o.logs, user(1), 1) == 0)
		continue;
	share_give(&vm->streams, user(1), 2);
	serve();
	SAYS("stream:7:1:5 hold 3:stream "
	     "4" LOGS_ARE_FULL);
	t_true(queue_is_empty(&vm->queue));
	t_eq(share_has(&vm->streams, user(1)), 1);
	end();
}

const struct t_case t_cases[] = {
	{ "given", test_given },
	{ "not given", test_not_given },
	{ "not given, beside others", test_not_given_more },
	{ "what the vm is", test_unfit },
	{ "signals", test_signals },
	{ "logs", test_logs },
	{ "a log that waited", test_log_waits },
	{ "who waits", test_waits },
	{ "whose turn it is", test_turn },
	{ "no place to wait", test_no_place },
	{ "waited too long", test_late },
	{ "who waits for more than that", test_unfit_waits },
	{ NULL, NULL },
};
