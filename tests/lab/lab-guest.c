/*
 * Pid 1 of a guest in the lab's own guests: says a first line, and, asked by
 * vsock=PORT on the kernel's command line, speaks AF_VSOCK both ways: it
 * dials PORT of its host and says "dialled", then echoes what the first
 * connection to its own PORT says.  Then it ends, which ends the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "common/num.h"

static void
say(const char *what)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "lab-guest: %s\n", what);

	(void)!write(1, line, (size_t)n);
}

static void
fail(const char *what)
{
	char line[100];

	(void)snprintf(
	    line, sizeof(line), "%s: %s", what, strerrordesc_np(errno));
	say(line);
	(void)reboot(RB_AUTOBOOT);
}

static void
modules(void)
{
	FILE *f = fopen("/lib/modules/order", "re");
	char name[64], path[96];
	int fd;

	if (f == NULL)
		fail("no modules");
	while (f != NULL && fgets(name, sizeof(name), f) != NULL) {
		name[strcspn(name, "\n")] = '\0';
		(void)snprintf(path, sizeof(path), "/lib/modules/%s", name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
			fail(name);
		(void)close(fd);
	}
	if (f != NULL)
		(void)fclose(f);
}

/* 0 where the command line does not ask. */
static unsigned int
asked(void)
{
	char line[2048], *at;
	long long port = 0;
	ssize_t n;
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	n = read(fd, line, sizeof(line) - 1);
	(void)close(fd);
	line[n < 0 ? 0 : n] = '\0';
	if ((at = strstr(line, "vsock=")) == NULL)
		return 0;
	at += strlen("vsock=");
	at[strcspn(at, " \n")] = '\0';
	if (num_parse(at, 1, UINT32_MAX, &port) < 0)
		fail("vsock=");
	return (unsigned int)port;
}

static void
dial(unsigned int port)
{
	struct sockaddr_vm to = { .svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_HOST,
		.svm_port = port };
	static const char word[] = "dialled";
	int s = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof(to)) < 0)
		fail("dial");
	if (write(s, word, sizeof(word) - 1) != sizeof(word) - 1)
		fail("write");
	(void)close(s);
}

static void
echo(int listener)
{
	char buf[256];
	ssize_t n;
	int s = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (s < 0)
		fail("accept");
	while ((n = read(s, buf, sizeof(buf))) > 0) {
		if (write(s, buf, (size_t)n) != n)
			fail("echo");
	}
	(void)close(s);
}

static void
speak(unsigned int port)
{
	struct sockaddr_vm at = { .svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = port };
	int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* ready to be called before it calls, so that nobody must wait */
	if (listener < 0 ||
	    bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listener, 4) < 0)
		fail("listen");
	dial(port);
	echo(listener);
	(void)close(listener);
	say("spoke both ways");
}

int
main(void)
{
	unsigned int port;

	(void)mount("proc", "/proc", "proc", 0, NULL);
	say("first line");
	modules();
	if ((port = asked()) != 0)
		speak(port);
	say("end");
	(void)reboot(RB_AUTOBOOT);
	return 1;
}
