#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/fds.h"
#include "orchd/reserve.h"

#define BLOCK 512 /* of st_blocks (stat(3type)) */

void
reserve_open(struct reserve *r, const char *path)
{
	struct statvfs fs;
	char name[256];

	r->size = RESERVE_MAX;
	r->whole = false;
	(void)snprintf(name, sizeof(name), "%.200s-reserve", path);
	r->fd = open(
	    name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (r->fd < 0)
		return;
	if (fstatvfs(r->fd, &fs) == 0 && fs.f_blocks > 0) {
		r->size = (uint64_t)fs.f_blocks * fs.f_frsize / RESERVE_SHARE;
		if (r->size > RESERVE_MAX)
			r->size = RESERVE_MAX;
		if (r->size < RESERVE_MIN)
			r->size = RESERVE_MIN;
	}
}

void
reserve_close(struct reserve *r)
{
	fd_close(&r->fd);
}

bool
reserve_give(struct reserve *r)
{
	struct stat st;

	if (r->fd < 0 || fstat(r->fd, &st) < 0 || st.st_size <= 0)
		return false;
	r->whole = false;
	return ftruncate(r->fd,
		   st.st_size > (off_t)RESERVE_STEP
		       ? st.st_size - (off_t)RESERVE_STEP
		       : 0) == 0;
}

bool
reserve_make(struct reserve *r)
{
	struct stat st;

	if (r->whole || r->fd < 0)
		return true;
	if (fstat(r->fd, &st) < 0)
		return false;
	r->whole = (st.st_size >= (off_t)r->size &&
		       (uint64_t)st.st_blocks * BLOCK >= r->size) ||
	    fallocate(r->fd, 0, 0, (off_t)r->size) == 0 ||
	    errno == EOPNOTSUPP; /* a file system that can reserve nothing */
	/* or as it was, without the little that there may have been */
	if (!r->whole && ftruncate(r->fd, st.st_size) < 0)
		return false;
	return r->whole;
}
