#ifndef MEWS_SPAWNER_H
#define MEWS_SPAWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "proto/boot.h"
#include "proto/spawn.h"
#include "spawner/cgroup.h"

/*
 * launchd's root half.  It makes jails, reads them back, kills and removes
 * them, by VM uid, from records that only root can write.  It reads nothing
 * that a VM wrote and resolves no name that a VM could have made (I12).
 */

/* Namespaces a VM has of its own, in the order of record.ns[]. */
enum { NS_MNT, NS_PID, NS_NET, NS_IPC, NS_UTS, NS_N };
extern const char *const ns_names[NS_N];

#define BOOT_ID_LEN 40
struct file_id {
	uint64_t dev;
	uint64_t ino;
};

enum stage_prog { PROG_KEEPER, PROG_WARDEN, PROG_VMM, PROG_N };

#define RECORD_MAGIC 0x6d657773
/* Version 1 ended before group: its VMs are in the configured one, if any,
 * and have no AF_VSOCK. */
#define RECORD_VERSION 2
#define RECORD_V1_LEN 168
/* run/vm/<uid>/record: written before the keeper may go on. */
struct record {
	uint32_t magic;
	uint32_t version;
	uint64_t vm;
	uint64_t start_time; /* proc_pid_stat(5) field 22 */
	uint64_t ns[NS_N]; /* inodes of its namespaces */
	uint32_t pid; /* keeper's, in the spawner's pid namespace */
	uint32_t uid;
	uint16_t slot;
	uint8_t cgroup;
	uint8_t kvm;
	/* of the suite that started it: a later one has another staged tree,
	 * perhaps another number of filters, and reads this VM back too */
	uint32_t filters;
	struct file_id prog[PROG_N];
	char boot_id[BOOT_ID_LEN];
	/* its cgroup, "": none.  mews.conf may name another by the time it is
	 * read back, killed or removed. */
	char group[CGROUP_PATH_MAX];
	uint32_t cid; /* its AF_VSOCK address; 0: it has none */
	uint32_t pad;
};
_Static_assert(sizeof(struct record) == 400, "on disk");
_Static_assert(offsetof(struct record, group) == RECORD_V1_LEN, "on disk");

struct slot {
	bool used;
	int pidfd; /* -1: it was dead when we looked */
	struct record rec;
};

struct spawner {
	struct boot_common boot;
	struct launchd_conf conf;
	int chan;
	int state_fd; /* lib/vm */
	int run_fd; /* run/vm */
	int null_fd;
	int lock_fd; /* one spawner at a time, see main.c */
	char boot_id[BOOT_ID_LEN];
	unsigned int filters; /* seccomp filters that children inherit */
	uint64_t host_ns[NS_N];
	uint64_t user_ns;
	struct file_id host_root;
	struct file_id prog[PROG_N]; /* staged programs */
	struct cgroup cg;
	struct launch_caps caps;
	struct slot *slots; /* conf.uid_count of them */
};

_Noreturn void spawner_main(void);
void spawner_confine(const struct spawner *sp);
/* One message; nothing it says can end the process. */
void spawner_dispatch(struct spawner *sp, const struct msg *m);

/* record.c */
void records_load(struct spawner *sp);
int record_write(struct spawner *sp, int dirfd, const struct record *rec);
/* 0 while the keeper is the recorded one and lives, else -ESRCH. */
int record_alive(const struct spawner *sp, const struct slot *s);
/* NULL: no record of that VM. */
struct slot *slot_find(const struct spawner *sp, uint64_t vm);

/*
 * vsock.c.  Whether VMs get an AF_VSOCK device, told once at start; and one
 * VM's: /dev/vhost-vsock with its address set, cid_base + slot.  -EADDRINUSE
 * when somebody else has that address.
 */
void vsock_find(struct spawner *sp);
int vsock_make(const struct spawner *sp, uint16_t slot, uint32_t *cid);

/* prepare.c, release.c, verify.c: the verbs */
int vm_prepare(struct spawner *sp, const struct spawn_prepare *p,
    struct slot **ret, struct err *e);
int vm_verify(struct spawner *sp, const struct spawn_verify *v,
    struct spawn_verified *ret, struct err *e);
int vm_kill(struct spawner *sp, uint64_t vm, struct err *e);
int vm_release(struct spawner *sp, uint64_t vm, struct err *e);

int vm_count(struct spawner *sp, uint64_t vm, struct spawn_counted *ret);

/* Removes what vm_prepare makes: the group, and below run/vm and lib/vm. */
int vm_remove_all(
    const struct spawner *sp, uint64_t vm, const char *group, struct err *e);
/* Where a VM that is started now has its group; "" without groups. */
void vm_group(const struct spawner *sp, uint64_t vm, char ret[CGROUP_PATH_MAX]);
/* True while any process has this real uid. */
bool uid_in_use(uid_t uid);

#endif
