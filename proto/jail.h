#ifndef MEWS_JAIL_H
#define MEWS_JAIL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A jail is what the spawner makes: namespaces, a root, uids, a cgroup, and
 * the programs in it.  It is named by its kind and the number of what it
 * belongs to, and what it may hold is a row for each program: spawner, keeper
 * and read-back know no program besides.
 */
enum jail_kind { /* in records: values never change meaning */
	JAIL_VM = 1, /* id: the VM's */
	JAIL_KINDS
};

struct jail_id {
	uint32_t kind; /* enum jail_kind */
	uint32_t pad;
	uint64_t id; /* never 0 */
};
_Static_assert(sizeof(struct jail_id) == 16, "wire layout");

/* 0 or -EINVAL. */
int jail_id_check(const struct jail_id *j);

enum jail_role { /* in records: values never change meaning */
	JAIL_KEEPER = 0, /* pid 1: what the spawner executes */
	JAIL_WARDEN = 1,
	JAIL_VMM = 2,
	JAIL_ROLES
};

struct jail_prog {
	const char *name; /* for people */
	const char *path; /* in the staged tree */
	uint32_t kinds; /* bit per enum jail_kind that may hold it */
	uint8_t uid_role; /* which of the jail's uids: proto/uids.h */
	/* Seccomp filters on each of its threads, on top of the spawner's:
	 * the same on all where both are equal. */
	uint8_t filters_min, filters_max;
	bool userns; /* it makes a user namespace of its own */
	bool restarts; /* the keeper starts it again; else its end is the
			  jail's */
};
extern const struct jail_prog jail_progs[JAIL_ROLES];

/* Whether a jail of that kind may hold that program. */
bool jail_holds(uint32_t kind, unsigned int role);

#endif
