#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/util.h"
#include "proto/objects.h"
#include "proto/right.h"
#include "tests/apid/streamed.h"
#include "tests/suite/t.h"

/* A console, a log, and what they have in common with an exec. */

static void
test_console(void)
{
	static const char big[0x10203];

	begin_stream(ROUTE_CONSOLE);
	t_true(!c->keep);
	t_eq(c->phase, CP_OPEN);
	t_eq(ev.added.tv_sec, 15);
	t_eq(ev.added.tv_usec, 0);
	t_eq(share_has(&a.held, c->who), STREAM_HELD);
	GETS("\xfe\0\0\0\0");
	SENDS(OPENED_OK);
	SAYS("upgrade:65536");
	t_true(!is_pending(c->timer, EV_TIMEOUT));
	steps = 0;
	SENDS("\1\0\0\0\3abc");
	t_eq(steps, 1);
	SAYS("ws:-1:abc");
	SENDS("\1\0\0\0\1d\1\0\0\0\1e");
	SAYS("ws:-1:d ws:-1:e");
	ws->message(c, true, "hi", 2);
	ws->message(c, false, "ho", 2);
	ws->message(c, false, "!", 1);
	ws->message(c, false, "", 0);
	GETS("\0\0\0\0\2hi\0\0\0\0\2ho\0\0\0\0\1!");
	SAYS("");
	/* the length of a frame is of three bytes */
	ws->message(c, false, big, sizeof(big));
	t_mem(c->stream->up.p, FRAME_HEAD_LEN, "\0\0\1\2\3", 5);
	t_eq(outbuf_left(&c->stream->up), FRAME_HEAD_LEN + sizeof(big));
	end_stream();
}

/* What a console may not say ends it. */
static void
test_console_channel(void)
{
	begin_stream(ROUTE_CONSOLE);
	SENDS(OPENED_OK);
	said[0] = '\0';
	SENDS("\xff\0\0\0\1\1"); /* the guest will say no more: no byte */
	SAYS("");
	SENDS("\2\0\0\0\1x\1\0\0\0\1x");
	SAYS("close:1000");
	t_eq(c->stream->fd, -1);
	end_stream();
}

static void
test_log(void)
{
	unsigned int how;

	for (how = 0; how < 3; how++) {
		begin_stream(ROUTE_LOG);
		SENDS(OPENED_OK "\1\0\0\0\2ab");
		SAYS("application/octet-stream chunk:ab");
		t_true(!is_pending(c->timer, EV_TIMEOUT));
		if (how == 0) {
			(void)shutdown(vm, SHUT_WR);
			turn();
			SAYS("last");
		} else if (how == 1) { /* cut in the middle */
			SENDS("\1\0\0\0\2a");
			(void)shutdown(vm, SHUT_WR);
			turn();
			SAYS("closed:5");
		} else { /* not a frame */
			steps = 0;
			SENDS("\2\0\0\0\1x");
			SAYS("closed:5");
			t_eq(steps, 0);
		}
		t_true(sees_end(vm));
		end_stream();
	}
}

/* A file is whole when that was said, and not where its bytes just end. */
static void
test_file(void)
{
	int whole;

	for (whole = 0; whole < 2; whole++) {
		begin_stream(ROUTE_FILE);
		SENDS(OPENED_OK "\1\0\0\0\2ab");
		SAYS("application/vnd.sqlite3 chunk:ab");
		if (whole)
			SENDS("\xff\0\0\0\1\1");
		SAYS("");
		(void)shutdown(vm, SHUT_WR);
		turn();
		SAYS(whole ? "last" : "closed:5");
		end_stream();
	}
}

/* Whole or by the byte, with what comes behind it. */
static void
test_opened_in_pieces(void)
{
	static const char all[] = "\xfd\0\0\0\4\0\x65hi\1\0\0\0\1a";
	size_t i;

	begin_stream(ROUTE_LOG);
	for (i = 0; i < sizeof(all) - 1; i++)
		vm_sends(all + i, 1);
	SAYS("application/octet-stream chunk:a");
	end_stream();
	begin_stream(ROUTE_LOG);
	vm_sends(all, 6);
	SAYS("");
	vm_sends(all + 6, sizeof(all) - 7);
	SAYS("application/octet-stream chunk:a");
	end_stream();
}

/* What the VM's side refuses, and what is no first word. */
static void
test_refused(void)
{
	static const struct {
		const char *name, *first;
		size_t len;
		const char *says;
	} rows[] = {
#define FIRST(bytes) (bytes), sizeof(bytes) - 1
		{ "with a reason", FIRST("\xfd\0\0\0\4\1\xf7no"),
		    "error:503:2:no" },
		{ "without one", FIRST("\xfd\0\0\0\2\1\x94"),
		    "error:404:31:the vm refused without a reason" },
		{ "400", FIRST("\xfd\0\0\0\3\1\x90-"), "error:400:1:-" },
		{ "399", FIRST("\xfd\0\0\0\3\1\x8f-"), "error:502:1:-" },
		{ "599", FIRST("\xfd\0\0\0\3\2\x57-"), "error:599:1:-" },
		{ "600", FIRST("\xfd\0\0\0\3\2\x58-"), "error:502:1:-" },
		{ "200", FIRST("\xfd\0\0\0\3\0\xc8-"), "error:502:1:-" },
		{ "what follows is not looked at",
		    FIRST("\xfd\0\0\0\3\1\xf7-\1\0\0\0\1a"), "error:503:1:-" },
		{ "no status", FIRST("\xfd\0\0\0\1\0x"),
		    "error:502:31:the vm ended the stream at once" },
		{ "another frame", FIRST("\1\0\0\0\2\1\xf7"),
		    "error:502:31:the vm ended the stream at once" },
		{ "too long", FIRST("\xfd\0\0\4\1x"),
		    "error:502:31:the vm ended the stream at once" },
		{ "far too long", FIRST("\xfd\1\0\0\2\1\xf7"),
		    "error:502:31:the vm ended the stream at once" },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin_stream(ROUTE_CONSOLE);
		vm_sends(rows[i].first, rows[i].len);
		SAYS(rows[i].says);
		t_eq(c->stream->fd, -1);
		t_true(!c->keep);
		t_true(sees_end(vm));
		end_stream();
	}
}

/* As long as it may be. */
static void
test_refused_at_length(void)
{
	char first[FRAME_HEAD_LEN + 1024] = "\xfd\0\0\4\0\1\xf7";

	memset(first + 7, 'x', sizeof(first) - 7);
	begin_stream(ROUTE_CONSOLE);
	vm_sends(first, sizeof(first));
	t_true(strncmp(said, "error:503:1022:xx", 17) == 0);
	end_stream();
}

/* It ended before it said anything, or while nobody waits for it. */
static void
test_ended(void)
{
	begin_stream(ROUTE_CONSOLE);
	c->keep = true;
	(void)shutdown(vm, SHUT_WR);
	turn();
	SAYS("error:502:31:the vm ended the stream at once");
	t_true(!c->keep);
	end_stream();
	begin_stream(ROUTE_CONSOLE);
	c->phase = CP_ANSWER; /* it was late, say */
	(void)shutdown(vm, SHUT_WR);
	turn();
	SAYS("");
	t_eq(c->stream->fd, -1);
	end_stream();
	begin_stream(ROUTE_CONSOLE);
	SENDS(OPENED_OK);
	said[0] = '\0';
	(void)shutdown(vm, SHUT_WR);
	turn();
	SAYS("close:1000");
	end_stream();
}

/* --- both ways --- */

/* The VM takes no more: the rest when it does. */
static void
test_vm_stalls(void)
{
	static char many[60000];
	size_t got = 0;
	ssize_t n;
	int i;

	begin_stream(ROUTE_CONSOLE);
	SENDS(OPENED_OK);
	GETS("\xfe\0\0\0\0");
	t_true(!is_pending(c->stream->wr, EV_WRITE));
	ws->message(c, false, many, sizeof(many));
	client_run(c);
	t_true(is_pending(c->stream->wr, EV_WRITE));
	t_true(outbuf_left(&c->stream->up) > 0);
	for (i = 0; i < 1000 && got < FRAME_HEAD_LEN + sizeof(many); i++) {
		n = recvfrom(vm, many, 8192, MSG_DONTWAIT, NULL, NULL);
		got += n > 0 ? (size_t)n : 0;
		turn();
	}
	t_eq(got, FRAME_HEAD_LEN + sizeof(many));
	t_true(!is_pending(c->stream->wr, EV_WRITE));
	end_stream();
}

/* The VM takes nothing any more, and its last words are read. */
static void
test_vm_deaf(void)
{
	begin_stream(ROUTE_CONSOLE);
	SENDS(OPENED_OK);
	GETS("\xfe\0\0\0\0");
	said[0] = '\0';
	t_eq(send(vm, "\1\0\0\0\1z", 6, MSG_NOSIGNAL), 6);
	(void)shutdown(vm, SHUT_RD);
	ws->message(c, false, "a", 1);
	client_run(c);
	t_eq(outbuf_left(&c->stream->up), 0);
	t_true(!is_pending(c->stream->wr, EV_WRITE));
	turn();
	SAYS("ws:-1:z");
	end_stream();
}

/* The client has no room: nothing is read for it until it has. */
static void
test_client_stalls(void)
{
	begin_stream(ROUTE_CONSOLE);
	SENDS(OPENED_OK);
	said[0] = '\0';
	t_true(is_pending(c->stream->rd, EV_READ));
	fill();
	t_eq(client_put(c, "", 0), 0);
	while (client_has_room(c))
		t_eq(client_put(c, "0123456789", 10), 0);
	client_run(c);
	t_true(!is_pending(c->stream->rd, EV_READ));
	SENDS("\1\0\0\0\1a");
	SAYS("");
	while (outbuf_left(&c->out) > 0) {
		drain();
		client_run(c);
	}
	t_true(is_pending(c->stream->rd, EV_READ));
	turn();
	SAYS("ws:-1:a");
	end_stream();
}

static void
test_read_fails(void)
{
	static const int soft[] = { EAGAIN, EINTR };
	size_t i;

	for (i = 0; i < nitems(soft); i++) {
		begin_stream(ROUTE_CONSOLE);
		play.recv_errno = soft[i];
		steps = 0;
		event_active(c->stream->rd, EV_READ, 0);
		turn();
		SAYS("");
		t_eq(steps, 0);
		t_eq(recv_len, READ_MAX);
		end_stream();
	}
	begin_stream(ROUTE_CONSOLE);
	play.recv_errno = ECONNRESET;
	event_active(c->stream->rd, EV_READ, 0);
	turn();
	SAYS("error:502:31:the vm ended the stream at once");
	end_stream();
	begin_stream(ROUTE_CONSOLE);
	(void)shutdown(vm, SHUT_WR);
	errno = EAGAIN; /* of something before */
	(void)event_base_loop(a.base, EVLOOP_ONCE);
	SAYS("error:502:31:the vm ended the stream at once");
	end_stream();
}

/* --- birth and death --- */

static void
test_not_born(void)
{
	unsigned int how;
	int fd;

	for (how = 0; how < 5; how++) {
		fd = begin_any(ROUTE_CONSOLE);
		if (how == 0)
			while (client_hold(c, STREAM_HELD))
				;
		if (how == 1)
			t_fail_alloc(1);
		ev.fail_new = how == 2 ? 1 : how == 3 ? 2 : 0;
		ev.no_add = how == 4;
		stream_start(c, fd);
		t_fail_alloc(0);
		ev.no_add = false;
		SAYS("held");
		t_true(c->stream == NULL);
		t_true(!c->keep);
		t_eq(fcntl(fd, F_GETFD), -1);
		end_stream();
	}
}

/* No memory for what goes to the VM. */
static void
test_no_memory(void)
{
	static char many[5000];
	unsigned int n;

	for (n = 1; n <= 2; n++) {
		begin_stream(ROUTE_CONSOLE);
		SENDS(OPENED_OK);
		GETS("\xfe\0\0\0\0");
		said[0] = '\0';
		t_fail_alloc(n);
		ws->message(c, false, many, sizeof(many));
		t_true(t_alloc_failed());
		SAYS("closed:5");
		t_eq(c->phase, CP_DEAD);
		end_stream();
	}
}

static void
test_closed(void)
{
	int fd;

	begin_stream(ROUTE_CONSOLE);
	fd = c->stream->fd;
	ws = NULL;
	t_true(outbuf_left(&c->stream->up) > 0);
	(void)event_add(c->stream->wr, NULL);
	stream_close(c->stream);
	t_true(!is_pending(c->stream->rd, EV_READ));
	t_true(!is_pending(c->stream->wr, EV_WRITE));
	t_eq(c->stream->fd, -1);
	t_eq(fcntl(fd, F_GETFD), -1);
	t_eq(outbuf_left(&c->stream->up), 0);
	t_true(sees_end(vm)); /* though orchd has a copy */
	stream_close(c->stream);
	stream_close(NULL);
	stream_free(NULL);
	/* nothing more goes either way */
	stream_update(c->stream);
	t_true(!is_pending(c->stream->rd, EV_READ));
	end_stream();
	begin_stream(ROUTE_CONSOLE); /* nor into a stream that ended */
	SENDS(OPENED_OK);
	said[0] = '\0';
	stream_close(c->stream);
	ws->message(c, false, "ab", 2);
	t_eq(outbuf_left(&c->stream->up), 0);
	SAYS("");
	end_stream();
}

/* It goes with what it holds, wiped. */
static void
test_freed(void)
{
	struct stream *s;
	int fd;

	begin_stream(ROUTE_CONSOLE);
	SENDS("\xfd\0\0\0\xa\0\x65\xa7\xb3\x99\xd1\xe5\xf7\xc3\xb1");
	s = c->stream;
	ws->message(c, false, "abc", 3);
	c->stream = NULL;
	fd = s->fd;
	t_secret("\xa7\xb3\x99\xd1\xe5\xf7\xc3\xb1", 8);
	stream_free(s);
	t_true(!t_spilled());
	t_secret(NULL, 0);
	t_eq(fcntl(fd, F_GETFD), -1);
	end_stream();
}

/* --- a call --- */

static void
begin_call_of(const struct route *r)
{
	const int fd = begin_any(ROUTE_CALL);

	c->q.route = r;
	jbuf_init(&c->q.call, 64);
	jbuf_text(&c->q.call, "{}");
	stream_start(c, fd);
	GETS("\xfe\0\0\0\2{}");
	t_true(c->q.call.p == NULL);
}

static void
begin_call(void)
{
	static const struct route r = { .kind = ROUTE_CALL,
		.right = &api_rights[RIGHT_SIGNAL],
		.out = &vm_signalled_table,
		.ok = 200 };

	begin_call_of(&r);
}

/* One question, and one answer that is read before it is passed on. */
static void
test_call(void)
{
	begin_call();
	SENDS("\xfd\0\0\0\x11\0\xc8{\"signalled\":2}");
	SAYS("json:200:{\"signalled\":2}");
	t_eq(c->stream->fd, -1);
	t_eq(c->held, STREAM_HELD - OUT_MAX); /* what went up is gone */
	end_stream();
	begin_call();
	SENDS("\xfd\0\0\0\7\0\xc8hello");
	t_true(strncmp(said, "error:502:", 10) == 0);
	t_true(strstr(said, "what the vm answered makes no sense") != NULL);
	said[0] = '\0';
	end_stream();
	begin_call();
	SENDS("\xfd\0\0\0\4\1\x99no"); /* as it is: 409 */
	SAYS("error:409:2:no");
	end_stream();
	begin_call(); /* nobody upgrades a call */
	SENDS(OPENED_OK);
	SAYS("error:502:31:the vm refused without a reason");
	end_stream();
}

/* Its answer is read as a whole: what of it is secret stays here, and is wiped;
 * without memory for it nothing is said of the VM. */
static void
test_call_answer(void)
{
	static const struct route r = { .kind = ROUTE_CALL,
		.right = &api_rights[RIGHT_SIGNAL],
		.out = &exec_request_table,
		.ok = 201 };
	static const char says[] = "\xfd\0\0\0\x23\0\xc9"
				   "{\"cmd\":[\"ls\"],\"env\":[\"A=f00ba5\"]}";
	unsigned int n;
	bool failed;

	for (n = 1;; n++) {
		begin_call_of(&r);
		t_secret("A=f00ba5", 8);
		t_fail_alloc(n);
		vm_sends(says, sizeof(says) - 1);
		failed = t_alloc_failed();
		t_fail_alloc(0);
		t_true(!t_spilled());
		t_secret(NULL, 0);
		t_eq(c->stream->fd, -1);
		if (!failed)
			SAYS("json:201:{\"cmd\":[\"ls\"]}");
		else if (strcmp(said, "held") != 0)
			SAYS("error:502:63:out of memory: it may have been "
			     "done: look before you ask again");
		end_stream();
		if (!failed)
			break;
	}
	t_true(n > 2);
}

#define EARLIER                                                              \
	"the vm was started by an earlier suite, whose guest does not know " \
	"it: stop and start it"

/* A guest of before knows no detached exec. */
static void
test_call_newer(void)
{
	static const struct {
		const char *name;
		uint32_t stream;
		const char *first, *says;
	} rows[] = {
		{ "not known", STREAM_EXEC, "\xfd\0\0\0\4\1\x90no",
		    "error:409:95:detach: " EARLIER },
		{ "not to be had", STREAM_EXEC, "\xfd\0\0\0\4\1\x91no",
		    "error:401:2:no" },
		{ "another call", STREAM_SIGNAL, "\xfd\0\0\0\4\1\x90no",
		    "error:400:2:no" },
	};
	struct route r = {
		.kind = ROUTE_CALL, .out = &vm_signalled_table, .ok = 200
	};
	struct right right = { .verb = API_STREAM };
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		right.stream = rows[i].stream;
		r.right = &right;
		begin_call_of(&r);
		vm_sends(rows[i].first, FRAME_HEAD_LEN + 4);
		SAYS(rows[i].says);
		end_stream();
	}
}

/* 503 has it asked again: what was passed on may have been done. */
static void
test_call_lost(void)
{
	begin_call();
	SENDS("\xfd\0\0\0\x15\1\xf7the agent went away");
	SAYS("error:502:69:the agent went away: it may have been done: look "
	     "before you ask again");
	end_stream();
	begin_call();
	SENDS("\xfd\0\0\0\x16\1\xf7the agent went away.");
	SAYS("error:503:20:the agent went away.");
	end_stream();
	begin_call();
	t_fail_alloc(1);
	SENDS("\xfd\0\0\0\x11\0\xc8{\"signalled\":2}");
	t_true(t_alloc_failed());
	SAYS("error:502:63:out of memory: it may have been done: look before "
	     "you ask again");
	end_stream();
}

const struct t_case t_cases[] = {
	{ "a console", test_console },
	{ "another channel of a console", test_console_channel },
	{ "a log", test_log },
	{ "a file", test_file },
	{ "a call", test_call },
	{ "the answer to a call", test_call_answer },
	{ "a call that is newer", test_call_newer },
	{ "a call that got lost", test_call_lost },
	{ "the first word in pieces", test_opened_in_pieces },
	{ "refused", test_refused },
	{ "refused at length", test_refused_at_length },
	{ "ended", test_ended },
	{ "the vm takes no more", test_vm_stalls },
	{ "the vm is deaf", test_vm_deaf },
	{ "the client takes no more", test_client_stalls },
	{ "reading fails", test_read_fails },
	{ "not born", test_not_born },
	{ "no memory", test_no_memory },
	{ "closed", test_closed },
	{ "freed", test_freed },
	{ NULL, NULL },
};
