#ifndef MEWS_AGENT_FILE_H
#define MEWS_AGENT_FILE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Small whole files, for pid 1 and the workload's first process.
 * All return 0 or a negative errno.
 */

/* Existing files only (sysfs, procfs): one write. */
int file_write(const char *path, const char *text);
/* Makes or replaces path. */
int file_put(const char *path, const char *text, mode_t mode);
/* At most size - 1 bytes and a NUL; -E2BIG for more. */
int file_read(const char *path, char *buf, size_t size);
int file_copy(const char *from, const char *to, mode_t mode);

#endif
