#include <linux/landlock.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/confine.h"
#include "common/util.h"
#include "orchd/orchd.h"

/* Its root is lib/store, and of that it needs: the database, its WAL, shared
 * memory and, while it migrates, a statement's journal: made, written and
 * removed.  No other right, no other tree. */
static const struct landlock_path paths[] = {
	{ .path = "/",
	    .access = LANDLOCK_ACCESS_FS_READ_FILE |
		LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
		LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE |
		(1ULL << 14) /* truncate */ },
};

void
orchd_confine(const struct boot_common *bc)
{
	const struct confinement c = {
		.root = bc->root,
		.uid = bc->uid,
		.gid = bc->gid,
		.caps = 0,
		.paths = paths,
		.npaths = nitems(paths),
		.nofile = bc->nofile,
	};

	proc_confine(&c);
}

static const struct seccomp_rule policy[] = {
	/* callers of the API */
	SC_ALLOW(accept4), /* conn.c: the Unix listener */
	/* peer.c: SO_PEERCRED, SO_PEERGROUPS */
	SC_ALLOW_IF(getsockopt, 1, UINT32_MAX, SOL_SOCKET),
	SC_ALLOW(shutdown), /* conn.c: where an identity ends */
	SC_ALLOW(sendto), /* conn.c: "too many connections" */
	SC_ALLOW_IF(socketpair, 0, UINT32_MAX, AF_UNIX), /* req.c: streams */
	SC_ALLOW(memfd_create), /* lists, boot specs */
	SC_ALLOW(fcntl), /* descriptors, seals, SQLite's locks */
	/* the store: SQLite and its worker */
	SC_ALLOW(openat), /* database, WAL, shared memory: Landlock's tree */
	SC_ALLOW(newfstatat), /* SQLite: is it there, is it the same */
	SC_ALLOW(fstat), /* likewise; memfd_read */
	SC_ALLOW(lstat), /* SQLITE_OPEN_NOFOLLOW */
	SC_ALLOW(stat), /* SQLite */
	SC_ALLOW(readlink), /* SQLITE_OPEN_NOFOLLOW */
	SC_ALLOW(access), /* SQLite: is there a journal */
	SC_ALLOW(statfs), /* verb_doctor.c: is the disk full soon */
	SC_ALLOW(unlink), /* SQLite: a journal that is done with */
	SC_ALLOW(pread64), /* SQLite; memfd_read */
	SC_ALLOW(pwrite64), /* SQLite */
	SC_ALLOW(lseek), /* SQLite */
	SC_ALLOW(ftruncate), /* SQLite: WAL */
	SC_ALLOW(fallocate), /* SQLite: shared memory; reserve.c */
	SC_ALLOW(fsync), /* I8 */
	SC_ALLOW(fdatasync), /* I8 */
	SC_ALLOW(fchmod), /* SQLite: WAL like its database */
	SC_ALLOW(geteuid), /* SQLite: whom the WAL belongs to */
	SC_ALLOW(getcwd), /* SQLite: full path of the database */
	SC_ALLOW(sched_yield), /* SQLite: a busy WAL */
	SC_ALLOW(clock_nanosleep), /* SQLite: a busy WAL */
	SC_ALLOW(set_robust_list), /* the worker thread starts */
	SC_ALLOW(rseq), /* the worker thread starts */
};

void
orchd_filter(void)
{
	if (RULE(ORCH_FILTER))
		seccomp_allow(
		    seccomp_loop, seccomp_loop_len, policy, nitems(policy));
}
