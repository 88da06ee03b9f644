#ifndef MEWS_SPAWNER_PROC_H
#define MEWS_SPAWNER_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "spawner/record.h"

/* What the kernel says about a process, read from /proc (proc(5)). */

extern const char *const ns_names[NS_N]; /* as below /proc/PID/ns */

/* A whole small file into buf with a NUL; its length or a negative errno. */
ssize_t proc_read(const char *path, char *buf, size_t cap);
int proc_start_time(pid_t pid, uint64_t *ret);
/* Inode of /proc/PID/ns/NAME; task 0: the process's own. */
int proc_ns(pid_t pid, pid_t task, const char *name, uint64_t *ret);
int proc_ns_all(pid_t pid, uint64_t ns[NS_N]);
/* All four of its uids are uid. */
bool proc_has_uid(pid_t pid, uid_t uid);
/* Whether a process has that real uid and lives: a zombie that nobody reaps is
 * gone.  Which it is, in *pid; 0: the kernel does not say. */
bool proc_uid_busy(uid_t uid, pid_t *pid);
/* Calls fn with every process that lives and its real uid, until that says
 * true.  Negative: one or all of them could not be looked at. */
int proc_each(bool (*fn)(void *arg, pid_t pid, uid_t uid), void *arg);
int proc_boot_id(char buf[BOOT_ID_LEN]);
/* Seccomp_filters of this process. */
int proc_own_filters(unsigned int *ret);

#endif
