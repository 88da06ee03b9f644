#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/util.h"
#include "tests/suite/t.h"

/*
 * What Landlock alone refuses to a confined process that is still root: no
 * filter, no other uid stands in front of it.  A kernel that has less of
 * Landlock refuses less; then the act succeeds, which shows that it can.
 */
static struct sockaddr_un abstract = { .sun_family = AF_UNIX };
static socklen_t abstract_len;

/* Nobody else's: tests run side by side. */
static void
abstract_name(void)
{
	int n = snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1,
	    "mews-confine-%d", (int)getpid());

	abstract_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) +
	    (socklen_t)n;
}

static int
act_signal(void)
{
	return kill(getppid(), 0);
}

static int
act_signal_own(void)
{
	return kill(getpid(), 0);
}

static int
act_abstract(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (const struct sockaddr *)&abstract, abstract_len);
}

static int
act_tcp(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return bind(fd, (struct sockaddr *)&in, sizeof(in));
}

static const struct {
	const char *name;
	int (*fn)(void);
	long abi; /* refused from this version on */
	int err;
} rows[] = {
	{ "a signal to one that is not confined", act_signal, 6, EPERM },
	{ "a signal to itself", act_signal_own, 99, 0 },
	{ "an abstract socket", act_abstract, 6, EPERM },
	{ "a TCP port", act_tcp, 4, EACCES },
};

static int
run(int (*fn)(void))
{
	static const struct confinement c = { .caps = CAP_BIT(CAP_KILL) };
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		proc_confine(&c);
		_exit(fn() < 0 ? errno : 0);
	}
	t_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
test_landlock(void)
{
	const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t i;

	if (geteuid() != 0) {
		t_skip("needs root");
		return;
	}
	abstract_name();
	t_eq(bind(fd, (const struct sockaddr *)&abstract, abstract_len), 0);
	t_eq(listen(fd, 4), 0);
	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		t_eq(run(rows[i].fn), abi >= rows[i].abi ? rows[i].err : 0);
	}
	(void)close(fd);
}

static void
bounding(void)
{
	int left = 0;
	unsigned long cap;

	if (caps_drop_bounding(CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_KILL)) < 0)
		_exit(200);
	for (cap = 0; cap < 64; cap++)
		left += prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1;
	_exit(left);
}

static void
test_bounding(void)
{
	int status = -1;
	pid_t pid;

	if (geteuid() != 0) {
		t_skip("needs root");
		return;
	}
	if ((pid = fork()) == 0)
		bounding();
	t_eq(waitpid(pid, &status, 0), pid);
	t_eq(WEXITSTATUS(status), 2);
}

const struct t_case t_cases[] = { { "landlock", test_landlock },
	{ "bounding set", test_bounding }, { NULL, NULL } };
