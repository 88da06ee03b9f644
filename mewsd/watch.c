#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fds.h"
#include "mewsd/watch.h"

void
watch_reset(struct watch *w)
{
	const uint64_t id = w->id; /* an answer of an earlier life is none */

	*w = (struct watch){ .id = id };
}

uint64_t
watch_ask(struct watch *w)
{
	w->asked = true;
	return ++w->id;
}

int
watch_answer(struct watch *w, uint64_t id)
{
	if (!w->asked || id != w->id)
		return -EINVAL;
	watch_reset(w);
	return 0;
}

bool
watch_wants(const struct watch *w, bool ready)
{
	return !ready || w->asked;
}

enum watch_said
watch_look(struct watch *w, bool ready, const struct watch_seen *seen)
{
	uint64_t used;

	if (ready && !w->asked) {
		/* what it took to begin does not count */
		watch_reset(w);
		return WATCH_ASK;
	}
	if (w->looks++ == 0)
		w->used_ms = seen->used_ms;
	used = seen->used_ms > w->used_ms ? seen->used_ms - w->used_ms : 0;
	w->stopped = seen->state == 'T' ? w->stopped + 1 : 0;
	if ((uint64_t)w->stopped * WATCH_MS >= WATCH_STOPPED_MS)
		return WATCH_STOPPED;
	/* a start may have much to read, and a room waits for others in it */
	if (ready && used >= WATCH_BUSY_MS)
		return WATCH_BUSY;
	if ((uint64_t)w->looks * WATCH_MS >= WATCH_ASLEEP_MS &&
	    seen->state == 'S' && used < WATCH_IDLE_MS)
		return WATCH_ASLEEP;
	return WATCH_FINE;
}

/* Fields 3, 14 and 15 of proc(5)'s stat, behind a name that may be anything. */
static void
stat_parse(const char *text, struct watch_seen *ret)
{
	static const int utime = 14, stime = 15;
	const char *at = strrchr(text, ')');
	const long hz = sysconf(_SC_CLK_TCK);
	uint64_t ticks = 0;
	int field = 2;

	if (at == NULL || at[1] != ' ' || hz <= 0)
		return;
	ret->state = at[2];
	for (at++; *at != '\0' && field < stime; at++) {
		uint64_t v = 0;

		if (*at != ' ')
			continue;
		field++;
		while (at[1] >= '0' && at[1] <= '9')
			v = v * 10 + (uint64_t)(*++at - '0');
		if (field == utime || field == stime)
			ticks += v;
	}
	ret->used_ms = ticks * 1000 / (uint64_t)hz;
}

void
watch_see(pid_t pid, struct watch_seen *ret)
{
	char path[32], text[512];
	ssize_t n;
	int fd;

	*ret = (struct watch_seen){ .state = '?' };
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	fd_close(&fd);
	if (n <= 0)
		return;
	text[n] = '\0';
	stat_parse(text, ret);
}
