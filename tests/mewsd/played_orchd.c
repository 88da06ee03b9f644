#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/log.h"
#include "proto/boot.h"
#include "proto/chan.h"

/*
 * In orchd's place, for a test that plays it: hands its channel to mewsd to
 * whoever listens on "played" in its root, and is there until that one hangs
 * up.
 */
int
main(void)
{
	_Alignas(8) static uint8_t buf[MSG_MAX];
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct msg m = { .fd = -1 };
	struct boot_common bc;
	int sock;

	log_init("orchd", LOG_INFO);
	fds_expect(BOOT_NFDS);
	if (msg_wait(BOOT_FD, buf, &m, -1) < 0 || m.len < sizeof(bc))
		fatal("no boot config");
	memcpy(&bc, m.data, sizeof(bc));
	(void)snprintf(
	    sun.sun_path, sizeof(sun.sun_path), "%.90s/played", bc.root);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0 || connect(sock, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		fatal("%s: %m", sun.sun_path);
	if (msg_send(sock, BOOT_PEER, 0, NULL, 0, BOOT_FD) < 0)
		fatal("%s: %m", sun.sun_path);
	(void)close(BOOT_FD);
	return read(sock, buf, sizeof(buf)) == 0 ? 0 : 1;
}
