#ifndef MEWS_MEMBER_H
#define MEWS_MEMBER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/objects.h"

/*
 * Who is in a tenant.  A list of numbers of this host: names are the CLI's.
 */
struct member {
	uint32_t id; /* uid or gid */
	uint8_t kind; /* enum member_kind */
	uint8_t role; /* enum tenant_role, never NONE */
};

struct members {
	uint32_t n;
	struct member m[TENANT_MEMBERS_MAX];
};

/* Who somebody is, as the kernel says (unix(7): SO_PEERCRED, SO_PEERGROUPS). */
struct creds {
	uid_t uid;
	uint32_t ngroups;
	const gid_t *groups; /* ascending */
	bool is_crowd; /* he is in more than can count: he has none here */
	pid_t pid; /* that connected */
};

/* It comes, has another role, or goes (TENANT_NONE).  -E2BIG. */
int member_set(struct members *all, const struct tenant_member *m);
/* All that a list says, or nothing of it. */
int member_set_all(struct members *all, const struct objs *list);
/* The most that what he is in the list as gives him. */
enum tenant_role member_role(const struct members *all, const struct creds *c);

/* The least and the most of two roles. */
enum tenant_role role_least(enum tenant_role a, enum tenant_role b);

#endif
