#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "common/num.h"
#include "common/util.h"
#include "tests/suite/t.h"

static char text[1 << 20];

/* What fn says in a process of its own whose descriptor 2 is w; r: where that
 * can be read, which nobody does before the end. */
static const char *
said(int r, int w, void (*fn)(void))
{
	size_t len = 0;
	ssize_t n;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		(void)alarm(10); /* one that waits */
		if (dup2(w, STDERR_FILENO) < 0)
			_exit(9);
		log_init("x", LOG_INFO);
		fn();
		_exit(0);
	}
	t_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	t_eq(status, 0);
	fd_close(&w);
	while (len < sizeof(text) - 1 &&
	    (n = read(r, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	fd_close(&r);
	return text;
}

/* After "TIME x LEVEL ". */
static const char *
line(const char *from, unsigned int nth)
{
	static char one[2048];
	const char *end, *at;

	while (nth-- > 0 && from != NULL) {
		from = strchr(from, '\n');
		from += from != NULL;
	}
	if (from == NULL || (end = strchr(from, '\n')) == NULL ||
	    (at = strstr(from, " x ")) == NULL || at > end)
		return "(none)";
	(void)snprintf(one, sizeof(one), "%.*s", (int)(end - at - 3), at + 3);
	return one;
}

static void
repeats(void)
{
	int i;

	for (i = 0; i < 1000; i++)
		log_info("as before");
	log_info("something %s", "else");
	log_info("something else");
	log_warn("something else");
}

static void
test_repeats(void)
{
	int p[2];
	const char *s;

	t_eq(pipe2(p, O_CLOEXEC), 0);
	s = said(p[0], p[1], repeats);
	t_str(line(s, 0), "info as before");
	t_str(line(s, 9), "info as before");
	t_str(line(s, 10), "info the last line came 990 times more");
	t_str(line(s, 11), "info something else");
	t_str(line(s, 12), "info something else");
	t_str(line(s, 13), "warn something else");
	t_str(line(s, 14), "(none)");
}

static void
many(void)
{
	int i;

	for (i = 0; i < 5000; i++)
		log_info("line %d of a great many", i);
}

/* The number that a text begins with. */
static bool
num_parse_head(const char *from, long long *ret)
{
	char digits[24] = "";

	(void)snprintf(digits, sizeof(digits), "%.*s",
	    (int)strspn(from, "0123456789"), from);
	return num_parse(digits, 0, INT64_MAX, ret) == 0;
}

static void
room_to_say(void)
{
	char buf[65536];
	int i;

	many();
	/* somebody reads at last */
	for (i = 0; i < 2; i++)
		(void)!read(3, buf, sizeof(buf));
	log_info("after");
}

/* A pipe as mewsd gives it to a room. */
static void
test_full_pipe(void)
{
	int p[2];
	const char *s;
	long long lost = 0;

	t_eq(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	t_eq(dup2(p[0], 3), 3);
	s = said(p[0], p[1], room_to_say);
	t_true(strncmp(line(s, 0), "warn ", 5) == 0);
	t_true(num_parse_head(line(s, 0) + 5, &lost));
	t_true(lost > 1000 && lost < 5000);
	t_true(strstr(line(s, 0), " lines lost: nobody took them") != NULL);
	t_str(line(s, 1), "info after");
	t_str(line(s, 2), "(none)");
	(void)close(3);
}

static void
stranger(void)
{
	log_never_wait(1 << 20, 1 << 30);
	many();
}

/* A standard error that is somebody else's and that nobody reads. */
static void
test_unread(void)
{
	int p[2];

	t_row("pipe");
	t_eq(pipe2(p, O_CLOEXEC), 0);
	t_str(
	    line(said(p[0], p[1], stranger), 0), "info line 0 of a great many");
	t_row("socket");
	t_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	t_str(
	    line(said(p[0], p[1], stranger), 0), "info line 0 of a great many");
	t_row("its flags stay");
	t_eq(pipe2(p, O_CLOEXEC), 0);
	{
		int w = fcntl(p[1], F_DUPFD_CLOEXEC, 0);

		(void)fcntl(p[0], F_SETFL, O_NONBLOCK);
		(void)said(p[0], p[1], stranger);
		t_eq(fcntl(w, F_GETFL) & O_NONBLOCK, 0);
		fd_close(&w);
	}
}

static void
bounded(void)
{
	log_never_wait(1000, 2000);
	many();
}

static void
test_budget(void)
{
	int p[2];

	t_eq(pipe2(p, O_CLOEXEC), 0);
	t_true(strlen(said(p[0], p[1], bounded)) <= 2000);
	t_str(line(text, 0), "info line 0 of a great many");
	t_str(line(text, 25), "(none)");
}

const struct t_case t_cases[] = {
	{ "repeats", test_repeats },
	{ "full-pipe", test_full_pipe },
	{ "unread", test_unread },
	{ "budget", test_budget },
	{ NULL, NULL },
};
