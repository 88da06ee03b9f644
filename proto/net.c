#include <errno.h>
#include <string.h>

#include "proto/net.h"

int
net_tap_check(const void *payload)
{
	struct net_tap t;

	memcpy(&t, payload, sizeof(t));
	return (t.flags & ~NET_FLAGS) == 0 ? 0 : -EBADMSG;
}

int
net_tap_close_check(const void *payload)
{
	struct net_tap_close c;

	memcpy(&c, payload, sizeof(c));
	return c.pad == 0 ? 0 : -EBADMSG;
}

int
net_tap_ready_check(const void *payload)
{
	struct net_tap_ready r;

	memcpy(&r, payload, sizeof(r));
	return r.pad == 0 ? 0 : -EBADMSG;
}

int
net_list_end_check(const void *payload)
{
	struct net_list_end e;

	memcpy(&e, payload, sizeof(e));
	return e.pad == 0 && e.count <= NET_TAPS_MAX ? 0 : -EBADMSG;
}

int
net_err_check(const void *payload)
{
	struct net_err e;

	memcpy(&e, payload, sizeof(e));
	if (e.code >= 0 || (e.flags & ~NET_ERR_UPLINK) != 0)
		return -EBADMSG;
	return memchr(e.msg, '\0', sizeof(e.msg)) != NULL ? 0 : -EBADMSG;
}

int
net_held_count(size_t len)
{
	size_t n = len / sizeof(struct net_tap);

	if (n == 0 || n > NET_HELD_MAX || len % sizeof(struct net_tap) != 0)
		return -EBADMSG;
	return (int)n;
}
