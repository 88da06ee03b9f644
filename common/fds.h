#ifndef MEWS_FDS_H
#define MEWS_FDS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Closes *fd unless it is -1 and sets it to -1.  errno is kept. */
void fd_close(int *fd);

/*
 * A room starts with descriptors 0..n-1 open and nothing else that matters:
 * dies unless 0..n-1 are open, closes every one from n up.
 */
void fds_expect(int n);

/* 0 or a negative errno. */
int fd_nonblock(int fd);
/* Nothing comes any more and nobody takes anything (poll(2) POLLHUP). */
bool fd_is_hung_up(int fd);
/* Clears FD_CLOEXEC: for a child that is about to exec.  0 or -errno. */
int fd_keep(int fd);

/* Writes all of it (regular files, pipes).  0 or a negative errno. */
int fd_write_all(int fd, const void *buf, size_t len);

/*
 * A memfd holding a copy of buf, sealed against any change (memfd_create(2),
 * fcntl(2) F_ADD_SEALS).  Returns the descriptor or a negative errno.
 */
int memfd_sealed(const char *name, const void *buf, size_t len);
/*
 * Reads what a peer says is a sealed memfd: refused (-EBADF) unless it is
 * sealed against write, grow and shrink, -E2BIG over max.  *ret is
 * malloc'ed with a NUL after its *len bytes; the caller frees it.
 */
int memfd_read(int fd, size_t max, void **ret, size_t *len);

#endif
