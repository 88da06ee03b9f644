#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/logfile.h"
#include "common/util.h"
#include "launchd/jaillog.h"
#include "proto/jail.h"

#define LOG_MODE 0640
#define LAST_READS 2 /* a pipe has 64 KiB */

static const struct logfile_conf file_conf = { .max = JAILLOG_MAX,
	.rate = JAILLOG_RATE,
	.burst = JAILLOG_BURST,
	.mode = LOG_MODE,
	.timed = true };

/* What a VM may have here, the files that are looked for. */
#define AND_MARKS(name) name, name LOGMARKS_SUFFIX
static const char *const suffixes[] = { AND_MARKS("log"), AND_MARKS("log.1"),
	AND_MARKS("console"), AND_MARKS("console.1") };

/* A FIFO and the file it is copied into. */
struct copy {
	struct jaillog *jl;
	int fd; /* -1: its end was seen */
	struct event *rd;
	struct logfile *file;
	char name[LOGFILE_NAME_MAX]; /* of that file */
};

struct jaillog {
	struct jaillogs *js;
	char name[17];
	struct copy log, con;
	struct event *timer; /* the end of a pause; a look at the files */
	bool is_held;
};

static char buf[65536];

void
jaillogs_open(struct jaillogs *js, const char *run, const char *dir)
{
	js->run = open(run, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (js->run < 0)
		fatal("%s: %m", run);
	js->dir = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (js->dir < 0)
		log_error("%s: %m: what VMs say is lost until that is mended "
			  "and launchd starts again",
		    dir);
}

void
jaillogs_start(struct jaillogs *js, struct event_base *base)
{
	js->base = base;
	histories_init(&js->hist, base, js->dir);
}

static void
arm(struct jaillog *jl, long ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	(void)event_add(jl->timer, &tv);
}

static void
hold(struct jaillog *jl)
{
	struct copy *const both[] = { &jl->log, &jl->con };
	size_t i;

	jl->is_held = true;
	for (i = 0; i < nitems(both); i++) {
		if (both[i]->rd != NULL)
			(void)event_del(both[i]->rd);
	}
	arm(jl, JAILLOG_PAUSE_MS);
}

/* Nobody has its other end any more. */
static void
copy_end(struct copy *c)
{
	if (c->rd != NULL)
		event_free(c->rd);
	c->rd = NULL;
	fd_close(&c->fd);
}

/* One read of it.  False: there is no more at present. */
static bool
copy_some(struct copy *c, bool is_last)
{
	const int64_t now = clock_ms();
	ssize_t n;

	if (c->fd < 0)
		return false;
	n = read(c->fd, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		copy_end(c);
		return false;
	}
	if (is_last)
		logfile_write_last(c->file, buf, (size_t)n, now);
	else if (!logfile_write(c->file, buf, (size_t)n, now))
		hold(c->jl);
	history_more(&c->jl->js->hist, c->name);
	return true;
}

static void
on_readable(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)copy_some(arg, false);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct jaillog *jl = arg;
	struct copy *const both[] = { &jl->log, &jl->con };
	const int64_t now = clock_ms();
	bool more = false;
	size_t i;

	(void)fd;
	(void)what;
	jl->is_held = false;
	for (i = 0; i < nitems(both); i++) {
		if (both[i]->rd != NULL)
			(void)event_add(both[i]->rd, NULL);
		more |= logfile_look(both[i]->file, now);
	}
	if (more)
		arm(jl, LOGFILE_LOOK_MS);
}

/* Root's folder: only the spawner can have put it there. */
static int
fifo_open(int dir, const char *name, int *ret)
{
	struct stat st;
	int fd;

	fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode)) {
		fd_close(&fd);
		return -EPERM;
	}
	*ret = fd;
	return 0;
}

static int
fifos_open(struct jaillog *jl)
{
	struct stat st;
	int dir, r = 0;

	dir = openat(jl->js->run, jl->name,
	    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (fstat(dir, &st) < 0 || st.st_uid != 0 || (st.st_mode & 022) != 0)
		r = -EPERM;
	else if ((r = fifo_open(dir, JAIL_FIFO_LOG, &jl->log.fd)) == 0)
		r = fifo_open(dir, JAIL_FIFO_CONSOLE, &jl->con.fd);
	fd_close(&dir);
	return r;
}

static int
copy_start(struct copy *c, struct jaillog *jl, const char *suffix)
{
	int r;

	(void)snprintf(c->name, sizeof(c->name), "%s.%s", jl->name, suffix);
	r = logfile_new(jl->js->dir, c->name, &file_conf, &c->file);
	if (r < 0)
		return r;
	c->jl = jl;
	c->rd = event_new(
	    jl->js->base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
	return c->rd == NULL || event_add(c->rd, NULL) < 0 ? -ENOMEM : 0;
}

static void
release(struct jaillog *jl)
{
	copy_end(&jl->log);
	copy_end(&jl->con);
	logfile_free(jl->log.file);
	logfile_free(jl->con.file);
	if (jl->timer != NULL)
		event_free(jl->timer);
	free(jl);
}

int
jaillog_new(
    struct jaillogs *js, const char *name, bool is_new, struct jaillog **ret)
{
	struct jaillog *jl = calloc(1, sizeof(*jl));
	int r;

	if (jl == NULL)
		return -ENOMEM;
	jl->js = js;
	jl->log.fd = jl->con.fd = -1;
	(void)snprintf(jl->name, sizeof(jl->name), "%s", name);
	if ((r = fifos_open(jl)) < 0)
		goto fail;
	if (is_new)
		jaillog_forget(js, name);
	if ((jl->timer = evtimer_new(js->base, on_timer, jl)) == NULL)
		r = -ENOMEM;
	if (r == 0 && (r = copy_start(&jl->log, jl, "log")) == 0)
		r = copy_start(&jl->con, jl, "console");
	if (r < 0)
		goto fail;
	*ret = jl;
	return 0;
fail:
	release(jl);
	return r;
}

void
jaillog_drain(struct jaillog *jl)
{
	int i;

	if (jl->is_held)
		return; /* it had its share */
	for (i = 0; i < LAST_READS && copy_some(&jl->log, false); i++)
		;
	for (i = 0; i < LAST_READS && copy_some(&jl->con, false); i++)
		;
}

void
jaillog_free(struct jaillog *jl)
{
	int i;

	if (jl == NULL)
		return;
	/* the last words, past the budget */
	for (i = 0; i < LAST_READS && copy_some(&jl->log, true); i++)
		;
	for (i = 0; i < LAST_READS && copy_some(&jl->con, true); i++)
		;
	history_end(&jl->js->hist, jl->log.name);
	history_end(&jl->js->hist, jl->con.name);
	release(jl);
}

void
jaillog_read(struct jaillogs *js, const char *name, bool is_console,
    bool follow, int64_t since_ns, int sock)
{
	char file[LOGFILE_NAME_MAX];

	(void)snprintf(
	    file, sizeof(file), "%s.%s", name, is_console ? "console" : "log");
	history_open(&js->hist, file, follow, since_ns, sock);
}

void
jaillog_forget(struct jaillogs *js, const char *name)
{
	char file[LOGFILE_NAME_MAX];
	size_t i;

	for (i = 0; i < nitems(suffixes) && js->dir >= 0; i++) {
		(void)snprintf(file, sizeof(file), "%s.%s", name, suffixes[i]);
		if (unlinkat(js->dir, file, 0) < 0 && errno != ENOENT)
			log_warn("log/vm/%s: %m", file);
	}
}

/* The VM of a file, if it is the first of those that VM has here; 0: not. */
static uint64_t
vm_of(const struct jaillogs *js, const char *file)
{
	char name[LOGFILE_NAME_MAX];
	struct jail_id id = { 0 };
	struct stat st;
	size_t i;

	if (strlen(file) < 18 || strlen(file) >= sizeof(name) ||
	    file[16] != '.')
		return 0;
	for (i = 0; i < nitems(suffixes); i++) {
		(void)snprintf(
		    name, sizeof(name), "%.16s.%s", file, suffixes[i]);
		if (strcmp(name, file) == 0)
			break;
		if (fstatat(js->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return 0; /* that one said it */
	}
	if (i == nitems(suffixes))
		return 0;
	name[16] = '\0';
	return jail_name_parse(name, &id) == 0 ? id.id : 0;
}

int
jaillog_each(
    struct jaillogs *js, int (*fn)(void *arg, uint64_t vmid), void *arg)
{
	struct dirent *de;
	uint64_t vmid;
	DIR *d;
	int fd, r = 0;

	if (js->dir < 0)
		return 0;
	fd = openat(js->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if ((d = fd < 0 ? NULL : fdopendir(fd)) == NULL) {
		log_warn("log/vm: %m");
		fd_close(&fd);
		return 0;
	}
	while (r == 0 && (de = readdir(d)) != NULL) {
		if ((vmid = vm_of(js, de->d_name)) != 0)
			r = fn(arg, vmid);
	}
	(void)closedir(d);
	return r;
}
