#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/util.h"
#include "proto/ward.h"
#include "tests/apid/streamed.h"
#include "tests/suite/t.h"

/* An exec: its request, its messages, its status. */

/* The text of its status is in it, and the channel closes. */
static void
fails(const char *why)
{
	char want[300];

	(void)snprintf(want, sizeof(want), "\"message\":\"%s\"", why);
	t_true(strncmp(said, "ws:3:{", 6) == 0);
	t_true(strstr(said, "\"status\":\"Failure\"") != NULL);
	if (strstr(said, want) == NULL)
		t_str(said, want);
	t_true(strlen(said) > 11 &&
	    strcmp(said + strlen(said) - 11, " close:1000") == 0);
	said[0] = '\0';
	t_eq(c->stream->fd, -1);
}

#define REQUEST "{\"cmd\":[\"ls\"]}"

static void
begin_exec(void)
{
	begin_stream(ROUTE_EXEC);
	SAYS("upgrade:131072");
	t_eq(c->phase, CP_WS);
	t_eq(ev.added.tv_sec, 10);
	t_true(is_pending(c->timer, EV_TIMEOUT));
	GETS(""); /* nothing goes to the VM before there is a request */
}

/* Its request, as it is written anew for the agent. */
static void
request(void)
{
	char buf[512];
	ssize_t n;

	ws->message(c, true, REQUEST, sizeof(REQUEST) - 1);
	client_run(c);
	n = recvfrom(vm, buf, sizeof(buf) - 1, MSG_DONTWAIT, NULL, NULL);
	t_true(n > FRAME_HEAD_LEN);
	t_eq((uint8_t)buf[0], 0xfe);
	t_eq(buf[4], n - FRAME_HEAD_LEN);
	buf[n > 0 ? n : 0] = '\0';
	t_true(strstr(buf + FRAME_HEAD_LEN, "\"cmd\":[\"ls\"]") != NULL);
	SAYS("max:65537");
	t_true(!is_pending(c->timer, EV_TIMEOUT));
}

static void
test_exec(void)
{
	begin_exec();
	SENDS(OPENED_OK);
	t_true(is_pending(c->timer, EV_TIMEOUT)); /* for the request, still */
	request();
	SENDS("\1\0\0\0\1a\2\0\0\0\1b");
	SAYS("ws:1:a ws:2:b");
	SENDS("\3\0\0\0\2{}");
	SAYS("ws:3:{}");
	t_true(c->stream->has_status);
	SENDS("\1\0\0\0\1c"); /* the status stays said */
	SAYS("ws:1:c");
	(void)shutdown(vm, SHUT_WR);
	turn();
	SAYS("close:1000");
	end_stream();
}

static void
test_exec_fails(void)
{
	begin_exec();
	request();
	SENDS("\xfd\0\0\0\4\1\xf7no");
	fails("no");
	end_stream();
	begin_exec();
	request();
	SENDS(OPENED_OK "\1\0\0\0\1a");
	SAYS("ws:1:a");
	(void)shutdown(vm, SHUT_WR);
	turn();
	fails("the connection to the vm broke");
	end_stream();
	begin_exec();
	request();
	SENDS(OPENED_OK "\0\0\0\0\1a"); /* no guest says that */
	fails("the connection to the vm broke");
	end_stream();
	begin_exec(); /* without memory it ends all the same */
	t_fail_alloc(1);
	ws->message(c, true, "{", 1);
	t_true(t_alloc_failed());
	SAYS("close:1000");
	end_stream();
}

static void
test_exec_request(void)
{
	begin_exec();
	ws->message(c, true, "{\"cmd\":[]}", 10);
	t_true(strstr(said, "cmd") != NULL);
	t_eq(strncmp(said, "ws:3:{", 6), 0);
	t_true(!c->stream->asked);
	end_stream();
	begin_exec(); /* not before it, and once */
	ws->message(c, false, "\0a", 2);
	SAYS("close:1003");
	t_eq(c->stream->fd, -1);
	end_stream();
	begin_exec();
	request();
	ws->message(c, true, REQUEST, sizeof(REQUEST) - 1);
	SAYS("close:1003");
	end_stream();
}

/* All that the VM gets, as fast as its socket takes it. */
static size_t
vm_takes(uint8_t *buf, size_t cap)
{
	size_t at = 0;
	ssize_t n;
	int i;

	for (i = 0; i < 64 && at < cap; i++) {
		client_run(c);
		n = recvfrom(vm, buf + at, cap - at, MSG_DONTWAIT, NULL, NULL);
		at += n > 0 ? (size_t)n : 0;
	}
	return at;
}

/* Input goes on in pieces: in a small guest one of each of many commands waits.
 */
static void
test_exec_pieces(void)
{
	static const size_t rows[] = { 1, 16383, 16384, 16385, 40000, 65536 };
	static uint8_t in[1 + 65536], got[65536 + 64];
	size_t i, n, at, len, all;

	for (i = 1; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7 + i / 251);
	for (i = 0; i < nitems(rows); i++) {
		begin_exec();
		request();
		SENDS(OPENED_OK);
		ws->message(c, false, in, 1 + rows[i]);
		all = vm_takes(got, sizeof(got));
		for (n = 0, at = 0; n < rows[i]; n += len) {
			len = rows[i] - n < 16384 ? rows[i] - n : 16384;
			if (at + FRAME_HEAD_LEN + len > all)
				break;
			t_eq(got[at], FRAME_STDIN);
			t_eq(frame_len(got + at), len);
			at += FRAME_HEAD_LEN;
			t_mem(got + at, len, in + 1 + n, len);
			at += len;
		}
		t_eq(n, rows[i]);
		t_eq(at, all);
		end_stream();
	}
}

/* It is as long for the agent as it was for its writer. */
static void
test_exec_plain(void)
{
	static const char text[] = "{\"cmd\":[\"a<b>&\\b\\f\xe2\x80\xa8\"]}";

	begin_exec();
	ws->message(c, true, text, sizeof(text) - 1);
	SAYS("max:65537");
	t_eq(outbuf_left(&c->stream->up), FRAME_HEAD_LEN + sizeof(text) - 1);
	t_mem(c->stream->up.p + FRAME_HEAD_LEN, sizeof(text) - 1, text,
	    sizeof(text) - 1);
	end_stream();
}

/* What the agent gets of it may be so long, and no longer. */
static void
test_exec_long(void)
{
	static char text[WARD_OPEN_MAX + 100];
	const char head[] = "{\"cmd\":[\"ls\"],\"env\":[\"A=";
	const size_t first = 130000;
	size_t n, overhead = 0, i;
	char *p;

	for (i = 0; i < 3; i++) {
		begin_exec();
		n = i == 0 ? 10 : WARD_OPEN_MAX - overhead + i - 1;
		p = stpcpy(text, head);
		memset(p, 'x', first);
		p = stpcpy(p + first, "\",\"B=");
		memset(p, 'x', n);
		(void)stpcpy(p + n, "\"]}");
		ws->message(c, true, text, strlen(text));
		if (i == 2) {
			fails("command and environment are longer than 256 KiB "
			      "together: use standard input or a file");
			t_eq(c->stream->fd, -1);
		} else {
			overhead =
			    outbuf_left(&c->stream->up) - FRAME_HEAD_LEN - n;
			SAYS("max:65537");
		}
		if (i == 1)
			t_mem(c->stream->up.p, 5, "\xfe\0\4\0\0", 5);
		end_stream();
	}
}

/* Only a POST can be answered while it runs on. */
static void
test_exec_detach(void)
{
	static const char text[] =
	    "{\"cmd\":[\"ls\"],\"env\":[\"A=f00ba5\"],\"detach\":true}";

	begin_exec();
	t_secret("A=f00ba5", 8);
	ws->message(c, true, text, sizeof(text) - 1);
	t_true(!t_spilled());
	t_secret(NULL, 0);
	fails("detach: not over a WebSocket: POST it");
	t_true(!c->stream->asked);
	end_stream();
}

#define EARLIER                                                              \
	"the vm was started by an earlier suite, whose guest does not know " \
	"it: stop and start it"
#define NOT_KNOWN "\xfd\0\0\0\4\1\x90no"
#define NOT_NOW "\xfd\0\0\0\4\1\xf7no"

/* What a guest of before does not know is named. */
static void
test_exec_newer(void)
{
	static const struct {
		const char *name, *request, *first, *why;
	} rows[] = {
		{ "nothing", REQUEST, NOT_KNOWN, "no" },
		{ "a user", "{\"cmd\":[\"ls\"],\"user\":\"0\"}", NOT_KNOWN,
		    "user: " EARLIER },
		{ "nor can it be had", "{\"cmd\":[\"ls\"],\"user\":\"0\"}",
		    NOT_NOW, "no" },
	};
	static char text[FRAME_PAYLOAD_MAX + 100];
	const char head[] = "{\"cmd\":[\"ls\"],\"env\":[\"A=";
	size_t i, n, overhead = 0;
	char *p;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin_exec();
		ws->message(c, true, rows[i].request, strlen(rows[i].request));
		said[0] = '\0';
		vm_sends(rows[i].first, FRAME_HEAD_LEN + 4);
		fails(rows[i].why);
		end_stream();
	}
	t_row("as long as one of before may be, and longer");
	for (i = 0; i < 3; i++) {
		begin_exec();
		n = i == 0 ? 10 : FRAME_PAYLOAD_MAX - overhead + i - 1;
		p = stpcpy(text, head);
		memset(p, 'x', n);
		(void)stpcpy(p + n, "\"]}");
		ws->message(c, true, text, strlen(text));
		said[0] = '\0';
		if (i == 0)
			overhead =
			    outbuf_left(&c->stream->up) - FRAME_HEAD_LEN - n;
		vm_sends(NOT_KNOWN, FRAME_HEAD_LEN + 4);
		fails(i < 2
			? "no"
			: "a command and environment of more than 64 KiB: " EARLIER);
		end_stream();
	}
}

/* A message that grows is held for whoever has room for it, once, and until the
 * VM has answered. */
static void
test_exec_grows(void)
{
	begin_exec();
	ws->grows(c);
	SAYS("max:524288");
	t_eq(c->held, STREAM_HELD + EXEC_ASK_HELD);
	ws->grows(c);
	SAYS("");
	request();
	ws->grows(c); /* there is one request */
	SAYS("");
	t_eq(c->held, STREAM_HELD + EXEC_ASK_HELD);
	SENDS(OPENED_OK);
	t_eq(c->held, STREAM_HELD);
	end_stream();
	begin_exec(); /* an answer to nothing lets nothing go */
	ws->grows(c);
	SENDS(OPENED_OK);
	t_eq(c->held, STREAM_HELD + EXEC_ASK_HELD);
	end_stream();
	begin_exec();
	request();
	ws->grows(c); /* a short one that was made, too */
	SAYS("");
	t_eq(c->held, STREAM_HELD);
	end_stream();
	begin_stream(ROUTE_CONSOLE); /* has no request */
	SENDS(OPENED_OK);
	said[0] = '\0';
	ws->grows(c);
	SAYS("");
	t_eq(c->held, STREAM_HELD);
	end_stream();
	begin_exec();
	while (client_hold(c, STREAM_HELD))
		;
	ws->grows(c);
	fails("too much is held");
	end_stream();
}

static void
test_exec_messages(void)
{
	static const struct {
		const char *name, *in;
		size_t inlen;
		const char *gets;
		size_t getslen;
		bool closes;
	} rows[] = {
#define BYTES(b) (b), sizeof(b) - 1
		{ "stdin", BYTES("\0ab"), BYTES("\0\0\0\0\2ab"), false },
		{ "one byte", BYTES("\0a"), BYTES("\0\0\0\0\1a"), false },
		{ "its end", "\xff\0\7", 2, BYTES("\xff\0\0\0\1\0"), false },
		{ "the size", BYTES("\4{}"), BYTES("\4\0\0\0\2{}"), false },
		{ "a signal", BYTES("\5\1"), BYTES("\5\0\0\0\1\1"), false },
		{ "the last signal", BYTES("\5\37"), BYTES("\5\0\0\0\1\37"),
		    false },
		{ "nothing", BYTES(""), BYTES(""), false },
		{ "a channel is opened", BYTES("\0"), BYTES(""), false },
		{ "another is", BYTES("\4"), BYTES(""), false },
		{ "stdout", BYTES("\1a"), BYTES(""), true },
		{ "no signal", BYTES("\5\0"), BYTES(""), true },
		{ "past the last", BYTES("\5\40"), BYTES(""), true },
		{ "two signals", BYTES("\5\1\1"), BYTES(""), true },
		{ "half a signal", BYTES("\5"), BYTES(""), true },
		{ "an end of another", BYTES("\xff\4"), BYTES(""), true },
		{ "an end of more", BYTES("\xff\0\0"), BYTES(""), true },
		{ "an end of none", BYTES("\xff"), BYTES(""), true },
		{ "a close is no signal", BYTES("\xff\1"), BYTES(""), true },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		begin_exec();
		request();
		SENDS("\xfd\0\0\0\x9\0\x65signals");
		ws->message(c, false, rows[i].in, rows[i].inlen);
		if (rows[i].closes)
			SAYS("close:1008");
		else
			SAYS("");
		t_eq(c->stream->fd == -1, rows[i].closes);
		vm_gets(rows[i].gets, rows[i].getslen);
		end_stream();
	}
}

/* Signals go to those who said that they take them. */
static void
test_signals(void)
{
	static const struct {
		const char *first;
		size_t len;
		bool takes;
	} rows[] = {
		{ BYTES("\xfd\0\0\0\x9\0\x65signals"), true },
		{ BYTES(OPENED_OK), false },
		{ BYTES("\xfd\0\0\0\x8\0\x65signal"), false },
		{ BYTES("\xfd\0\0\0\xa\0\x65signalsx"), false },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		begin_exec();
		request();
		vm_sends(rows[i].first, rows[i].len);
		t_eq(c->stream->takes_signals, rows[i].takes);
		ws->message(c, false, "\5\2", 2);
		if (rows[i].takes)
			GETS("\5\0\0\0\1\2");
		else
			GETS("");
		SAYS("");
		end_stream();
	}
	begin_stream(ROUTE_CONSOLE);
	vm_sends(rows[0].first, rows[0].len);
	t_true(!c->stream->takes_signals);
	end_stream();
}

const struct t_case t_cases[] = {
	{ "an exec", test_exec },
	{ "an exec that fails", test_exec_fails },
	{ "its request", test_exec_request },
	{ "a long request", test_exec_long },
	{ "not detached", test_exec_detach },
	{ "what is newer than its guest", test_exec_newer },
	{ "a request as long as it came", test_exec_plain },
	{ "a request that grows", test_exec_grows },
	{ "messages of an exec", test_exec_messages },
	{ "signals", test_signals },
	{ "input in pieces", test_exec_pieces },
	{ NULL, NULL },
};
