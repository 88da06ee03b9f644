#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "agent/child.h"
#include "agent/hold.h"
#include "agent/spawn.h"
#include "agent/user.h"
#include "agent/work.h"
#include "common/err.h"
#include "common/fds.h"
#include "common/util.h"
#include "proto/objects.h"

/* Input that waits in a pipe is the agent's memory: in a guest that has not
 * four times as much for that as all pipes come to (limits.h, own), little of
 * each. */
#define IN_PIPE 16384 /* bytes, of 65536 */
#define IN_PIPE_OWN (16LL << 20)

/* What a program gets before the boot spec's and the request's additions. */
static const char *const env_base[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
};

/* Both ends of all streams. */
struct ends {
	int in[2], out[2], err[2];
};

/* With one place in front (agent/child.h). */
static char **
argv_new(const struct strs *l)
{
	char **v = calloc((size_t)l->count + 2, sizeof(*v));
	const char *s = NULL;
	size_t n = 1;

	if (v == NULL)
		return NULL;
	while (n <= l->count && (s = strs_next(l, s)) != NULL)
		v[n++] = (char *)(uintptr_t)s;
	return v + 1;
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
env_new(const struct strs *boot, const struct child *ch)
{
	const struct exec_request *req = &ch->req;
	size_t max = nitems(env_base) + boot->count + req->env.count + 3, n = 0;
	char **env = calloc(max, sizeof(*env));
	const char *s = NULL;
	size_t i;

	if (env == NULL)
		return NULL;
	for (i = 0; i < nitems(env_base); i++)
		env_set(env, &n, env_base[i]);
	if (ch->has_user)
		env_set(env, &n, ch->home);
	if (req->tty)
		env_set(env, &n, "TERM=xterm");
	while ((s = strs_next(boot, s)) != NULL)
		env_set(env, &n, s);
	while ((s = strs_next(&req->env, s)) != NULL)
		env_set(env, &n, s);
	return env;
}

static int
open_tty(const struct work *w, const struct user *u, struct ends *p)
{
	const int unlock = 0;

	p->in[1] = openat(w->pts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->in[1] < 0 || ioctl(p->in[1], TIOCSPTLCK, &unlock) < 0)
		return -errno;
	p->in[0] = ioctl(p->in[1], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->in[0] < 0)
		return -errno;
	/* whose it is may open it by its name, too */
	if (u != NULL && fchown(p->in[0], u->uid, (gid_t)-1) < 0)
		return -errno;
	p->out[0] = fcntl(p->in[1], F_DUPFD_CLOEXEC, 3);
	p->out[1] = fcntl(p->in[0], F_DUPFD_CLOEXEC, 3);
	p->err[1] = fcntl(p->in[0], F_DUPFD_CLOEXEC, 3);
	return p->out[0] < 0 || p->out[1] < 0 || p->err[1] < 0 ? -errno : 0;
}

static int
open_pipe(const struct user *u, int p[2])
{
	if (pipe2(p, O_CLOEXEC) < 0 ||
	    (u != NULL && fchown(p[0], u->uid, (gid_t)-1) < 0))
		return -errno;
	return 0;
}

/* One for both kinds of output where nobody is there to tell them apart. */
static int
open_pipes(const struct work *w, const struct exec_request *req,
    const struct user *u, struct ends *p)
{
	int r = 0;

	if (req->stdin)
		r = open_pipe(u, p->in);
	else if ((p->in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		r = -errno;
	if (r == 0 && req->stdin && w->limits.own < IN_PIPE_OWN)
		(void)fcntl(p->in[1], F_SETPIPE_SZ, IN_PIPE);
	if (r < 0 || (r = open_pipe(u, p->out)) < 0)
		return r;
	if (!req->detach)
		return open_pipe(u, p->err);
	p->err[1] = fcntl(p->out[1], F_DUPFD_CLOEXEC, 3);
	return p->err[1] < 0 ? -errno : 0;
}

static void
ends_close(struct ends *p)
{
	int *fds[] = { p->in, p->out, p->err };
	size_t i;

	for (i = 0; i < nitems(fds); i++) {
		fd_close(&fds[i][0]);
		fd_close(&fds[i][1]);
	}
}

static void
give(int *to, int *from)
{
	*to = *from;
	*from = -1;
	if (*to >= 0)
		(void)fd_nonblock(*to);
}

const char *
spawn_error(int code)
{
	return code == -E2BIG
	    ? "it and its environment are over 2 MiB, or one word over "
	      "128 KiB: use standard input or a file"
	    : strerrordesc_np(-code);
}

void
spawn_free(struct child *ch)
{
	if (ch == NULL)
		return;
	if (ch->argv != NULL)
		free(ch->argv - 1);
	free(ch->envp);
	table_clear(&exec_request_table, &ch->req);
	hold_give(ch->held);
	free(ch);
}

/* Its texts, and a pointer to each. */
static size_t
child_size(const struct exec_request *req)
{
	return sizeof(struct child) + req->cmd.len + req->env.len +
	    ((size_t)req->cmd.count + req->env.count) * sizeof(char *);
}

_Static_assert(sizeof(struct child) + 4096 <= HOLD_SHORT_EACH,
    "an ordinary command is a short one");

/* Not zeroed as a whole: the stack is most of it.  NULL: with e. */
static struct child *
child_new(const struct work *w, struct exec_request *req, struct err *e)
{
	const size_t size = child_size(req);
	struct child *ch;

	if (!hold_take(size)) {
		(void)err_set(e, -EBUSY, HOLD_FULL, hold_max() / 1024);
		return NULL;
	}
	if ((ch = malloc(sizeof(*ch))) == NULL) {
		hold_give(size);
		(void)err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	memset(ch, 0, offsetof(struct child, stack));
	ch->held = size;
	ch->work = w;
	ch->req = *req; /* its strings too: they are read until execve(2) */
	*req = (struct exec_request){ 0 };
	ch->argv = argv_new(&ch->req.cmd);
	if (ch->argv == NULL || ch->argv[0] == NULL) {
		spawn_free(ch);
		(void)err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	return ch;
}

/* As whom, and with what around it.  0, or -errno with e. */
static int
child_user(struct child *ch, const struct strs *boot_env, struct err *e)
{
	int r;

	if (ch->req.user[0] != '\0') {
		if ((r = user_find(
			 ch->work->root_fd, ch->req.user, &ch->user, e)) < 0)
			return r;
		ch->has_user = true;
		(void)snprintf(
		    ch->home, sizeof(ch->home), "HOME=%s", ch->user.home);
	}
	ch->envp = env_new(boot_env, ch);
	return ch->envp == NULL ? err_set(e, -ENOMEM, "out of memory") : 0;
}

int
spawn(struct work *w, const struct strs *boot_env, struct exec_request *req,
    struct spawned *ret, struct err *e)
{
	struct ends p = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	struct child *ch = child_new(w, req, e);
	const struct user *u;
	pid_t pid;
	int r;

	if (ch == NULL)
		return e->code;
	if ((r = child_user(ch, boot_env, e)) < 0)
		goto out;
	u = ch->has_user ? &ch->user : NULL;
	r = ch->req.tty ? open_tty(w, u, &p) : open_pipes(w, &ch->req, u, &p);
	if (r < 0) {
		(void)err_errno(e, r, "streams");
		goto out;
	}
	ch->std[0] = p.in[0];
	ch->std[1] = p.out[1];
	ch->std[2] = p.err[1];
	ch->keep = ret->keep;
	execgroup_make(&w->groups, &ch->group);
	if ((pid = child_start(ch)) < 0) {
		r = err_errno(e, pid, "clone");
		execgroup_release(&w->groups, &ch->group);
		goto out;
	}
	ret->pid = pid;
	ret->group = ch->group;
	ret->child = ch;
	ch = NULL; /* it reads there; the descriptors it has are its own */
	give(&ret->in, &p.in[1]);
	give(&ret->out, &p.out[0]);
	give(&ret->err, &p.err[0]);
out:
	ends_close(&p);
	spawn_free(ch);
	return r;
}
