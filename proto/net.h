#ifndef MEWS_NET_H
#define MEWS_NET_H

#include <stddef.h>
#include <stdint.h>

/*
 * What netd is told and says.  Numbers only: netd derives every name.
 * Addresses are IPv4 in network order, everything else in host order.
 */
#define NET_IFNAME 16 /* IFNAMSIZ, NUL included */
#define NET_TAPS_MAX 1023 /* a Linux bridge has no more ports */

/* Host policy: from mewsd in the boot config, never from orchd. */
struct net_conf {
	char bridge[NET_IFNAME]; /* netd makes it; one that is not netd's own
				    is refused */
	char uplink[NET_IFNAME]; /* "": guests reach nothing outside */
	uint32_t subnet; /* network address */
	uint32_t gateway; /* the host's own address in it */
	uint16_t max_taps; /* slots are below this; 1..NET_TAPS_MAX */
	uint8_t prefix; /* 8..30 */
	uint8_t pad;
};
_Static_assert(sizeof(struct net_conf) == 44, "wire layout");

enum net_msg { /* values never change meaning */
	NET_TAP_OPEN = 0x0301, /* orchd: make a tap for this VM */
	NET_TAP_READY = 0x0302, /* answer; the tap's descriptor comes along,
				   none with NET_ADOPT */
	NET_TAP_CLOSE = 0x0303, /* orchd: it is gone when answered */
	NET_DONE = 0x0304, /* answer */
	NET_LIST = 0x0305, /* orchd: what the kernel holds */
	NET_HELD = 0x0306, /* answers: 1..NET_HELD_MAX struct net_tap */
	NET_LIST_END = 0x0307, /* last answer */
	NET_ENSURE = 0x0308, /* orchd, mewsd: repair bridge and rules */
	NET_TEARDOWN = 0x0309, /* mewsd: no VM is left, leave nothing */
	NET_ERR = 0x030a, /* answer: nothing was changed */
};

/*
 * NET_TAP_OPEN.  A tap that exists with these numbers is -EBUSY: somebody
 * holds its descriptor, and there is only one queue.  With NET_ADOPT it must
 * exist, and only its port and its rules are made good.
 */
#define NET_ADOPT 0x0001
#define NET_FLAGS NET_ADOPT
struct net_tap {
	uint64_t vm; /* never 0 */
	uint16_t slot; /* the tap is mw<slot> */
	uint16_t nic; /* 0: a VM has one so far */
	uint32_t ipv4;
	uint8_t mac[6]; /* locally administered, unicast */
	uint16_t flags; /* NET_ADOPT in a request; 0 in NET_HELD */
};
_Static_assert(sizeof(struct net_tap) == 24, "wire layout");

struct net_tap_ready {
	uint64_t vm;
	uint32_t ifindex;
	uint32_t pad;
};
_Static_assert(sizeof(struct net_tap_ready) == 16, "wire layout");

/* Closing what is not there is fine; what another VM holds is -EPERM. */
struct net_tap_close {
	uint64_t vm;
	uint16_t slot;
	uint16_t nic;
	uint32_t pad;
};
_Static_assert(sizeof(struct net_tap_close) == 16, "wire layout");

#define NET_HELD_MAX 256
struct net_list_end {
	uint32_t count; /* taps over all NET_HELD of this list */
	uint32_t pad;
};
_Static_assert(sizeof(struct net_list_end) == 8, "wire layout");

/* The uplink alone is not as it should be: bridge and rules are in place. */
#define NET_ERR_UPLINK 0x0001U
struct net_err {
	int32_t code; /* negative errno */
	char msg[192]; /* for people; NUL-terminated */
	uint32_t flags;
};
_Static_assert(sizeof(struct net_err) == 200, "wire layout");

/* For msg_handler.check: flags and padding.  0 or -EBADMSG. */
int net_tap_check(const void *payload);
int net_tap_close_check(const void *payload);
int net_tap_ready_check(const void *payload);
int net_list_end_check(const void *payload);
int net_err_check(const void *payload); /* and the text's NUL */

/* The taps in a NET_HELD of len bytes, or -EBADMSG. */
int net_held_count(size_t len);

#endif
