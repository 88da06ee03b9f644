#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "agent/file.h"
#include "common/fds.h"

int
file_write(const char *path, const char *text)
{
	int fd, r = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* an empty text must still reach the kernel: a newline is one */
	if (*text == '\0')
		text = "\n";
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	fd_close(&fd);
	return r;
}

int
file_put(const char *path, const char *text, mode_t mode)
{
	int fd, r;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, text, strlen(text));
	fd_close(&fd);
	return r;
}

int
file_read(const char *path, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;
	int fd, r = 0;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf + len, size - len);
		if (n > 0)
			len += (size_t)n;
	} while (n > 0 && len < size);
	if (n < 0)
		r = -errno;
	else if (len == size)
		r = -E2BIG;
	else
		buf[len] = '\0';
	fd_close(&fd);
	return r;
}

int
file_copy(const char *from, const char *to, mode_t mode)
{
	int in, out = -1, r = 0;
	ssize_t n;

	in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return -errno;
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (out < 0) {
		r = -errno;
		goto out;
	}
	do
		n = sendfile(out, in, NULL, 1 << 20);
	while (n > 0);
	if (n < 0)
		r = -errno;
out:
	fd_close(&in);
	fd_close(&out);
	return r;
}
