#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "proto/boot.h"
#include "proto/chan.h"

void
boot_recv(uint32_t room, struct boot_common *bc, void *conf, size_t len)
{
	_Alignas(8) uint8_t buf[MSG_MAX];
	struct msg m = { .fd = -1 };
	int r;

	if ((r = msg_wait(BOOT_FD, buf, &m, -1)) < 0)
		fatal("no boot config: %s", strerrordesc_np(-r));
	if (m.type != BOOT_CONF || m.fd != -1 || m.len != sizeof(*bc) + len)
		fatal("boot config: message 0x%04x of %u bytes", m.type, m.len);
	memcpy(bc, m.data, sizeof(*bc));
	if (len > 0)
		memcpy(conf, (const uint8_t *)m.data + sizeof(*bc), len);
	explicit_bzero(buf, sizeof(buf));
	/* one binary, two rooms */
	if (room == ROOM_API && bc->room == ROOM_API_ADMIN)
		room = ROOM_API_ADMIN;
	if (bc->version != BOOT_VERSION || bc->room != room ||
	    memchr(bc->root, '\0', sizeof(bc->root)) == NULL)
		fatal("boot config: not for this room or version");
	kill_arm(&bc->kill, room);
}

void
boot_ready(void)
{
	if (msg_send(BOOT_FD, BOOT_READY, 0, NULL, 0, -1) < 0)
		fatal("mewsd is gone");
}

int
boot_peer_check(const void *payload)
{
	struct boot_peer p;

	memcpy(&p, payload, sizeof(p));
	return p.room < ROOM_MAX ? 0 : -EINVAL;
}

int
boot_oneshot_check(const void *payload)
{
	struct boot_oneshot a;

	memcpy(&a, payload, sizeof(a));
	return a.room < ROOM_MAX && a.pad == 0 ? 0 : -EINVAL;
}

int
boot_oneshot_fd_check(const void *payload)
{
	struct boot_oneshot_fd a;

	memcpy(&a, payload, sizeof(a));
	return a.index < ONESHOT_FDS_MAX && a.pad == 0 ? 0 : -EINVAL;
}

int
boot_audit_check(const void *payload)
{
	struct boot_audit a;

	memcpy(&a, payload, sizeof(a));
	return a.tenant < 0 || a.row == 0 || a.row > INT64_MAX ? -EINVAL : 0;
}
