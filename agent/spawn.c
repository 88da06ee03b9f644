#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "agent/files.h"
#include "agent/spawn.h"
#include "agent/work.h"
#include "common/err.h"
#include "common/fds.h"
#include "common/util.h"
#include "proto/objects.h"

#define NO_COMMAND 127
#define NO_EXEC 126

/* What a program gets before the boot spec's and the request's additions. */
static const char *const env_base[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
};

/* The child's ends and texts: all made before the fork. */
struct plan {
	int in[2], out[2], err[2], fail[2];
	char **argv, **envp;
	const char *cwd;
	bool tty;
	struct excg group;
};

static char **
list_new(const struct strs *l)
{
	char **v = calloc((size_t)l->count + 1, sizeof(*v));
	const char *s = NULL;
	size_t n = 0;

	/* the strings stay where they are: exec(2) copies them */
	while (v != NULL && n < l->count && (s = strs_next(l, s)) != NULL)
		v[n++] = (char *)(uintptr_t)s;
	return v;
}

/* A later setting of a name replaces the earlier. */
static void
env_set(char **env, size_t *n, const char *s)
{
	size_t len = strcspn(s, "="), i;

	for (i = 0; i < *n; i++) {
		if (strncmp(env[i], s, len) == 0 && env[i][len] == '=')
			break;
	}
	env[i] = (char *)(uintptr_t)s;
	if (i == *n)
		(*n)++;
}

static char **
env_new(const struct strs *boot, const struct exec_request *req)
{
	size_t max = nitems(env_base) + boot->count + req->env.count + 2, n = 0;
	char **env = calloc(max, sizeof(*env));
	const char *s = NULL;
	size_t i;

	if (env == NULL)
		return NULL;
	for (i = 0; i < nitems(env_base); i++)
		env_set(env, &n, env_base[i]);
	if (req->tty)
		env_set(env, &n, "TERM=xterm");
	while ((s = strs_next(boot, s)) != NULL)
		env_set(env, &n, s);
	while ((s = strs_next(&req->env, s)) != NULL)
		env_set(env, &n, s);
	return env;
}

static int
open_tty(const struct work *w, struct plan *p)
{
	const int unlock = 0;

	p->in[1] = openat(w->pts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->in[1] < 0 || ioctl(p->in[1], TIOCSPTLCK, &unlock) < 0)
		return -errno;
	p->in[0] = ioctl(p->in[1], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->in[0] < 0)
		return -errno;
	p->out[0] = fcntl(p->in[1], F_DUPFD_CLOEXEC, 3);
	p->out[1] = fcntl(p->in[0], F_DUPFD_CLOEXEC, 3);
	p->err[1] = fcntl(p->in[0], F_DUPFD_CLOEXEC, 3);
	return p->out[0] < 0 || p->out[1] < 0 || p->err[1] < 0 ? -errno : 0;
}

static int
open_pipes(struct plan *p, bool has_stdin)
{
	if (has_stdin) {
		if (pipe2(p->in, O_CLOEXEC) < 0)
			return -errno;
	} else if ((p->in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) {
		return -errno;
	}
	if (pipe2(p->out, O_CLOEXEC) < 0 || pipe2(p->err, O_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* In the child: nothing but system calls up to exec. */
static int
child_setup(const struct work *w, const struct plan *p)
{
	sigset_t none;
	int r;

	if (setsid() < 0)
		return -errno;
	/* files are still the agent's: its own /proc */
	if ((r = file_write("/proc/self/oom_score_adj", "0")) < 0)
		return r;
	if ((r = work_enter(w, &p->group)) < 0)
		return r;
	if (dup2(p->in[0], 0) < 0 || dup2(p->out[1], 1) < 0 ||
	    dup2(p->err[1], 2) < 0)
		return -errno;
	if (p->tty && ioctl(0, TIOCSCTTY, 0) < 0)
		return -errno;
	if ((r = work_drop_caps()) < 0)
		return r;
	(void)umask(022);
	if (chdir(p->cwd) < 0)
		return -errno;
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	return 0;
}

static _Noreturn void
child(const struct work *w, const struct plan *p)
{
	int r = child_setup(w, p);

	if (r == 0) {
		environ = p->envp; /* its PATH is the one to search */
		(void)execvp(p->argv[0], p->argv);
		r = -errno;
	}
	(void)write_all(p->fail[1], &r, sizeof(r));
	_exit(r == -ENOENT ? NO_COMMAND : NO_EXEC);
}

static void
plan_close(struct plan *p)
{
	int *fds[] = { p->in, p->out, p->err, p->fail };
	size_t i;

	for (i = 0; i < nitems(fds); i++) {
		close_fd(&fds[i][0]);
		close_fd(&fds[i][1]);
	}
	free(p->argv);
	free(p->envp);
}

static void
give(int *to, int *from)
{
	*to = *from;
	*from = -1;
	if (*to >= 0)
		(void)fd_nonblock(*to);
}

int
spawn(const struct work *w, const struct strs *boot_env,
    const struct exec_request *req, struct spawned *ret, struct err *e)
{
	struct plan p = { { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 }, NULL,
		NULL, req->cwd[0] == '\0' ? "/root" : req->cwd, req->tty,
		{ 0, -1 } };
	pid_t pid;
	int r;

	p.argv = list_new(&req->cmd);
	p.envp = env_new(boot_env, req);
	if (p.argv == NULL || p.argv[0] == NULL || p.envp == NULL) {
		r = err_set(e, -ENOMEM, "out of memory");
		goto out;
	}
	r = req->tty ? open_tty(w, &p) : open_pipes(&p, req->stdin);
	if (r == 0 && pipe2(p.fail, O_CLOEXEC) < 0)
		r = -errno;
	if (r < 0) {
		(void)err_errno(e, r, "streams");
		goto out;
	}
	excg_make(w->cgroup_fd, &p.group);
	pid = fork();
	if (pid == 0)
		child(w, &p);
	if (pid < 0) {
		r = err_errno(e, -errno, "fork");
		excg_release(w->cgroup_fd, &p.group);
		goto out;
	}
	ret->pid = pid;
	ret->group = p.group;
	give(&ret->in, &p.in[1]);
	give(&ret->out, &p.out[0]);
	give(&ret->err, &p.err[0]);
	give(&ret->fail, &p.fail[0]);
out:
	plan_close(&p);
	return r;
}
