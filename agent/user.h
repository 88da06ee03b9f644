#ifndef MEWS_AGENT_USER_H
#define MEWS_AGENT_USER_H

#include <stddef.h>
#include <stdint.h>

struct err;

#define USER_GROUPS_MAX 64 /* beside its own */
#define USER_HOME_MAX 256

/* As whom a command runs. */
struct user {
	uint32_t uid, gid;
	uint32_t groups[USER_GROUPS_MAX];
	size_t ngroups;
	char home[USER_HOME_MAX]; /* "/": none is known */
};

/*
 * USER or USER:GROUP, each a name of /etc/passwd or /etc/group below root, or
 * a number.  Without GROUP: what passwd says, and the groups that name the
 * user; for a number that is not there the group of the same number.  Those
 * files are a stranger's: they are read whole, if they are regular and not
 * too long.  0; or with e: -ENOENT, which of them is not there; -EPROTO, which
 * file is of no use; -ENOMEM.
 */
int user_find(int root, const char *text, struct user *ret, struct err *e);

#endif
