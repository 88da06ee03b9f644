#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/child.h"
#include "agent/conn.h"
#include "agent/console.h"
#include "agent/detach.h"
#include "agent/spawn.h"
#include "common/err.h"
#include "common/log.h"
#include "tests/suite/t.h"

/*
 * Commands without a guest: spawn() makes a process that does what it is told,
 * a letter at a time, and says when it has.  The console is a FIFO.
 */

#define FIFO_SMALL 4096
#define FIFO_LARGE (1 << 20)
#define ROOM_LEFT 2600 /* what a command that waits wants, and more */
#define WAIT_S 20
#define KIDS (DETACHED_MAX + 8)

static struct agent a;
static int fail_with; /* what keeps the next one from its program */
static bool is_full;

static struct kid {
	pid_t pid;
	int tell, told;
} kids[KIDS];
static size_t nkids;

static const char *says = ""; /* what letter w writes */
static size_t says_len, says_more; /* each time */

/* ---- what detach.c calls */

static struct conn conns[KIDS];
static size_t nconns;
static const struct conn_taker *taker;
static int status;
static char answered[256];

void
conn_take(struct conn *c, const struct conn_taker *t, void *arg)
{
	taker = t;
	c->taken = arg;
}

void
conn_late(struct conn *c, int code, const char *json)
{
	t_true(c->taken != NULL);
	c->taken = NULL;
	status = code;
	(void)snprintf(answered, sizeof(answered), "%s", json);
}

void
conn_late_error(struct conn *c, int code, const char *text)
{
	conn_late(c, code, text);
}

void
port_flush(struct port *p)
{
	(void)p;
}

bool
cgroups_is_full(const struct cgroups *cg)
{
	(void)cg;
	return is_full;
}

void
execgroup_release(struct execgroups *gs, struct execgroup *g)
{
	(void)gs;
	(void)g;
}

void
execgroup_kill(struct execgroup *g)
{
	(void)g;
}

const char *
spawn_error(int code)
{
	return code == -ENOENT ? "No such file or directory" : "?";
}

void
spawn_free(struct child *ch)
{
	free(ch);
}

/* As often as it fits. */
static void
fill(char *to, size_t len, const char *what, size_t n)
{
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = what[i % n];
}

static void
flood(int fd)
{
	(void)signal(SIGPIPE, SIG_DFL);
	while (write(fd, "y\ny\ny\ny\n", 8) > 0)
		continue;
	_exit(0);
}

static _Noreturn void
kid_main(int out, int tell, int told)
{
	char what;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(tell, &what, 1) == 1) {
		switch (what) {
		case 'g': /* it executes */
			(void)close_range(3, (unsigned int)out - 1, 0);
			(void)close_range((unsigned int)out + 3, ~0U, 0);
			break;
		case 'o':
			(void)close(out);
			break;
		case 'w':
			(void)!write(out, says, says_len);
			says_len += says_more;
			break;
		case 'l': /* ends, and leaves one behind who goes on */
			if (fork() > 0)
				_exit(0);
			break;
		case 'v':
			(void)!write(out, "late\n", 5);
			break;
		case 'f':
			flood(out);
			break;
		default:
			_exit(what - '0');
		}
		(void)!write(told, &what, 1);
	}
	_exit(0);
}

int
spawn(struct work *w, const struct strs *boot_env, struct exec_request *req,
    struct spawned *ret, struct err *e)
{
	struct child *ch = calloc(1, sizeof(*ch));
	int out[2], tell[2], told[2];
	struct kid *k;

	(void)w;
	(void)boot_env;
	(void)req;
	if (ch == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	if (nkids == KIDS || pipe2(out, O_CLOEXEC) < 0 ||
	    pipe2(tell, O_CLOEXEC) < 0 || pipe2(told, O_CLOEXEC) < 0)
		abort();
	ch->fail = fail_with;
	k = &kids[nkids++];
	*k = (struct kid){ .tell = tell[1], .told = told[0] };
	if ((k->pid = fork()) == 0) {
		/* side by side, above all others */
		const int at = 500;

		(void)dup2(out[1], at);
		(void)dup2(tell[0], at + 1);
		(void)dup2(told[1], at + 2);
		(void)close(out[1]);
		(void)close(tell[1]);
		(void)close(told[1]);
		kid_main(at, at + 1, at + 2);
	}
	(void)close(out[1]);
	(void)close(tell[0]);
	(void)close(told[1]);
	(void)fcntl(out[0], F_SETFL, O_NONBLOCK);
	*ret = (struct spawned){ .pid = k->pid,
		.in = -1,
		.out = out[0],
		.err = -1,
		.group = { .dir = -1 },
		.child = ch };
	return 0;
}

/* ---- the world */

static int fifo = -1; /* the console's other end */
static char *seen; /* what it said */
static size_t nseen, cap_seen;
static struct watch late = { .fd = -1 };
static bool is_late;

static void
on_late(void *arg, uint32_t events)
{
	uint64_t n;

	(void)arg;
	(void)events;
	(void)!read(late.fd, &n, sizeof(n));
	is_late = true;
}

static void
world_once(void)
{
	const int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 600);
	char path[] = "/tmp/detach_test.XXXXXX", name[64];

	if (fifo >= 0)
		return;
	t_true(mkdtemp(path) != NULL);
	(void)snprintf(name, sizeof(name), "%s/fifo", path);
	t_eq(mkfifo(name, 0600), 0);
	fifo = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	console_init();
	log_init("agent", LOG_INFO);
	loop_init();
	console_watch();
	console_open(name);
	(void)dup2(out, STDOUT_FILENO);
	(void)unlink(name);
	(void)rmdir(path);
	late.fn = on_late;
	late.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	t_eq(loop_watch(&late, EPOLLIN), 0);
	cap_seen = (size_t)4 * FIFO_LARGE;
	t_true((seen = malloc(cap_seen + 1)) != NULL);
	a.work.groups.cg.guest = 3;
}

static void
drain(size_t max)
{
	ssize_t n = 1;

	while (n > 0 && max > 0) {
		if (max > cap_seen - nseen)
			max = cap_seen - nseen;
		n = read(fifo, seen + nseen, max);
		if (n > 0) {
			nseen += (size_t)n;
			max -= (size_t)n;
		}
	}
	seen[nseen] = '\0';
}

/* One turn, or the time is over. */
static bool
turn(void)
{
	const struct itimerspec its = { .it_value = { .tv_sec = WAIT_S } };

	(void)timerfd_settime(late.fd, 0, &its, NULL);
	is_late = false;
	loop_turn();
	t_true(!is_late);
	return !is_late;
}

static void
world(int size)
{
	world_once();
	drain(SIZE_MAX);
	t_eq(fcntl(fifo, F_SETPIPE_SZ, size), size);
	nseen = 0;
	seen[0] = '\0';
	status = 0;
	nkids = nconns = 0;
	fail_with = 0;
	is_full = false;
}

static struct conn *
start(int want, struct err *e)
{
	struct exec_request req = { 0 };
	struct conn *c = &conns[nconns];

	*c = (struct conn){ .a = &a };
	t_eq(detach_start(c, &req, e), want);
	if (want == 0)
		nconns++;
	return want == 0 ? c : NULL;
}

static void
tell(size_t kid, char what)
{
	char back;

	t_eq(write(kids[kid].tell, &what, 1), 1);
	if (what != 'f' && what > '9')
		t_eq(read(kids[kid].told, &back, 1), 1);
}

static void
reaped(size_t kid)
{
	int st;

	t_eq(waitpid(kids[kid].pid, &st, 0), kids[kid].pid);
	t_true(detach_reaped(kids[kid].pid, st));
}

/* A letter or signal that ends it, and then it is reaped. */
static void
end(size_t kid, int sig)
{
	if (sig < 0)
		tell(kid, (char)('0' - sig - 1));
	else if (sig > 0)
		(void)kill(kids[kid].pid, sig);
	reaped(kid);
	(void)close(kids[kid].tell);
	(void)close(kids[kid].told);
}

#define EXIT(n) (-(n)-1)

static void
until(const char *text)
{
	drain(SIZE_MAX);
	while (strstr(seen, text) == NULL && turn())
		drain(SIZE_MAX);
}

static size_t
count(const char *text)
{
	const char *p = seen;
	size_t n = 0;

	while ((p = strstr(p, text)) != NULL) {
		p += strlen(text);
		n++;
	}
	return n;
}

static void
say(const char *text, size_t len)
{
	says = text;
	says_len = len;
	says_more = 0;
}

/* ---- the cases */

static void
begins_and_ends(void)
{
	char want[256];
	int pid;

	world(FIFO_LARGE);
	say("out 1\npart", 10);
	(void)start(0, NULL);
	pid = (int)kids[0].pid;
	t_eq(a.nexecs, 1);
	t_eq(a.ndetached, 1);
	tell(0, 'g');
	while (status == 0 && turn())
		continue;
	(void)snprintf(want, sizeof(want), "{\"pid\":%d}", pid);
	t_eq(status, 201);
	t_str(answered, want);
	tell(0, 'w');
	(void)snprintf(want, sizeof(want), "exec %d: out 1\n", pid);
	until(want);
	end(0, EXIT(3));
	t_eq(a.nexecs, 0);
	t_eq(a.ndetached, 0);
	until("ended");
	(void)snprintf(
	    want, sizeof(want), "exec %d: out 1\nexec %d: part\n", pid, pid);
	t_mem(seen, strlen(want) < nseen ? strlen(want) : nseen, want,
	    strlen(want));
	(void)snprintf(want, sizeof(want), "exec %d ended: status 3", pid);
	until(want);
	t_true(!detach_reaped(pid, 0));
}

static void
ends_by_signal(void)
{
	world(FIFO_LARGE);
	(void)start(0, NULL);
	tell(0, 'g');
	while (status == 0 && turn())
		continue;
	t_eq(detach_signal_all(SIGTERM), 1);
	end(0, 0);
	until("ended: signal 15");
	t_eq(detach_signal_all(SIGTERM), 0);
}

/* Nothing of it is an end of anything that ran. */
static void
never_runs(void)
{
	world(FIFO_LARGE);
	fail_with = -ENOENT;
	(void)start(0, NULL);
	tell(0, 'g');
	while (status == 0 && turn())
		continue;
	t_eq(status, 422);
	t_str(answered, "cannot run the command: No such file or directory");
	end(0, EXIT(7));
	log_info("afterwards");
	until("afterwards");
	t_eq(count("ended"), 0);
}

/* Its end is heard before its begin, in either order of its descriptors. */
static void
ends_at_once(void)
{
	world(FIFO_LARGE);
	say("quick\n", 6);
	(void)start(0, NULL);
	tell(0, 'w');
	tell(0, 'o');
	end(0, EXIT(4));
	t_eq(status, 0);
	t_eq(a.nexecs, 0);
	while (status == 0 && turn())
		continue;
	t_eq(status, 201);
	until("ended: status 4");
	t_eq(count(": quick\n"), 1);
	t_true(strstr(seen, "quick") < strstr(seen, "ended"));
}

static void
client_goes(void)
{
	struct conn *c;

	world(FIFO_LARGE);
	say("still there\n", 12);
	c = start(0, NULL);
	taker->gone(c->taken);
	c->taken = NULL;
	tell(0, 'g');
	tell(0, 'w');
	until("still there");
	t_eq(status, 0);
	end(0, EXIT(0));
	until("ended: status 0");
}

static void
lines(void)
{
	static char text[2048];
	char want[64];

	world(FIFO_LARGE);
	memset(text, 'a', sizeof(text));
	text[512] = '\n'; /* just one line */
	text[513 + 513] = '\n'; /* one and a byte */
	/* its own words cannot stand where a line begins */
	fill(text + 1027, 21, "x\0y\n\nb\rforged\r\nc\33\t\177d\n", 21);
	say(text, 1048);
	(void)start(0, NULL);
	tell(0, 'g');
	tell(0, 'w');
	end(0, EXIT(0));
	until("ended");
	t_eq(count("\nexec "), 7);
	t_eq(count(": a\n"), 1);
	t_eq(count(": x y\n"), 1);
	t_eq(count(": forged\n") + count(": c \t d\n"), 2);
	(void)snprintf(want, sizeof(want), "exec %d: \n", (int)kids[0].pid);
	t_eq(count(want), 1);
}

/* A flood neither holds up the loop nor takes the agent's place there. */
static void
floods(void)
{
	size_t i;

	world(FIFO_LARGE);
	(void)start(0, NULL);
	tell(0, 'g');
	while (status == 0 && turn())
		continue;
	tell(0, 'f');
	for (i = 0; i < 20; i++) {
		(void)turn();
		drain(SIZE_MAX);
		t_true(nseen <= (size_t)16 * 1024);
		nseen = 0;
	}
	/* nobody reads the console, and then somebody does */
	t_eq(fcntl(fifo, F_SETPIPE_SZ, FIFO_SMALL), FIFO_SMALL);
	while (console_has_room(ROOM_LEFT) && turn())
		continue;
	for (i = 0; i < 20; i++) {
		log_info("%070d %zu", 0, i);
		(void)turn();
	}
	nseen = 0;
	until("000 19");
	t_eq(count("000 "), 20);
	t_eq(count("lines lost"), 0);
	end(0, SIGKILL);
	until("ended: signal 9");
	drain(SIZE_MAX);
	t_eq(count("lines lost"), 0);
}

/* What waits goes on, whoever emptied the console's place, or filled it. */
static void
wakes(void)
{
	static char text[1024];
	char name[64];
	size_t i;

	world(FIFO_SMALL);
	fill(text, sizeof(text), "y\n", 2);
	say(text, 400);
	says_more = 2;
	(void)start(0, NULL);
	(void)start(0, NULL);
	tell(0, 'g');
	tell(1, 'g');
	tell(0, 'f');
	(void)snprintf(name, sizeof(name), "exec %d: y\n", (int)kids[0].pid);
	while (console_has_room(ROOM_LEFT) && turn())
		continue;
	for (i = 0; i < 200; i++) {
		if (i < 50)
			console_carry_on();
		else
			tell(1, 'w');
		drain(SIZE_MAX);
		if (i < 50)
			console_carry_on();
		nseen = 0;
		until(name);
	}
	end(0, SIGKILL);
	end(1, SIGKILL);
	while (count("ended: signal 9") < 2 && turn())
		drain(SIZE_MAX);
}

static void
shares(void)
{
	static char text[48 * 1024];
	char name[3][64];
	size_t i;

	world(FIFO_SMALL);
	fill(text, sizeof(text), "y\n", 2);
	say(text, sizeof(text));
	for (i = 0; i < 3; i++) {
		(void)start(0, NULL);
		tell(i, 'g');
		tell(i, 'w');
		(void)snprintf(
		    name[i], sizeof(name[i]), "exec %d: y\n", (int)kids[i].pid);
	}
	while (nseen < (size_t)256 * 1024 && turn())
		drain(SIZE_MAX);
	for (i = 0; i < 3; i++)
		t_true(count(name[i]) * 4 > count(": y\n"));
	for (i = 0; i < 3; i++)
		end(i, SIGKILL);
	while (count("ended: signal 9") < 3 && turn())
		drain(SIZE_MAX);
}

/* Whom it leaves behind neither keeps it nor is heard, while all is that it
 * said itself, though it has to wait. */
static void
leaves_behind(void)
{
	static char text[16384];

	world(FIFO_SMALL);
	fill(text, sizeof(text), "0123456\n", 8);
	say(text, sizeof(text));
	(void)start(0, NULL);
	tell(0, 'g');
	tell(0, 'w');
	while (console_has_room(ROOM_LEFT) && turn())
		continue;
	tell(0, 'l');
	reaped(0);
	tell(0, 'v');
	until("ended: status 0");
	t_eq(count(": 0123456\n"), sizeof(text) / 8);
	t_eq(count("late"), 0);
	(void)close(kids[0].tell);
	(void)close(kids[0].told);
}

static void
no_more(void)
{
	struct err e = { 0 };
	size_t i;

	world(FIFO_LARGE);
	is_full = true;
	(void)start(-EBUSY, &e);
	t_true(strstr(e.msg, "no memory or process is left") != NULL);
	a.work.groups.cg.guest = -1; /* nobody counts there */
	for (i = 0; i < DETACHED_MAX; i++) {
		(void)start(0, NULL);
		tell(i, 'g');
	}
	a.work.groups.cg.guest = 3;
	is_full = false;
	(void)start(-EBUSY, &e);
	t_str(e.msg, "64 detached commands run in this vm already: end one");
	t_eq(a.ndetached, DETACHED_MAX);
	end(0, EXIT(0));
	until("ended: status 0"); /* its begin was told, too */
	(void)start(0, NULL);
	tell(nkids - 1, 'g');
	t_eq(detach_signal_all(SIGKILL), DETACHED_MAX);
	for (i = 1; i < nkids; i++)
		end(i, 0);
	while (count("ended: signal 9") < DETACHED_MAX && turn())
		drain(SIZE_MAX);
	t_eq(a.nexecs, 0);
}

static void
out_of_memory(void)
{
	struct err e = { 0 };
	unsigned int i;

	world(FIFO_LARGE);
	for (i = 1; i <= 2; i++) {
		t_fail_alloc(i);
		(void)start(-ENOMEM, &e);
		t_str(e.msg, "out of memory");
	}
	t_fail_alloc(0);
	t_eq(a.nexecs, 0);
}

const struct t_case t_cases[] = { { "begins and ends", begins_and_ends },
	{ "ends by a signal", ends_by_signal }, { "never runs", never_runs },
	{ "ends at once", ends_at_once }, { "its client goes", client_goes },
	{ "lines", lines }, { "floods", floods }, { "wakes", wakes },
	{ "shares", shares }, { "leaves behind", leaves_behind },
	{ "no more", no_more }, { "out of memory", out_of_memory },
	{ NULL, NULL } };
