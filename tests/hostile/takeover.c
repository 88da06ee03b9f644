#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "tests/hostile/takeover.h"

#define LIVES "/run/hostile." /* in the test's own host */

static unsigned int life;

/* Runs before main(), so as root and with the host's root. */
static __attribute__((constructor)) void
count_life(void)
{
	char path[128], text[16] = { 0 };
	int fd;

	(void)snprintf(
	    path, sizeof(path), LIVES "%s", program_invocation_short_name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	(void)flock(fd, LOCK_EX); /* both apids start at once */
	if (read(fd, text, sizeof(text) - 1) > 0)
		life = (unsigned int)strtoul(text, NULL, 10);
	(void)snprintf(text, sizeof(text), "%u", life + 1);
	if (pwrite(fd, text, strlen(text), 0) < 0)
		life = 0;
	(void)close(fd);
}

unsigned int
takeover_life(void)
{
	return life;
}

void
takeover_said(const char *what)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "hostile: %s\n", what);

	/* dprintf(3) would seek, which not every filter lets */
	if (write(2, line, (size_t)n) < 0)
		return;
}
