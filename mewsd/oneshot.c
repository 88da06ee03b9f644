#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/uid.h"
#include "common/util.h"
#include "mewsd/exec.h"
#include "mewsd/mewsd.h"
#include "mewsd/table.h"

static uid_t
uid_of(const struct oneshot *o)
{
	const struct mewsd *m = o->mewsd;
	uint32_t uid = 0;

	if (uids_at(&m->conf.uids, UIDS_ONESHOT, (uint32_t)(o - m->oneshot),
		&uid) < 0)
		fatal("a one-shot room without a uid");
	return uid;
}

static struct oneshot *
find(struct mewsd *m, uint64_t id)
{
	size_t i;

	for (i = 0; i < nitems(m->oneshot); i++) {
		struct oneshot *o = &m->oneshot[i];

		if (o->room != 0 && !o->orphan && o->id == id)
			return o;
	}
	return NULL;
}

/* A place whose uid no process has; NULL: there are enough of this room, or
 * of all. */
static struct oneshot *
place_find(struct mewsd *m, uint32_t room)
{
	struct oneshot *ret = NULL;
	uint32_t i, n = 0;

	for (i = 0; i < uids_oneshots(&m->conf.uids); i++) {
		struct oneshot *o = &m->oneshot[i];

		n += o->room == room;
		if (o->room == 0 && ret == NULL && !uid_in_use(uid_of(o)))
			ret = o;
	}
	return n >= room_row(room)->oneshots ? NULL : ret;
}

static void
tell(struct mewsd *m, uint64_t id, enum oneshot_how how, int status)
{
	const struct boot_oneshot_end end = {
		.id = id, .how = how, .status = status
	};
	struct chan *orchd = m->child[ROOM_ORCHD].chan;

	if (orchd != NULL)
		(void)chan_send(
		    orchd, BOOT_ONESHOT_END, 0, &end, sizeof(end), -1);
}

/* What its process may have left behind.  kill(2) of -1 is everything that one
 * uid may signal, at once, which no list of pids is. */
static void
sweep(uid_t uid)
{
	if (!uid_in_use(uid) || fork() != 0)
		return; /* reaped as an orphan is */
	if (setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0)
		(void)kill(-1, SIGKILL);
	_exit(0);
}

static void
place_clear(struct oneshot *o)
{
	uint32_t i;

	for (i = 0; i < o->nfds; i++)
		fd_close(&o->fds[i]);
	o->nfds = 0;
	fd_close(&o->sock);
	room_log_end(&o->log);
	(void)event_del(o->timer);
	o->room = 0;
	o->pid = 0;
}

static void
end(struct oneshot *o, enum oneshot_how how, int status)
{
	if (!o->orphan)
		tell(o->mewsd, o->id, how, status);
	place_clear(o);
}

static void
on_deadline(int fd, short what, void *arg)
{
	struct oneshot *o = arg;

	(void)fd;
	(void)what;
	o->late = true;
	log_warn(
	    "%s %016" PRIx64 ": its time is over", room_name(o->room), o->id);
	if (o->pid == 0)
		end(o, ONESHOT_LATE, 0); /* descriptors did not come */
	else
		(void)kill(o->pid, SIGKILL); /* SIGCHLD tells the rest */
}

static int
conf_send(const struct oneshot *o)
{
	const struct conf *conf = &o->mewsd->conf;
	const struct room_row *row = room_row(o->room);
	uint8_t buf[MSG_PAYLOAD_MAX];
	struct boot_common bc;

	exec_common(conf, o->room, &bc);
	bc.uid = bc.gid = uid_of(o);
	memcpy(buf, &bc, sizeof(bc));
	memcpy(buf + sizeof(bc), (const char *)conf + row->conf, row->conf_len);
	return msg_send(
	    o->sock, BOOT_CONF, 0, buf, sizeof(bc) + row->conf_len, -1);
}

static void
start(struct oneshot *o)
{
	const struct exec x = { .room = o->room,
		.program = room_row(o->room)->program,
		.fds = o->fds,
		.nfds = o->nfds };
	uint32_t i;
	int log = -1;
	pid_t pid = exec_room(o->mewsd, &x, &o->sock, &log);

	if (pid < 0) {
		log_error(
		    "start %s: %s", room_name(o->room), strerrordesc_np(-pid));
		end(o, ONESHOT_FAILED, pid);
		return;
	}
	o->pid = pid;
	room_log_open(&o->log, o->room, log);
	for (i = 0; i < o->nfds; i++)
		fd_close(&o->fds[i]); /* they are its own now */
	log_info("%s %016" PRIx64 ": runs (pid %d, uid %u)", room_name(o->room),
	    o->id, pid, uid_of(o));
	if (conf_send(o) < 0)
		(void)kill(pid, SIGKILL);
}

int
oneshot_ask(struct mewsd *m, const struct boot_oneshot *a)
{
	const struct room_row *row = room_row(a->room);
	struct timeval tv = { 0 };
	struct oneshot *o;

	if (row == NULL || row->oneshots == 0 || find(m, a->id) != NULL)
		return -EINVAL;
	if (m->stopping)
		return 0;
	if ((o = place_find(m, a->room)) == NULL) {
		tell(m, a->id, ONESHOT_BUSY, 0);
		return 0;
	}
	o->id = a->id;
	o->room = a->room;
	o->late = o->orphan = false;
	tv.tv_sec = row->oneshot_ms / 1000;
	tv.tv_usec = (suseconds_t)(row->oneshot_ms % 1000) * 1000;
	if (event_add(o->timer, &tv) < 0)
		end(o, ONESHOT_FAILED, -ENOMEM);
	else if (row->oneshot_fds == 0)
		start(o);
	return 0;
}

int
oneshot_attach(struct mewsd *m, const struct boot_oneshot_fd *a, int *fd)
{
	struct oneshot *o = find(m, a->id);

	if (o == NULL)
		return 0; /* it was told why by now */
	if (o->pid != 0 || a->index != o->nfds)
		return -EINVAL;
	o->fds[o->nfds++] = *fd;
	*fd = -1;
	if (o->nfds == room_row(o->room)->oneshot_fds)
		start(o);
	return 0;
}

bool
oneshot_reaped(struct mewsd *m, pid_t pid, int status)
{
	struct oneshot *o = NULL;
	size_t i;

	for (i = 0; i < nitems(m->oneshot) && o == NULL; i++) {
		if (m->oneshot[i].room != 0 && m->oneshot[i].pid == pid)
			o = &m->oneshot[i];
	}
	if (o == NULL)
		return false;
	sweep(uid_of(o));
	if (o->late)
		end(o, ONESHOT_LATE, 0);
	else if (WIFSIGNALED(status))
		end(o, ONESHOT_KILLED, WTERMSIG(status));
	else
		end(o, ONESHOT_EXITED, WEXITSTATUS(status));
	return true;
}

void
oneshot_end_all(struct mewsd *m)
{
	size_t i;

	for (i = 0; i < nitems(m->oneshot); i++) {
		struct oneshot *o = &m->oneshot[i];

		if (o->room == 0)
			continue;
		o->orphan = true;
		if (o->pid == 0)
			place_clear(o);
		else
			(void)kill(o->pid, SIGKILL);
	}
}

bool
oneshot_any(const struct mewsd *m)
{
	size_t i;

	for (i = 0; i < nitems(m->oneshot); i++) {
		if (m->oneshot[i].pid != 0)
			return true;
	}
	return false;
}

void
oneshot_init(struct mewsd *m)
{
	size_t i;

	for (i = 0; i < nitems(m->oneshot); i++) {
		struct oneshot *o = &m->oneshot[i];

		o->mewsd = m;
		o->sock = -1;
		room_log_init(&o->log, m);
		o->timer = evtimer_new(m->base, on_deadline, o);
		if (o->timer == NULL)
			fatal("timer of a one-shot room");
	}
}
