#include <assert.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/frame.h"
#include "common/http.h"
#include "common/num.h"
#include "common/sess.h"
#include "common/util.h"
#include "tests/suite/standin/standin.h"

#define CONNS_MAX 128
#define BODY_MAX (1024UL * 1024)
#define LIE 4096 /* bytes of nonsense at a time */

const char *const mode_names[MODE_COUNT] = { "honest", "qmp-garbage",
	"qmp-huge", "qmp-deep", "qmp-flood", "qmp-twice", "agent-garbage",
	"agent-hello", "agent-window", "agent-mute", "http-split",
	"http-endless", "http-interim", "http-body", "http-status",
	"exec-channel", "exec-huge", "exec-opened", "exec-cut", "exec-after",
	"serial-flood", "vsock", "word" };

enum conn_state { C_CONNECT, C_REQUEST, C_ECHO, C_FLOOD, C_HOLD, C_CLOSING };

struct conn {
	struct fake_agent *f;
	struct ystream *s;
	enum conn_state state;
	char line[32];
	size_t line_len;
	struct http http;
	struct http_buf body;
	struct frame_dec dec;
	char *flood; /* C_FLOOD: sent again and again */
	size_t flood_off;
	uint8_t *out;
	size_t out_len, out_off, out_cap;
};

struct fake_agent {
	struct sess *sess;
	enum mode mode;
	enum power power;
	unsigned int holds_lost;
	struct conn *end; /* who asked for the last word */
	bool booted;
	bool unready; /* as its health says, from an exec on */
	uint8_t lie[LIE]; /* goes out instead of the session's bytes */
	bool lies;
};

static void
conn_free(struct conn *c)
{
	if (c->f->end == c)
		c->f->end = NULL;
	ystream_free(c->s);
	free(c->body.p);
	free(c->out);
	free(c->flood);
	free(c);
}

static void
put(struct conn *c, const void *data, size_t len)
{
	if (c->out_len + len > c->out_cap) {
		c->out_cap = (c->out_len + len) * 2;
		c->out = realloc(c->out, c->out_cap);
		assert(c->out != NULL);
	}
	memcpy(c->out + c->out_len, data, len);
	c->out_len += len;
}

static void
flush(struct conn *c)
{
	c->out_off +=
	    ystream_write(c->s, c->out + c->out_off, c->out_len - c->out_off);
	if (c->out_off == c->out_len)
		c->out_off = c->out_len = 0;
	while (c->state == C_FLOOD) {
		size_t len = strlen(c->flood) - c->flood_off;
		size_t n = ystream_write(c->s, c->flood + c->flood_off, len);

		c->flood_off += n;
		if (n < len)
			return;
		c->flood_off = 0;
	}
	if (c->state == C_CLOSING && c->out_len == 0)
		ystream_fin(c->s);
}

static void
answer(struct conn *c, int status, const char *json)
{
	char head[512];
	int n = snprintf(head, sizeof(head),
	    "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n",
	    status, http_reason(status), strlen(json));

	put(c, head, (size_t)n);
	put(c, json, strlen(json));
	c->state = C_CLOSING;
}

static void
frame(struct conn *c, unsigned int channel, const void *data, size_t len)
{
	uint8_t head[FRAME_HEAD_LEN] = { (uint8_t)channel, 0,
		(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };

	put(c, head, sizeof(head));
	put(c, data, len);
}

static void
exit_status(struct conn *c, int code)
{
	char json[256];

	if (code == 0)
		(void)snprintf(json, sizeof(json),
		    "{\"metadata\":{},\"status\":\"Success\"}");
	else
		(void)snprintf(json, sizeof(json),
		    "{\"metadata\":{},\"status\":\"Failure\",\"reason\":"
		    "\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":"
		    "\"ExitCode\",\"message\":\"%d\"}]}}",
		    code);
	frame(c, FRAME_STATUS, json, strlen(json));
	c->state = C_CLOSING;
}

static const char *
word(struct json_object *cmd, size_t i)
{
	struct json_object *o = json_object_array_get_idx(cmd, i);

	return o != NULL ? json_object_get_string(o) : "";
}

static void
cmd_echo(struct conn *c, struct json_object *cmd)
{
	size_t i, n = json_object_array_length(cmd);

	for (i = 1; i < n; i++) {
		frame(c, FRAME_STDOUT, word(cmd, i), strlen(word(cmd, i)));
		frame(c, FRAME_STDOUT, i + 1 < n ? " " : "\n", 1);
	}
	exit_status(c, 0);
}

static void
cmd_exit(struct conn *c, struct json_object *cmd)
{
	long long code = 0;

	(void)num_parse(word(cmd, 1), 0, 255, &code);
	exit_status(c, (int)code);
}

static void
cmd_cat(struct conn *c, struct json_object *cmd)
{
	(void)cmd;
	frame_init(&c->dec, FRAME_FROM_USER);
	c->state = C_ECHO;
}

/* Reads nothing and says nothing. */
static void
cmd_hold(struct conn *c, struct json_object *cmd)
{
	(void)cmd;
	c->state = C_HOLD;
}

/* ["fill", N]: N bytes in frames of 60000. */
static void
cmd_fill(struct conn *c, struct json_object *cmd)
{
	static uint8_t data[60000];
	long long n = 0;

	memset(data, 'f', sizeof(data));
	(void)num_parse(word(cmd, 1), 0, 64LL << 20, &n);
	for (; n > 0; n -= (long long)sizeof(data))
		frame(c, FRAME_STDOUT, data,
		    n < (long long)sizeof(data) ? (size_t)n : sizeof(data));
	exit_status(c, 0);
}

/* ["bomb", KIND, N]: says "MADE of N: ERROR". */
static void
cmd_bomb(struct conn *c, struct json_object *cmd)
{
	static const struct {
		const char *name;
		unsigned int (*fn)(unsigned int, int *);
	} kinds[] = {
		{ "memory", bomb_memory },
		{ "threads", bomb_threads },
		{ "forks", bomb_forks },
		{ "spin", bomb_spin },
	};
	unsigned int made = 0;
	long long n = 0;
	int err = EINVAL;
	char text[80];
	size_t i;

	(void)num_parse(word(cmd, 2), 0, 100000, &n);
	for (i = 0; i < nitems(kinds); i++) {
		if (strcmp(kinds[i].name, word(cmd, 1)) == 0)
			made = kinds[i].fn((unsigned int)n, &err);
	}
	(void)snprintf(text, sizeof(text), "%u of %lld: %s\n", made, n,
	    err != 0 ? strerrorname_np(err) : "ok");
	frame(c, FRAME_STDOUT, text, strlen(text));
	exit_status(c, 0);
}

/* ["unready", "1"]: what its health says from now on; "0": no more. */
static void
cmd_unready(struct conn *c, struct json_object *cmd)
{
	c->f->unready = word(cmd, 1)[0] == '1';
	exit_status(c, 0);
}

/* ["reset"]: of the machine; ["reset", "word"]: with the last word, and without
 * waiting until it was heard. */
static void
cmd_reset(struct conn *c, struct json_object *cmd)
{
	if (word(cmd, 1)[0] != '\0' && c->f->end != NULL) {
		answer(c->f->end, 200, "{\"end\":\"reboot\"}");
		flush(c->f->end);
	}
	c->f->power = POWER_REBOOT;
	exit_status(c, 0);
}

/* ["halt"]: of the machine, by an error of KVM's. */
static void
cmd_halt(struct conn *c, struct json_object *cmd)
{
	(void)cmd;
	c->f->power = POWER_HALT;
}

/* ["status", TEXT]: the status is whatever the caller says. */
static void
cmd_status(struct conn *c, struct json_object *cmd)
{
	frame(c, FRAME_STATUS, word(cmd, 1), strlen(word(cmd, 1)));
	c->state = C_CLOSING;
}

/* ["raw", TEXT]: that is all the answer. */
static void
lie_raw(struct conn *c, struct json_object *cmd)
{
	put(c, word(cmd, 1), strlen(word(cmd, 1)));
	c->state = C_CLOSING;
}

/* ["flood", TEXT, MORE]: an answer that begins so and goes on without end. */
static void
lie_flood(struct conn *c, struct json_object *cmd)
{
	put(c, word(cmd, 1), strlen(word(cmd, 1)));
	c->flood = strdup(word(cmd, 2));
	assert(c->flood != NULL && c->flood[0] != '\0');
	c->state = C_FLOOD;
}

/* True if the mode made this exec a lie. */
static bool
lie_exec(struct conn *c)
{
	static const uint8_t huge[] = { FRAME_STDOUT, 0xff, 0xff, 0xff, 0xff };
	static const uint8_t opened[] = "\xfd\0\0\0\2\0\x65";

	switch (c->f->mode) {
	case MODE_EXEC_CHANNEL:
		frame(c, 77, "evil", 4);
		break;
	case MODE_EXEC_HUGE:
		put(c, huge, sizeof(huge));
		break;
	case MODE_EXEC_OPENED:
		put(c, opened, sizeof(opened) - 1);
		break;
	case MODE_EXEC_CUT:
		frame(c, FRAME_STDOUT, "half", 4);
		c->state = C_CLOSING;
		return true;
	case MODE_EXEC_AFTER:
		exit_status(c, 0);
		frame(c, FRAME_STDOUT, "late", 4);
		return true;
	default:
		return false;
	}
	c->state = C_ECHO;
	frame_init(&c->dec, FRAME_FROM_USER);
	return true;
}

/* ["lie", MODE]: as if all were in that mode, this once. */
static void
cmd_lie(struct conn *c, struct json_object *cmd)
{
	const enum mode mode = c->f->mode;
	size_t i;

	for (i = 0; i < MODE_COUNT; i++) {
		if (strcmp(mode_names[i], word(cmd, 1)) == 0)
			c->f->mode = (enum mode)i;
	}
	if (!lie_exec(c))
		exit_status(c, 127);
	c->f->mode = mode;
}

static void
post_exec(struct conn *c)
{
	static const struct {
		const char *name;
		void (*run)(struct conn *c, struct json_object *cmd);
	} cmds[] = {
		{ "echo", cmd_echo },
		{ "exit", cmd_exit },
		{ "cat", cmd_cat },
		{ "fill", cmd_fill },
		{ "hold", cmd_hold },
		{ "bomb", cmd_bomb },
		{ "status", cmd_status },
		{ "unready", cmd_unready },
		{ "lie", cmd_lie },
		{ "reset", cmd_reset },
		{ "halt", cmd_halt },
	};
	/* instead of going on */
	static const struct {
		const char *name;
		void (*run)(struct conn *c, struct json_object *cmd);
	} lies[] = {
		{ "raw", lie_raw },
		{ "flood", lie_flood },
		{ "mute", cmd_hold },
	};
	static const char up[] =
	    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
	    "Upgrade: mews-exec\r\n\r\n";
	struct json_object *o, *cmd = NULL;
	size_t i;

	o = json_tokener_parse((const char *)c->body.p);
	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, "cmd", &cmd) ||
	    !json_object_is_type(cmd, json_type_array)) {
		answer(c, 400, "{\"error\":\"cmd: missing\"}");
		json_object_put(o);
		return;
	}
	for (i = 0; i < nitems(lies); i++) {
		if (strcmp(lies[i].name, word(cmd, 0)) != 0)
			continue;
		lies[i].run(c, cmd);
		json_object_put(o);
		return;
	}
	for (i = 0; i < nitems(cmds); i++) {
		if (strcmp(cmds[i].name, word(cmd, 0)) == 0)
			break;
	}
	if (i == nitems(cmds))
		answer(c, 500, "{\"error\":\"no such program\"}");
	else {
		put(c, up, sizeof(up) - 1);
		if (!lie_exec(c))
			cmds[i].run(c, cmd);
	}
	json_object_put(o);
}

static bool
lie_http(struct conn *c)
{
	static const char split[] =
	    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n"
	    "\r\n{}HTTP/1.1 200 OK\r\nX: y\r\n\r\n";
	static const char moved[] =
	    "HTTP/1.1 302 Found\r\nLocation: http://evil/\r\n"
	    "Set-Cookie: a=b\r\nContent-Length: 9\r\n\r\n\033[2Jgotcha";

	switch (c->f->mode) {
	case MODE_HTTP_SPLIT:
		put(c, split, sizeof(split) - 1);
		c->state = C_CLOSING;
		return true;
	case MODE_HTTP_ENDLESS:
		c->flood =
		    strdup("X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n");
		put(c, "HTTP/1.1 200 OK\r\n", 17);
		break;
	case MODE_HTTP_INTERIM:
		c->flood = strdup("HTTP/1.1 100 Continue\r\n\r\n");
		break;
	case MODE_HTTP_BODY:
		c->flood = strdup("5\r\nabcde\r\n");
		put(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		    47);
		break;
	case MODE_HTTP_STATUS:
		if (strcmp(c->http.path, "/v1/exec") != 0)
			return false;
		put(c, moved, sizeof(moved) - 1);
		c->state = C_CLOSING;
		return true;
	default:
		return false;
	}
	c->state = C_FLOOD;
	return true;
}

static void
put_boot(struct conn *c)
{
	struct fake_agent *f = c->f;

	answer(c, f->booted ? 409 : 200, "{\"ready\":true}");
	f->booted = true;
}

/* The test plays the other end of its socket, and has to know. */
static void
put_vsock(struct conn *c)
{
	(void)fprintf(
	    stderr, "vsock %.*s\n", (int)c->body.used, (const char *)c->body.p);
	answer(c, 200, "{\"port\":1024}");
}

static void
get_health(struct conn *c)
{
	char json[96];

	(void)snprintf(json, sizeof(json),
	    "{\"status\":\"ok\",\"ready\":%s,\"vsock\":%s,\"end\":%s}",
	    c->f->booted && !c->f->unready ? "true" : "false",
	    c->f->mode == MODE_VSOCK ? "true" : "false",
	    c->f->mode == MODE_WORD ? "true" : "false");
	answer(c, 200, json);
}

static void
request(struct conn *c)
{
	const char *path = c->http.path;

	if (lie_http(c))
		return;
	if (strcmp(path, "/healthz") == 0)
		get_health(c);
	else if (strcmp(path, "/v1/boot") == 0)
		put_boot(c);
	else if (strcmp(path, "/v1/vsock") == 0 && c->f->mode == MODE_VSOCK)
		put_vsock(c);
	else if (strcmp(path, "/v1/end") == 0 && c->f->mode == MODE_WORD) {
		c->f->end = c;
		c->state = C_HOLD;
	} else if (strcmp(path, "/v1/power") == 0) {
		answer(c, 202, "{}");
		(void)fprintf(stderr, "power %.*s\n", (int)c->body.used,
		    (const char *)c->body.p);
		c->f->power = strstr((const char *)c->body.p, "reboot") != NULL
		    ? POWER_REBOOT
		    : POWER_OFF;
	} else if (strcmp(path, "/v1/exec") == 0 && !c->f->booted)
		answer(c, 503, "{\"error\":\"no boot spec yet\"}");
	else if (strcmp(path, "/v1/exec") == 0)
		post_exec(c);
	else
		answer(c, 404, "{\"error\":\"no such path\"}");
}

/* Returns how many bytes were taken. */
static size_t
take_connect(struct conn *c, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (c->line_len == sizeof(c->line) - 1)
			return len;
		c->line[c->line_len++] = (char)p[i];
		if (p[i] != '\n')
			continue;
		if (strcmp(c->line, "CONNECT 1024\n") == 0) {
			put(c, "OK 1024\n", 8);
			c->state = C_REQUEST;
		} else
			c->state = C_CLOSING;
		return i + 1;
	}
	return len;
}

static size_t
take_request(struct conn *c, const uint8_t *p, size_t len)
{
	size_t used;
	enum http_ev ev = http_feed(&c->http, p, len, &used);

	if (ev == HTTP_EV_FAULT)
		answer(c, c->http.fault_status, "{\"error\":\"bad request\"}");
	else if (ev == HTTP_EV_DONE)
		request(c);
	return used;
}

static size_t
take_frame(struct conn *c, const uint8_t *p, size_t len)
{
	struct frame f;
	size_t used;
	int r = frame_feed(&c->dec, p, len, &used, &f);

	if (r < 0)
		exit_status(c, 126);
	else if (r > 0 && f.channel == FRAME_STDIN)
		frame(c, FRAME_STDOUT, f.data, f.len);
	else if (r > 0 && f.channel == FRAME_CLOSE)
		exit_status(c, 0);
	return used;
}

static void
conn_event(void *arg, struct ystream *s, unsigned int ev)
{
	struct conn *c = arg;
	const uint8_t *p = NULL;
	size_t n;

	(void)s;
	if ((ev & YS_GONE) != 0) {
		c->f->holds_lost += c->state == C_HOLD;
		conn_free(c);
		return;
	}
	/* first what waits: input that was left unread because of it makes no
	 * other event once the peer's window is used up */
	flush(c);
	for (;;) {
		bool head = c->state == C_REQUEST;

		/* what an echo cannot send yet it does not read */
		n = c->out_len < 262144 ? ystream_peek(c->s, &p) : 0;
		if (c->state == C_HOLD)
			break;
		if (n == 0 && !(head && c->http.path != NULL))
			break;
		if (c->state == C_CONNECT)
			n = take_connect(c, p, n);
		else if (head)
			n = take_request(c, p, n);
		else if (c->state == C_ECHO)
			n = take_frame(c, p, n);
		ystream_consume(c->s, n);
		flush(c);
		if (n == 0)
			break;
	}
	if (ystream_is_eof(c->s) && c->state != C_REQUEST)
		conn_free(c);
}

static int
conn_open(void *arg, struct ystream *s)
{
	struct conn *c = calloc(1, sizeof(*c));
	struct http_sink sink = { .write = http_buf_write };

	assert(c != NULL);
	c->f = arg;
	c->s = s;
	c->body.p = calloc(1, BODY_MAX + 1);
	c->body.cap = BODY_MAX;
	sink.arg = &c->body;
	http_request_init(&c->http, BODY_MAX, &sink);
	c->http.flags |= HTTP_OK_UPGRADE_BODY; /* as the agent */
	ystream_set_arg(s, c);
	return 0;
}

static void
on_up(void *arg, struct yamux *y)
{
	struct fake_agent *f = arg;

	(void)y;
	f->lies = f->mode == MODE_AGENT_GARBAGE || f->mode == MODE_AGENT_WINDOW;
}

static void
on_down(void *arg)
{
	(void)arg;
}

static const struct sess_ops ops = {
	.mux = { .open = conn_open, .event = conn_event },
	.up = on_up,
	.down = on_down,
};

struct fake_agent *
fake_new(enum mode mode)
{
	static const uint8_t data_frame[] = { 0, 0, 0, 0, 0, 0, 0, 1, 0, 0,
		0x0f, 0xf4 };
	struct fake_agent *f = calloc(1, sizeof(*f));

	assert(f != NULL);
	f->mode = mode;
	f->sess = sess_new(NULL, CONNS_MAX, &ops, f);
	assert(f->sess != NULL);
	/* garbage: type 0x5a; window: data frames for stream 1, 64 KiB each */
	memset(f->lie, 0x5a, sizeof(f->lie));
	if (mode == MODE_AGENT_WINDOW) {
		memset(f->lie, 0, sizeof(f->lie));
		memcpy(f->lie, data_frame, sizeof(data_frame));
	}
	return f;
}

int
fake_input(struct fake_agent *f, const void *buf, size_t len)
{
	if (f->mode == MODE_AGENT_MUTE)
		return 0;
	return sess_input(f->sess, buf, len);
}

size_t
fake_output(const struct fake_agent *f, const uint8_t **p)
{
	static const uint8_t other[SESS_HELLO] =
	    "MEWSHELO\0\0\0\1xxxxxxxxxxxxxxx";
	size_t n = sess_output(f->sess, p);

	if (f->mode == MODE_AGENT_HELLO) {
		*p = other;
		return sizeof(other);
	}
	if (n == 0 && f->lies) {
		*p = f->lie;
		return sizeof(f->lie);
	}
	return n;
}

void
fake_drained(struct fake_agent *f, size_t n)
{
	const uint8_t *p;

	if (f->mode == MODE_AGENT_HELLO || sess_output(f->sess, &p) == 0)
		return;
	sess_drained(f->sess, n);
}

enum power
fake_power(const struct fake_agent *f)
{
	return f->power;
}

bool
fake_hold_lost(struct fake_agent *f)
{
	if (f->holds_lost == 0)
		return false;
	f->holds_lost--;
	return true;
}
