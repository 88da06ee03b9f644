#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fds.h"

/*
 * Stands in for libFuzzer in `make check`: runs every seed of the target
 * once.  The program's own name, fuzz_NAME_test, says which corpus.
 */
#define SEED_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int
replay(int dirfd, const char *file)
{
	uint8_t *buf = malloc(SEED_MAX), *exact = NULL;
	int fd = -1, r = -1;
	ssize_t n;

	fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || buf == NULL)
		goto out;
	n = read(fd, buf, SEED_MAX);
	/* a block of just this size, so that a sanitizer sees its end */
	if (n < 0 || (exact = malloc((size_t)n + 1)) == NULL)
		goto out;
	memcpy(exact, buf, (size_t)n);
	(void)LLVMFuzzerTestOneInput(exact, (size_t)n);
	r = 0;
out:
	if (r < 0)
		printf("# %s cannot be read\n", file);
	fd_close(&fd);
	free(exact);
	free(buf);
	return r;
}

int
main(void)
{
	const char *self = program_invocation_short_name;
	char name[64], dir[128];
	struct dirent *de;
	int n = 0, bad = 0;
	DIR *d;

	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(self, "_"),
	    self); /* NAME_test */
	(void)snprintf(dir, sizeof(dir), "tests/fuzz/corpus/%s", name);
	if ((d = opendir(dir)) != NULL) {
		while ((de = readdir(d)) != NULL) {
			if (de->d_name[0] == '.')
				continue;
			bad |= replay(dirfd(d), de->d_name);
			n++;
		}
		(void)closedir(d);
	}
	/* an empty corpus is a fault: it would test nothing */
	printf("%s %s replay %d inputs\n", bad || n == 0 ? "not ok" : "ok",
	    name, n);
	return bad || n == 0;
}
