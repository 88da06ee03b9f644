#ifndef MEWS_JAIL_H
#define MEWS_JAIL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A jail is what the spawner makes: namespaces, a root, a uid, a cgroup, and
 * the programs in it.  It is named by its kind and the number of what it
 * belongs to.  What a kind is and what it may hold are rows (jail_rows.c):
 * spawner, keeper and read-back know no kind and no program besides.
 *
 * One jail has one uid: nothing in it can take another.  What has to have a
 * uid of its own gets a jail of its own (I5), which is a kind of jail in
 * another plane of uids; its id and slot are those of the VM that it serves.
 */
enum jail_kind { /* in records: values never change meaning */
	JAIL_VM = 1, /* id: the VM's */
};
#define JAIL_KINDS_MAX 16 /* above every kind */

enum jail_role { /* in records: values never change meaning */
	JAIL_KEEPER = 0,
	JAIL_WARDEN = 1,
	JAIL_VMM = 2,
};
#define JAIL_ROLES_MAX 16 /* above every role; a set of them is 32 bits */
#define JAIL_ROLE_BIT(role) (1U << (role))

/* Descriptors that programs are born with. */
enum jail_fd {
	JAIL_FD_NONE, /* the end of a list */
	JAIL_FD_KEEPER, /* keeper.sock, which launchd alone can connect to:
			   bound, and listening where it is pid 1's */
	JAIL_FD_WARDEN, /* warden.sock, in the same way: bound */
	JAIL_FD_CONSOLE, /* the FIFO `console`, O_RDWR|O_NONBLOCK */
	JAIL_FD_VSOCK, /* /dev/vhost-vsock, its address set; or /dev/null */
	JAIL_FD_VMM_LOG, /* the FIFO `log` once more, opened anew: flags that
			    the hypervisor sets on it are its own */
};
#define JAIL_FDS_MAX 8
#define JAIL_FD_FIRST 3 /* 0 and 1 are /dev/null, 2 the jail's log */

/* FIFOs in a jail's folder below run/vm, of which launchd alone may open the
 * end that reads (launchd/jaillog.h). */
#define JAIL_FIFO_LOG "log"
#define JAIL_FIFO_CONSOLE "console"

struct jail_id {
	uint32_t kind; /* enum jail_kind */
	uint32_t pad;
	uint64_t id; /* never 0 */
};
_Static_assert(sizeof(struct jail_id) == 16, "wire layout");

struct jail_kind_row {
	const char *name; /* for people, and the jail's host name */
	/* of its name below run/vm, lib/vm and in its cgroup's path: "", or at
	 * most JAIL_PREFIX_MAX of a-z */
	const char *prefix;
	uint8_t first; /* enum jail_role: pid 1, the one that the spawner
			  executes; its arguments are launchd's uid and the
			  jail's AF_VSOCK address (0: none) */
	uint8_t plane; /* enum uids_plane: of its uid; the place is its slot */
	bool kvm; /* has a /dev/kvm where its machine uses KVM */
};
/* NULL: no such kind. */
const struct jail_kind_row *jail_kind(unsigned int kind);

struct jail_prog {
	const char *name; /* for people */
	const char *path; /* in the staged tree */
	uint32_t kinds; /* bit per enum jail_kind that may hold it */
	/* enum jail_fd of 3, 4, ..., of what spawner or keeper give it; the
	 * keeper gives what it was born with.  The hypervisor's come from its
	 * machine instead. */
	uint8_t fds[JAIL_FDS_MAX + 1];
	/* Seccomp filters on each of its threads, on top of the spawner's:
	 * the same on all where both are equal. */
	uint8_t filters_min, filters_max;
	bool userns; /* it makes a user namespace of its own */
	bool restarts; /* comes and goes: the keeper starts it again.  Else its
			  end is the jail's. */
};
/* NULL: no such role. */
const struct jail_prog *jail_prog(unsigned int role);

/* 0 or -EINVAL. */
int jail_id_check(const struct jail_id *j);
/* Whether a jail of that kind may hold that program; all that it may, as
 * JAIL_ROLE_BIT()s. */
bool jail_holds(unsigned int kind, unsigned int role);
uint32_t jail_roles(unsigned int kind);
/* The number of a descriptor that a program is born with; -1: it is not. */
int jail_fd(unsigned int role, enum jail_fd what);
/* What is wrong with a kind's rows, or NULL: no pid 1, another kind's uids, a
 * column that means nothing.  The spawner asks at start. */
const char *jail_rows_fault(unsigned int kind);

/*
 * What a jail's folders and its group are called: 16 hex digits, and before
 * them its kind's prefix and a dash, if it has one.
 */
#define JAIL_PREFIX_MAX 6
#define JAIL_NAME_MAX (JAIL_PREFIX_MAX + 1 + 16)
void jail_name(const struct jail_id *j, char ret[JAIL_NAME_MAX + 1]);
/* 0, or -EINVAL: no jail is called that, and *ret is as it was. */
int jail_name_parse(const char *name, struct jail_id *ret);

#endif
