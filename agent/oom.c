#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/oom.h"
#include "common/fds.h"
#include "common/log.h"

#define RECORD_MAX 8192 /* Documentation/ABI/testing/dev-kmsg */
#define RECORDS 32 /* a turn */
#define NAME_MAX_LEN 32 /* a name may be escaped: "\x20" */

/* "Killed process 93 (dd) total-vm:...": the name is the workload's choice,
 * and may have any byte, also a bracket. */
static void
note(struct oom *o, const char *p)
{
	const char *end = strstr(p, ") total-vm:"), *name = strchr(p, '(');
	size_t i, n = 0, digits = strspn(p, "0123456789");
	char text[NAME_MAX_LEN];

	if (name == NULL || end == NULL || end < ++name)
		return;
	for (i = 0; name + i < end && n < sizeof(text) - 1; i++) {
		char c = name[i];

		text[n++] =
		    c >= 0x20 && c < 0x7f && c != '"' && c != '\\' ? c : '?';
	}
	text[n] = '\0';
	(void)snprintf(o->last, sizeof(o->last), "%s, process %.*s", text,
	    digits < 8 ? (int)digits : 8, p);
}

bool
oom_read(struct oom *o, const char *record)
{
	static const char *const heads[] = {
		"Out of memory: Killed process ",
		"Memory cgroup out of memory: Killed process ",
	};
	const char *p = strchr(record, ';');
	size_t i;

	for (i = 0; p != NULL && i < sizeof(heads) / sizeof(heads[0]); i++) {
		size_t len = strlen(heads[i]);

		if (strncmp(p + 1, heads[i], len) != 0)
			continue;
		o->kills++;
		note(o, p + 1 + len);
		return true;
	}
	return false;
}

static void
on_record(void *arg, uint32_t events)
{
	struct oom *o = arg;
	char buf[RECORD_MAX + 1];
	ssize_t n = 0;
	int i;

	(void)events;
	for (i = 0; i < RECORDS; i++) {
		n = read(o->w.fd, buf, RECORD_MAX);
		if (n < 0 && errno == EPIPE)
			continue; /* some were written over */
		if (n <= 0)
			break;
		buf[n] = '\0';
		(void)oom_read(o, buf);
	}
	if (n == 0 ||
	    (n < 0 && errno != EAGAIN && errno != EPIPE && errno != EINTR))
		loop_unwatch(&o->w);
}

void
oom_open(struct oom *o)
{
	o->w = (struct watch){ .fn = on_record, .arg = o };
	o->w.fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (o->w.fd < 0 || lseek(o->w.fd, 0, SEEK_END) < 0 ||
	    loop_watch(&o->w, EPOLLIN) < 0) {
		log_warn("no kernel log: %m");
		fd_close(&o->w.fd);
	}
}
