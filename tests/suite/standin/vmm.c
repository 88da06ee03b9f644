#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/num.h"
#include "common/util.h"
#include "tests/suite/standin/standin.h"

enum line { L_QMP, L_SERIAL, L_AGENT, L_COUNT };
#define BUF_MAX 65536

struct vmm {
	int listener[L_COUNT], conn[L_COUNT];
	bool running, halted, greeted;
	enum mode mode;
	struct fake_agent *agent;
	const char *append;
	char in[BUF_MAX]; /* QMP */
	size_t in_len;
	char serial[BUF_MAX]; /* what the console said and nobody read */
	size_t serial_len;
	bool ends;
};

static _Noreturn void
die(const char *why, const char *what)
{
	(void)fprintf(stderr, "stand-in: %s %s\n", why, what);
	exit(1);
}

/* QEMU's -sandbox adds a filter of its own: so does this. */
static void
sandbox(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (ctx == NULL ||
	    seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execve), 0) <
		0 ||
	    seccomp_load(ctx) < 0)
		die("sandbox", "");
	seccomp_release(ctx);
}

static void
chardev(struct vmm *v, const char *arg)
{
	static const char *const names[L_COUNT] = { "qmp", "serial", "agent" };
	char want[80], num[8] = "";
	long long fd;
	size_t i, n;

	for (i = 0; i < L_COUNT; i++) {
		(void)snprintf(
		    want, sizeof(want), "socket,id=%s,fd=", names[i]);
		n = strlen(want);
		if (strncmp(arg, want, n) != 0)
			continue;
		(void)snprintf(num, sizeof(num), "%.*s",
		    (int)strcspn(arg + n, ","), arg + n);
		if (num_parse(num, 3, 1000, &fd) < 0 ||
		    strcmp(strchr(arg + n, ','), ",server=on,wait=off") != 0)
			die("bad chardev", arg);
		v->listener[i] = (int)fd;
		return;
	}
	die("unknown chardev", arg);
}

static void
append(struct vmm *v, const char *arg)
{
	const char *p = strstr(arg, "standin=");
	size_t i;

	v->append = arg;
	for (i = 0; p != NULL && i < MODE_COUNT; i++) {
		size_t n = strlen(mode_names[i]);

		if (strncmp(p + 8, mode_names[i], n) == 0 &&
		    (p[8 + n] == ' ' || p[8 + n] == '\0'))
			v->mode = (enum mode)i;
	}
}

/* Every option QEMU is given must be one that is known here. */
static void
parse(struct vmm *v, int argc, char *argv[])
{
	static const char *const with[] = { "-M", "-accel", "-cpu", "-smp",
		"-m", "-display", "-sandbox", "-chardev", "-mon", "-serial",
		"-device", "-netdev", "-bios", "-kernel", "-initrd",
		"-append" };
	static const char *const without[] = { "-nodefaults", "-no-user-config",
		"-no-reboot", "-S" };
	size_t k;
	int i;

	for (i = 1; i < argc; i++) {
		for (k = 0; k < nitems(without); k++) {
			if (strcmp(argv[i], without[k]) == 0)
				break;
		}
		if (k < nitems(without))
			continue;
		for (k = 0; k < nitems(with); k++) {
			if (strcmp(argv[i], with[k]) == 0)
				break;
		}
		if (k == nitems(with) || i + 1 == argc)
			die("unknown option", argv[i]);
		i++;
		if (strcmp(with[k], "-chardev") == 0)
			chardev(v, argv[i]);
		else if (strcmp(with[k], "-append") == 0)
			append(v, argv[i]);
		else if (strcmp(with[k], "-sandbox") == 0)
			sandbox();
	}
}

/* As QEMU's chardevs: by sendmsg and recvmsg, all its filter allows. */
static ssize_t
put(int fd, const void *data, size_t len, int flags)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data,
		.iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	return sendmsg(fd, &mh, MSG_NOSIGNAL | flags);
}

static ssize_t
get(int fd, void *data, size_t len)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	return recvmsg(fd, &mh, MSG_DONTWAIT);
}

static void
say(struct vmm *v, enum line line, const char *text, size_t len)
{
	struct pollfd pfd = { .fd = v->conn[line], .events = POLLOUT };

	while (len > 0 && v->conn[line] != -1) {
		ssize_t n = put(v->conn[line], text, len, 0);

		if (n < 0 && errno == EAGAIN && poll(&pfd, 1, -1) > 0)
			continue;
		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

static void
qmp(struct vmm *v, const char *text)
{
	say(v, L_QMP, text, strlen(text));
}

/* Like a UART behind a chardev: what nobody reads waits, then is lost. */
static void
console(struct vmm *v, const char *text, size_t len)
{
	if (v->conn[L_SERIAL] != -1)
		say(v, L_SERIAL, text, len);
	else if (len <= sizeof(v->serial) - v->serial_len) {
		memcpy(v->serial + v->serial_len, text, len);
		v->serial_len += len;
	}
}

static void
event_shutdown(struct vmm *v, const char *guest, const char *reason)
{
	char text[160];

	(void)snprintf(text, sizeof(text),
	    "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, "
	    "\"event\": \"SHUTDOWN\", \"data\": {\"guest\": %s, "
	    "\"reason\": \"%s\"}}\r\n",
	    guest, reason);
	qmp(v, text);
	v->ends = true;
}

static void
run_guest(struct vmm *v)
{
	char line[4096];
	int n;

	if (v->running)
		return;
	v->running = true;
	qmp(v, "{\"event\": \"RESUME\"}\r\n");
	n = snprintf(
	    line, sizeof(line), "stand-in guest: %.3000s\r\n", v->append);
	console(v, line, (size_t)n);
}

static void
command(struct vmm *v, const char *line)
{
	const char *id = strstr(line, "\"id\":");
	char text[160], num[8] = "0";

	if (id != NULL)
		(void)snprintf(num, sizeof(num), "%.*s",
		    (int)strspn(id + 5, "0123456789"), id + 5);
	if (strstr(line, "query-status") != NULL)
		(void)snprintf(text, sizeof(text),
		    "{\"return\": {\"status\": \"%s\", \"singlestep\": false, "
		    "\"running\": %s}, \"id\": %s}\r\n",
		    v->running	    ? "running"
			: v->halted ? "internal-error"
				    : "prelaunch",
		    v->running ? "true" : "false", num);
	else
		(void)snprintf(text, sizeof(text),
		    "{\"return\": {}, \"id\": %s}\r\n", num);
	qmp(v, text);
	if (strstr(line, "\"cont\"") != NULL)
		run_guest(v);
	else if (strstr(line, "system_powerdown") != NULL)
		event_shutdown(v, "true", "guest-shutdown");
	else if (strstr(line, "\"quit\"") != NULL)
		event_shutdown(v, "false", "host-qmp-quit");
}

static void
qmp_lies(struct vmm *v)
{
	static char big[BUF_MAX];

	memset(big, 'x', sizeof(big));
	switch (v->mode) {
	case MODE_QMP_GARBAGE:
		qmp(v, "\033[31mnot json\001\r\n");
		break;
	case MODE_QMP_HUGE:
		say(v, L_QMP, "{\"a\": \"", 7);
		for (int i = 0; i < 16; i++)
			say(v, L_QMP, big, sizeof(big));
		break;
	case MODE_QMP_DEEP:
		memset(big, '[', sizeof(big));
		say(v, L_QMP, "{\"QMP\":", 7);
		say(v, L_QMP, big, 8192);
		qmp(v, "\r\n");
		break;
	case MODE_QMP_FLOOD:
		for (int i = 0; i < 20000; i++)
			qmp(v,
			    "{\"event\": \"BLOCK_JOB_READY\", \"data\": "
			    "{}}\r\n");
		break;
	case MODE_QMP_TWICE:
		qmp(v, "{\"QMP\": {}}\r\n{\"QMP\": {}}\r\n");
		break;
	default:
		break;
	}
}

static void
accepted(struct vmm *v, enum line line)
{
	if (line == L_QMP) {
		v->in_len = 0;
		qmp(v,
		    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, "
		    "\"minor\": 0, \"major\": 0}, \"package\": \"stand-in\"}, "
		    "\"capabilities\": [\"oob\"]}}\r\n");
		qmp_lies(v);
	}
	if (line == L_SERIAL && v->serial_len > 0) {
		say(v, L_SERIAL, v->serial, v->serial_len);
		v->serial_len = 0;
	}
}

static void
on_qmp(struct vmm *v, const char *buf, size_t len)
{
	char *nl;

	if (len > sizeof(v->in) - 1 - v->in_len)
		return;
	memcpy(v->in + v->in_len, buf, len);
	v->in_len += len;
	v->in[v->in_len] = '\0';
	while ((nl = strchr(v->in, '\n')) != NULL) {
		*nl = '\0';
		command(v, v->in);
		v->in_len -= (size_t)(nl + 1 - v->in);
		memmove(v->in, nl + 1, v->in_len + 1);
	}
}

static void
agent_flush(struct vmm *v)
{
	const uint8_t *p;
	size_t len;

	while (
	    v->conn[L_AGENT] != -1 && (len = fake_output(v->agent, &p)) > 0) {
		ssize_t n = put(v->conn[L_AGENT], p, len, MSG_DONTWAIT);

		if (n <= 0)
			return;
		fake_drained(v->agent, (size_t)n);
	}
}

static void
on_bytes(struct vmm *v, enum line line)
{
	char buf[16384];
	ssize_t n = get(v->conn[line], buf, sizeof(buf));

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		fd_close(&v->conn[line]);
		return;
	}
	if (line == L_QMP)
		on_qmp(v, buf, (size_t)n);
	else if (line == L_SERIAL)
		console(v, buf, (size_t)n);
	else
		(void)fake_input(v->agent, buf, (size_t)n);
}

/* A listener while nobody is connected, else the connection. */
static void
wait_for(const struct vmm *v, struct pollfd *p, enum line line)
{
	const uint8_t *out;

	p->fd = v->conn[line] != -1 ? v->conn[line] : v->listener[line];
	p->events = POLLIN;
	if (line != L_AGENT || v->conn[line] == -1)
		return;
	/* a guest that does not run reads nothing */
	if (!v->running)
		p->fd = -1;
	else if (fake_output(v->agent, &out) > 0)
		p->events |= POLLOUT;
}

/* As QEMU does where KVM cannot go on: it says that it stopped, not why. */
static void
halt(struct vmm *v)
{
	v->running = false;
	v->halted = true;
	qmp(v, "{\"event\": \"STOP\"}\r\n");
}

static void
turn(struct vmm *v)
{
	struct pollfd p[L_COUNT];
	bool floods = v->mode == MODE_SERIAL_FLOOD && v->running;
	int i;

	for (i = 0; i < L_COUNT; i++)
		wait_for(v, &p[i], (enum line)i);
	if (poll(p, L_COUNT, floods ? 0 : -1) < 0 && errno != EINTR)
		die("poll", "");
	for (i = 0; i < L_COUNT; i++) {
		if (p[i].fd == -1 || p[i].revents == 0)
			continue;
		if (v->conn[i] == -1) {
			v->conn[i] = accept4(v->listener[i], NULL, NULL,
			    SOCK_CLOEXEC | SOCK_NONBLOCK);
			if (v->conn[i] != -1)
				accepted(v, (enum line)i);
		} else if ((p[i].revents & (POLLIN | POLLHUP)) != 0)
			on_bytes(v, (enum line)i);
	}
	if (floods)
		console(v, "flood flood flood flood flood flood\r\n", 37);
	while (fake_hold_lost(v->agent))
		console(v, "hold lost\r\n", 11);
	if (v->running)
		agent_flush(v);
	if (fake_power(v->agent) == POWER_OFF && !v->ends)
		event_shutdown(v, "true", "guest-shutdown");
	if (fake_power(v->agent) == POWER_REBOOT && !v->ends)
		event_shutdown(v, "true", "guest-reset");
	if (fake_power(v->agent) == POWER_HALT && !v->halted)
		halt(v);
}

int
main(int argc, char *argv[])
{
	static struct vmm v = { .listener = { -1, -1, -1 },
		.conn = { -1, -1, -1 } };
	int i;

	parse(&v, argc, argv);
	for (i = 0; i < L_COUNT; i++) {
		if (v.listener[i] == -1 || v.append == NULL)
			die("not enough options", "");
		/* as QEMU does: again on what already listens */
		if (listen(v.listener[i], 1) < 0)
			die("listen", "");
	}
	v.agent = fake_new(v.mode);
	while (!v.ends)
		turn(&v);
	return 0;
}
