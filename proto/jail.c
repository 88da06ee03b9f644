#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/num.h"
#include "proto/jail.h"
#include "proto/uids.h"

int
jail_id_check(const struct jail_id *j)
{
	return jail_kind(j->kind) != NULL && j->pad == 0 && j->id != 0
	    ? 0
	    : -EINVAL;
}

bool
jail_holds(unsigned int kind, unsigned int role)
{
	const struct jail_prog *p = jail_prog(role);

	return p != NULL && jail_kind(kind) != NULL &&
	    (p->kinds >> kind & 1) != 0;
}

uint32_t
jail_roles(unsigned int kind)
{
	uint32_t set = 0;
	unsigned int role;

	for (role = 0; role < JAIL_ROLES_MAX; role++) {
		if (jail_holds(kind, role))
			set |= JAIL_ROLE_BIT(role);
	}
	return set;
}

int
jail_fd(unsigned int role, enum jail_fd what)
{
	const struct jail_prog *p = jail_prog(role);
	int i;

	for (i = 0; p != NULL && p->fds[i] != JAIL_FD_NONE; i++) {
		if (p->fds[i] == what)
			return JAIL_FD_FIRST + i;
	}
	return -1;
}

/* Whether another kind has its uids or its names. */
static bool
is_shared(unsigned int kind)
{
	const struct jail_kind_row *k = jail_kind(kind), *other;
	unsigned int i;

	for (i = 0; i < JAIL_KINDS_MAX; i++) {
		if (i != kind && (other = jail_kind(i)) != NULL &&
		    (other->plane == k->plane ||
			strcmp(other->prefix, k->prefix) == 0))
			return true;
	}
	return false;
}

static const char *
prog_fault(const struct jail_prog *p, unsigned int first)
{
	int i;

	if (p->path == NULL || p->path[0] != '/')
		return "a program has no path";
	if (p->filters_min > p->filters_max)
		return "a program has fewer filters than it must";
	if (p->fds[JAIL_FDS_MAX] != JAIL_FD_NONE)
		return "a program has too many descriptors";
	for (i = 0; p->fds[i] != JAIL_FD_NONE; i++) {
		if (jail_fd(first, p->fds[i]) < 0)
			return "pid 1 lacks a descriptor of another's";
	}
	return NULL;
}

const char *
jail_rows_fault(unsigned int kind)
{
	const struct jail_kind_row *k = jail_kind(kind);
	const char *fault = NULL;
	unsigned int role;

	if (k == NULL)
		return "there is no such kind";
	if (!jail_holds(kind, k->first))
		return "it has no pid 1";
	if (strlen(k->prefix) > JAIL_PREFIX_MAX)
		return "its names are too long";
	if (k->plane >= UIDS_PLANES || is_shared(kind))
		return "it has no uid or no name of its own";
	for (role = 0; role < JAIL_ROLES_MAX && fault == NULL; role++) {
		if (jail_holds(kind, role))
			fault = prog_fault(jail_prog(role), k->first);
	}
	return fault;
}

void
jail_name(const struct jail_id *j, char ret[JAIL_NAME_MAX + 1])
{
	const struct jail_kind_row *k = jail_kind(j->kind);
	char hex[HEX64_LEN + 1];

	num_format_hex64(j->id, hex);
	(void)snprintf(ret, JAIL_NAME_MAX + 1, "%.*s%s%s", JAIL_PREFIX_MAX,
	    k->prefix, k->prefix[0] != '\0' ? "-" : "", hex);
}

int
jail_name_parse(const char *name, struct jail_id *ret)
{
	const char *dash = strrchr(name, '-');
	const char *hex = dash == NULL ? name : dash + 1;
	const size_t len = dash == NULL ? 0 : (size_t)(dash - name);
	struct jail_id j = { 0 };

	if (num_parse_hex64(hex, &j.id) < 0 || j.id == 0)
		return -EINVAL;
	for (j.kind = 0; j.kind < JAIL_KINDS_MAX; j.kind++) {
		const struct jail_kind_row *k = jail_kind(j.kind);

		if (k == NULL || strlen(k->prefix) != len ||
		    strncmp(name, k->prefix, len) != 0 ||
		    (dash != NULL) != (len > 0))
			continue;
		*ret = j;
		return 0;
	}
	return -EINVAL;
}
