#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "spawner/accel.h"
#include "spawner/spawner.h"

#define ACCEL_FILE "accel"

/* One line; the file is only believed if it is exactly this. */
static size_t
accel_line(const struct spawner *sp, uint32_t accel, char *buf, size_t len)
{
	int n = snprintf(
	    buf, len, "%s %s %u\n", sp->boot_id, sp->conf.stage, accel);

	return n < 0 || (size_t)n >= len ? 0 : (size_t)n;
}

static int
accel_is(const struct spawner *sp, const char *text, uint32_t accel)
{
	char line[256];

	return accel_line(sp, accel, line, sizeof(line)) > 0 &&
	    strcmp(line, text) == 0;
}

/* Not there, or not for us: what is short for a moment says nothing. */
static bool
is_absent(int err)
{
	return err == ENOENT || err == ENXIO || err == ENODEV ||
	    err == EACCES || err == EPERM || err == ENOTDIR;
}

void
accel_load(struct spawner *sp)
{
	char buf[256];
	ssize_t n;
	int fd;

	sp->caps.accel = (uint8_t)sp->conf.accel;
	if (sp->conf.accel != ACCEL_UNKNOWN)
		return; /* the operator decided */
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0 && is_absent(errno)) {
		sp->caps.accel = ACCEL_TCG; /* nothing to probe */
		return;
	}
	if (fd < 0) /* of today: the probe will see */
		log_warn("/dev/kvm: %m");
	fd_close(&fd);
	fd =
	    openat(sp->state_fd, ACCEL_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, buf, sizeof(buf) - 1);
	fd_close(&fd);
	buf[n < 0 ? 0 : n] = '\0';
	if (accel_is(sp, buf, ACCEL_TCG))
		sp->caps.accel = ACCEL_TCG;
	else if (accel_is(sp, buf, ACCEL_KVM))
		sp->caps.accel = ACCEL_KVM;
}

int
accel_save(const struct spawner *sp, uint32_t accel)
{
	char line[256];
	size_t len = accel_line(sp, accel, line, sizeof(line));
	int fd, r;

	(void)unlinkat(sp->state_fd, ACCEL_FILE, 0);
	fd = openat(sp->state_fd, ACCEL_FILE,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* half a line is no line: the next start probes again */
	r = fd_write_all(fd, line, len);
	fd_close(&fd);
	return r;
}
