#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/util.h"
#include "spawner/held.h"
#include "spawner/proc.h"
#include "spawner/spawner.h"

static int
cmp_held(const struct held *a, const struct held *b)
{
	const struct jail_id *x = &a->rec.jail, *y = &b->rec.jail;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

RB_GENERATE_STATIC(held_tree, held, entry, cmp_held)

struct held *
held_find(struct spawner *sp, const struct jail_id *j)
{
	struct held key = { .rec = { .jail = *j } };

	return RB_FIND(held_tree, &sp->held, &key);
}

struct held *
held_next(struct spawner *sp, struct held *h)
{
	return h == NULL ? RB_MIN(held_tree, &sp->held)
			 : RB_NEXT(held_tree, &sp->held, h);
}

struct held *
held_add(struct spawner *sp, const struct record *rec, int pidfd)
{
	struct held *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->rec = *rec;
	h->pidfd = pidfd;
	bucket_init(&h->verbs, SPAWN_VERBS_PER_S * 2, SPAWN_VERBS_BURST * 2,
	    clock_ms());
	if (RB_INSERT(held_tree, &sp->held, h) != NULL)
		fatal("a jail has two records");
	return h;
}

void
held_remove(struct spawner *sp, struct held *h)
{
	(void)RB_REMOVE(held_tree, &sp->held, h);
	fd_close(&h->pidfd);
	free(h);
}

const struct held *
held_by_uid(struct spawner *sp, uint32_t uid)
{
	struct held *h;
	uint32_t i;

	for (h = held_next(sp, NULL); h != NULL; h = held_next(sp, h)) {
		for (i = 0; i < h->rec.nprogs; i++) {
			if (h->rec.prog[i].uid == uid)
				return h;
		}
	}
	return NULL;
}

const struct held *
held_clash(struct spawner *sp, const struct record *rec, uint32_t *uid)
{
	const struct held *other = NULL;
	uint32_t i;

	for (i = 0; i < rec->nprogs && other == NULL; i++) {
		*uid = rec->prog[i].uid;
		other = held_by_uid(sp, *uid);
	}
	return other;
}

uint32_t
held_busy_uid(const struct held *h, pid_t *pid)
{
	uint32_t i;

	for (i = 0; i < h->rec.nprogs; i++) {
		if (proc_uid_busy(h->rec.prog[i].uid, pid))
			return h->rec.prog[i].uid;
	}
	return 0;
}

static int
pidfd_dead(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) != 0;
}

/*
 * Pids are reused and records can be old: start time and namespace must be
 * the recorded ones, and the pidfd, opened before they were read, has to be
 * alive after: then they were read of this very process.
 */
int
held_is_alive(const struct spawner *sp, const struct record *rec, int pidfd)
{
	uint64_t start = 0, ns = 0;

	if (pidfd < 0 ||
	    memcmp(rec->boot_id, sp->boot_id, sizeof(sp->boot_id)) != 0)
		return -ESRCH;
	if (RULE(RECORD_START) &&
	    (proc_start_time((pid_t)rec->pid, &start) < 0 ||
		start != rec->start_time))
		return -ESRCH;
	if (RULE(RECORD_NS) &&
	    (proc_ns((pid_t)rec->pid, 0, "pid", &ns) < 0 ||
		ns != rec->ns[NS_PID] || ns == sp->host_ns[NS_PID]))
		return -ESRCH;
	return pidfd_dead(pidfd) ? -ESRCH : 0;
}

int
held_alive(const struct spawner *sp, const struct held *h)
{
	return held_is_alive(sp, &h->rec, h->pidfd);
}
