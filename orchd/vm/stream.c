#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/share.h"
#include "common/util.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/link/link_launch.h"
#include "orchd/orchd.h"
#include "orchd/vm/doubt.h"
#include "orchd/vm/stream.h"
#include "orchd/vm/vm.h"
#include "proto/launch.h"

#define WHY_MAX 320

static void
refuse(const struct vm *vm, const struct stream_ask *a, unsigned int status,
    const char *why)
{
	answer_error(vm->obj.orchd, a->conn, a->id, status, "%s", why);
}

/* Words for a status, which is returned. */
static unsigned int
words(char why[WHY_MAX], unsigned int status, const char *text)
{
	(void)snprintf(why, WHY_MAX, "%s", text);
	return status;
}

/* Its agent is there to be asked. */
static unsigned int
not_ready(const struct vm *vm, char why[WHY_MAX])
{
	char doubt[200];

	if (vm->run.ready)
		return 0;
	if (!doubt_words(vm, doubt, sizeof(doubt)))
		return words(why, 503, "vm not ready yet");
	(void)snprintf(why, WHY_MAX, "vm %.63s %s", vm->row.name, doubt);
	return 503;
}

/* What keeps it from having one now, whoever has how many: 0, or a status and
 * why. */
static unsigned int
unfit(const struct vm *vm, const struct stream_ask *a, char why[WHY_MAX])
{
	char doubt[200];

	if (vm->obj.life != OBJECT_STORED) {
		(void)snprintf(why, WHY_MAX, "vm %.63s was deleted meanwhile",
		    vm->row.name);
		return 409;
	}
	/* what it said is kept whether it runs or not */
	if (launch_is_log(a->kind))
		return 0;
	if (vm->row.state == VM_BROKEN) {
		doubt_broken(vm, why, WHY_MAX);
		return 409;
	}
	if (doubt_now(vm, doubt, sizeof(doubt))) {
		(void)snprintf(
		    why, WHY_MAX, "vm %.63s: %s", vm->row.name, doubt);
		return 503;
	}
	if (vm->row.state != VM_RUNNING ||
	    vm_life_const(vm)->state != PART_USED)
		return words(why, 409, "vm not running");
	return a->kind == STREAM_CONSOLE ? 0 : not_ready(vm, why);
}

bool
stream_fits(const struct vm *vm, const struct stream_ask *a)
{
	char why[WHY_MAX];

	return unfit(vm, a, why) == 0;
}

/* The launcher is late, and has enough of his. */
static void
refuse_passing(const struct vm *vm, const struct stream_ask *a)
{
	char words[SHARE_WORDS_MAX];

	share_words(&vm->obj.orchd->passing.share, a->who, words);
	answer_error(vm->obj.orchd, a->conn, a->id, 503,
	    "too many streams are on their way to the launcher: %s: try again",
	    words);
}

/* kept: a copy of sv[0]. */
static bool
make_ends(int sv[2], int *kept)
{
	if (socketpair(
		AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
		return false;
	if ((*kept = fcntl(sv[0], F_DUPFD_CLOEXEC, 3)) >= 0)
		return true;
	fd_close(&sv[0]);
	fd_close(&sv[1]);
	return false;
}

/*
 * The one end goes up to apid, the other down to the warden; descriptors
 * only ever travel towards the VM (I12).  orchd keeps a copy of apid's, to end
 * it with its connection: then its part is given back.  False: answered, with
 * why not.  After true its connection may be gone.
 */
static bool
give(struct vm *vm, const struct stream_ask *a)
{
	struct orchd *o = vm->obj.orchd;
	struct conn *c = conn_find(o, a->conn);
	int sv[2], kept;

	if (c == NULL)
		return false;
	if (!make_ends(sv, &kept)) {
		refuse(vm, a, 503,
		    "no descriptor is left for a stream: try again");
		return false;
	}
	switch (link_launch_stream(o, vm->row.vmid, a, sv[1])) {
	case 0:
		/* it lasts as long as the connection, which ends with it */
		conn_has_stream(c, vm->row.vmid, a->kind, kept);
		if (vm_is_held_by(a->kind))
			temporary_hold(vm);
		answer_stream(o, a->conn, a->id, sv[0]);
		return true;
	case -EPIPE:
		refuse(vm, a, 503, "the launcher restarts: try again");
		break;
	case -EBUSY:
		refuse_passing(vm, a);
		break;
	default:
		refuse(vm, a, 503, "the launcher is busy: try again");
		break;
	}
	fd_close(&sv[0]);
	fd_close(&kept);
	return false;
}

static void
refuse_log(const struct vm *vm, const struct stream_ask *a)
{
	char words[SHARE_WORDS_MAX];

	share_words(&vm->obj.orchd->logs, a->who, words);
	answer_error(vm->obj.orchd, a->conn, a->id, 503,
	    "too many logs of vms are being read: %s: end a log that you "
	    "follow, or try again later",
	    words);
}

/* A log is one of all VMs', too.  False: answered why not. */
static bool
take_log(const struct vm *vm, const struct stream_ask *a)
{
	int r;

	if (!launch_is_log(a->kind))
		return true;
	r = share_take(&vm->obj.orchd->logs, a->who, 1);
	if (r == 0 || (r == -EBUSY && !RULE(LOG_SHARE)))
		return true;
	if (r == -ENOMEM)
		refuse(vm, a, 500, "out of memory");
	else
		refuse_log(vm, a);
	return false;
}

/* A part of the VM's is its already. */
static void
give_part(struct vm *vm, const struct stream_ask *a)
{
	if (take_log(vm, a)) {
		if (give(vm, a))
			return;
		if (launch_is_log(a->kind))
			share_give(&vm->obj.orchd->logs, a->who, 1);
	}
	share_give(vm_share(vm, a->kind), a->who, 1);
	if (!queue_is_empty(&vm->queue))
		object_wake(&vm->obj);
}

/* It is over at once, and has to reach a VM whose streams are all open. */
static void
signal_ask(struct vm *vm, const struct stream_ask *a)
{
	char words[SHARE_WORDS_MAX];

	switch (share_take(&vm->signals, a->who, 1)) {
	case 0:
		give_part(vm, a);
		break;
	case -ENOMEM:
		refuse(vm, a, 500, "out of memory");
		break;
	default:
		if (!RULE(SIGNAL_SHARE)) {
			(void)give(vm, a);
			break;
		}
		share_words(&vm->signals, a->who, words);
		answer_error(vm->obj.orchd, a->conn, a->id, 503,
		    "too many signals to this vm are under way: %s: wait for "
		    "their answers",
		    words);
		break;
	}
}

/* --- those who wait --- */

static void
refuse_more(const struct vm *vm, const struct stream_ask *a)
{
	char words[SHARE_WORDS_MAX];

	share_words(&vm->queue.places, a->who, words);
	answer_error(vm->obj.orchd, a->conn, a->id, 503,
	    "too many requests wait for a stream of this vm: %s: end a command "
	    "or console of yours, or try again later",
	    words);
}

static void
refuse_late(const struct vm *vm, const struct stream_ask *a)
{
	char words[SHARE_WORDS_MAX];

	share_words(&vm->streams, a->who, words);
	answer_error(vm->obj.orchd, a->conn, a->id, 503,
	    "too many streams of this vm are open: %s; none ended within %d s: "
	    "end a command or console of yours, or try again later",
	    words, QUEUE_MS / 1000);
}

static void
enqueue(struct vm *vm, const struct stream_ask *a)
{
	struct conn *c = conn_find(vm->obj.orchd, a->conn);

	switch (queue_add(&vm->queue, &vm->obj, a)) {
	case 0:
		if (c != NULL) {
			c->queued_at = vm->row.vmid;
			c->stream_kind = a->kind;
		}
		/* it may be its turn before that of those it stands behind */
		object_wake(&vm->obj);
		break;
	case -EBUSY:
		refuse_more(vm, a);
		break;
	default:
		refuse(vm, a, 500, "out of memory");
		break;
	}
}

/* Out of the queue before it is answered: an apid that does not take the
 * answer ends the connection, and that looks for it there. */
static struct stream_ask
leave(struct vm *vm, struct queued *who)
{
	const struct stream_ask a = who->ask;
	struct conn *c = conn_find(vm->obj.orchd, a.conn);

	queue_remove(&vm->queue, who);
	if (c != NULL)
		c->queued_at = 0;
	return a;
}

/* Who will not get one, or has waited long enough.  What is not so for a moment
 * only (503) is waited for as well. */
static void
end_wait(struct vm *vm, struct queued *who)
{
	const bool is_late = who->end_ms <= clock_ms();
	struct stream_ask a;
	char why[WHY_MAX];
	const unsigned int status = unfit(vm, &who->ask, why);

	who->is_held = status != 0;
	if (status != 0 && (is_late || status != 503)) {
		a = leave(vm, who);
		refuse(vm, &a, status, why);
	} else if (is_late && !share_can(&vm->streams, who->ask.who, 1)) {
		a = leave(vm, who);
		refuse_late(vm, &a);
	}
}

static void
end_waits(struct vm *vm)
{
	struct queued *who, *next;

	for (who = TAILQ_FIRST(&vm->queue.list); who != NULL; who = next) {
		next = TAILQ_NEXT(who, entry);
		end_wait(vm, who);
	}
}

void
stream_serve(struct object *obj)
{
	struct vm *vm = (struct vm *)obj;
	struct stream_ask a;
	struct queued *who;

	if (queue_is_empty(&vm->queue))
		return;
	end_waits(vm);
	while ((who = queue_next(&vm->queue, &vm->streams)) != NULL) {
		a = leave(vm, who);
		if (share_take(&vm->streams, a.who, 1) < 0)
			refuse(vm, &a, 500, "out of memory");
		else
			give_part(vm, &a);
	}
	(void)queue_arm(&vm->queue);
}

void
stream_ask(struct vm *vm, const struct stream_ask *a)
{
	unsigned int status;
	char why[WHY_MAX];
	int r;

	if ((status = unfit(vm, a, why)) != 0) {
		refuse(vm, a, status, why);
		return;
	}
	if (a->kind == STREAM_SIGNAL) {
		signal_ask(vm, a);
		return;
	}
	/* somebody's turn has come: it is seen whose */
	if (queue_next(&vm->queue, &vm->streams) != NULL) {
		enqueue(vm, a);
		return;
	}
	r = share_take(&vm->streams, a->who, 1);
	if (r == 0)
		give_part(vm, a);
	else if (r == -ENOMEM)
		refuse(vm, a, 500, "out of memory");
	else if (RULE(STREAM_SHARE))
		enqueue(vm, a);
	else
		(void)give(vm, a);
}
