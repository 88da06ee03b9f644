#ifndef MEWS_SPAWNER_RECORD_H
#define MEWS_SPAWNER_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "proto/jail.h"
#include "spawner/cgroup.h"

/*
 * run/vm/<jail>/record: what a jail is, root's and written before its pid 1 may
 * go on.  It outlives builds: a later one appends fields or takes bits of a
 * word of flags, counts the version up, and this one reads of it what it knows.
 * What is read is converted to the form of today.
 */

/* Namespaces a jail has of its own, in the order of record.ns[]. */
enum { NS_MNT, NS_PID, NS_NET, NS_IPC, NS_UTS, NS_N };

struct file_id {
	uint64_t dev;
	uint64_t ino;
};

/* A program that the jail may hold, as it was when the jail was made: a later
 * suite has another staged tree and, perhaps, other filters. */
struct record_prog {
	uint32_t role; /* enum jail_role */
	uint32_t uid;
	uint16_t filters_min, filters_max; /* on top of record.filters */
	uint32_t flags; /* PROG_*; further bits of a later build mean nothing */
	struct file_id file;
};
_Static_assert(sizeof(struct record_prog) == 32, "on disk");
#define PROG_USERNS 1U /* a user namespace of its own; else the host's */

#define BOOT_ID_LEN 40
#define RECORD_MAGIC 0x6d657773
#define RECORD_VERSION 3
#define RECORD_PROGS_MAX 16
struct record {
	uint32_t magic;
	uint32_t version;
	uint32_t len; /* of the file */
	uint32_t nprogs;
	struct jail_id jail;
	uint64_t start_time; /* proc_pid_stat(5) field 22 */
	uint64_t ns[NS_N]; /* inodes of its namespaces */
	uint32_t pid; /* of its pid 1, in the spawner's pid namespace */
	uint32_t uid; /* of that */
	uint16_t slot;
	uint8_t cgroup;
	uint8_t kvm;
	uint32_t filters; /* those that its processes inherited of us */
	uint32_t cid; /* its AF_VSOCK address; 0: it has none */
	uint32_t pad;
	char boot_id[BOOT_ID_LEN];
	/* its cgroup, "": none.  mews.conf may name another by the time it is
	 * read back, killed or removed. */
	char group[CGROUP_PATH_MAX];
	struct record_prog prog[RECORD_PROGS_MAX]; /* nprogs of them; the first
						      is pid 1's */
};
_Static_assert(sizeof(struct record) == 880, "on disk");
_Static_assert(JAIL_ROLES_MAX <= RECORD_PROGS_MAX, "each has a place");
/* A record of a later build is longer; nothing of ours is. */
#define RECORD_LEN_MAX 4096

/*
 * What is in a file of len bytes, of this version or any before.  -EBADMSG: it
 * is no record.  A record of version 1 does not say its cgroup: *ret has
 * cgroup set and an empty group.
 */
int record_parse(const void *buf, size_t len, struct record *ret);
/* Into the folder, as "record": after this call it survives a crash of
 * everything.  0 or -errno. */
int record_write(int dirfd, const struct record *rec);
/* Of a jail's folder below run_fd.  Only a plain file of root's that nobody
 * else may write is believed.  0, -EBADMSG or -errno. */
int record_read(int run_fd, const char *name, struct record *ret);
/* The row of a program in it, or NULL. */
const struct record_prog *record_prog(
    const struct record *rec, unsigned int role);

#endif
