#include <arpa/inet.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/fds.h"
#include "common/util.h"
#include "orchd/orchd.h"
#include "orchd/vm/vm.h"
#include "proto/boot.h"
#include "proto/chan.h"
#include "proto/keep.h"
#include "proto/launch.h"
#include "proto/net.h"
#include "proto/spawn.h"
#include "proto/ward.h"
#include "tests/hostile/takeover.h"

/*
 * orchd, taken over (I2, I3): what it asks of the helpers is outside the
 * host's policy, another VM's, or no business of orchd's at all.
 */
#define ID 0xbad000U /* no question of orchd's own has such an id */
#define EVIL 0x6576696c6576696cULL

struct chan *__real_chan_new(struct event_base *base, int sock,
    const char *peer, const struct chan_ops *ops, void *arg);
struct chan *__wrap_chan_new(struct event_base *base, int sock,
    const char *peer, const struct chan_ops *ops, void *arg);

static void
tap(int sock, uint32_t ip, uint16_t slot, const uint8_t mac[6])
{
	struct net_tap t = {
		.vm = EVIL + slot, .slot = slot, .ipv4 = htonl(ip)
	};

	memcpy(t.mac, mac, sizeof(t.mac));
	(void)msg_send(sock, NET_TAP_OPEN, ID, &t, sizeof(t), -1);
}

/* What one VM has, asked for once more, by itself and by another. */
static void
evil_twice(int sock, const struct vm_row *web, const uint8_t mac[6])
{
	const uint32_t ip = web->ipv4;
	struct net_tap t = {
		.vm = web->vmid, .slot = web->slot, .ipv4 = htonl(ip)
	};

	tap(sock, ip, 5, mac); /* its address */
	tap(sock, 0x0a4d0063, 5, web->mac); /* its MAC */
	tap(sock, ip, 5, web->mac); /* both */
	tap(sock, ip, web->slot, web->mac); /* all that it has */
	memcpy(t.mac, web->mac, sizeof(t.mac));
	(void)msg_send(sock, NET_TAP_OPEN, ID, &t, sizeof(t), -1);
	t.flags = NET_ADOPT; /* its own tap with other numbers */
	t.ipv4 = htonl(0x0a4d0063);
	(void)msg_send(sock, NET_TAP_OPEN, ID, &t, sizeof(t), -1);
	t.ipv4 = htonl(ip);
	memcpy(t.mac, mac, sizeof(t.mac));
	(void)msg_send(sock, NET_TAP_OPEN, ID, &t, sizeof(t), -1);
}

/* Subnet of the test: 10.77.0.0/24, gateway 10.77.0.1; web has slot 0. */
static void
evil_net(int sock, const struct vm_row *web)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0x66, 1 };
	static const uint8_t group[6] = { 3, 0, 0, 0, 0x66, 1 };
	static const uint8_t global[6] = { 0, 0x1b, 0x21, 0, 0x66, 1 };
	/* the bridge's: 02, m, then the gateway's address */
	static const uint8_t bridge[6] = { 2, 'm', 10, 77, 0, 1 };
	struct net_tap_close c = { .vm = EVIL, .slot = web->slot };

	tap(sock, 0x0a4d0163, 5, mac); /* outside the subnet */
	tap(sock, 0x0a4d0001, 5, mac); /* the host's own */
	tap(sock, 0x0a4d00ff, 5, mac); /* broadcast */
	tap(sock, 0x0a4d0000, 5, mac); /* the network's */
	tap(sock, 0x7f000001, 5, mac);
	tap(sock, 0x0a4d0063, 1000, mac); /* slots end before */
	tap(sock, 0x0a4d0063, 0xffff, mac);
	tap(sock, 0x0a4d0063, web->slot, mac); /* another VM's slot */
	tap(sock, 0x0a4d0063, 5, group);
	tap(sock, 0x0a4d0063, 5, global);
	tap(sock, 0x0a4d0063, 5, bridge);
	evil_twice(sock, web, mac);
	(void)msg_send(sock, NET_TAP_CLOSE, ID, &c, sizeof(c), -1);
	takeover_said("netd");
}

static void
start(int sock, uint64_t vm, uint16_t slot, uint16_t vcpus, uint32_t mem)
{
	const struct launch_start s = {
		.vm = vm, .slot = slot, .then = LAUNCH_RUN, .ready_ms = 1000
	};
	const struct machine m = machine_new(vcpus, mem);
	uint8_t buf[sizeof(s) + sizeof(m)];

	memcpy(buf, &s, sizeof(s));
	memcpy(buf + sizeof(s), &m, machine_len(&m));
	(void)msg_send(
	    sock, LAUNCH_START, ID, buf, sizeof(s) + machine_len(&m), -1);
}

static void
evil_launch(int sock, const struct vm_row *web)
{
	static uint64_t n = EVIL; /* another VM each time */
	struct launch_vm vm = { .vm = EVIL };
	struct launch_attach tap = { .vm = web->vmid, .role = FDR_TAP };

	start(sock, ++n, 60000, 1, 96); /* uid outside the block */
	start(sock, ++n, 201, 1, 96); /* more than max_vms */
	start(sock, ++n, web->slot, 1, 96); /* another VM's uid */
	start(sock, ++n, 5, 64, 96); /* vcpus over this host's maximum */
	start(sock, ++n, 5, 1, MACHINE_MEM_MAX_MIB); /* memory likewise */
	/* a second one of the same, at another slot; another tap for it */
	start(sock, web->vmid, 5, 1, 96);
	(void)msg_send(sock, LAUNCH_ATTACH, ID, &tap, sizeof(tap), 2);
	(void)msg_send(sock, LAUNCH_RELEASE, ID, &vm, sizeof(vm), -1);
	takeover_said("launchd");
}

struct ill {
	uint32_t type;
	uint32_t len;
	int fd;
};

static const struct ill ill_net[] = {
	{ BOOT_CONF, 200, -1 }, /* policy is mewsd's to say */
	{ NET_TEARDOWN, 0, -1 }, /* likewise */
	{ SPAWN_KILL, sizeof(struct spawn_jail), -1 }, /* launchd's */
	{ NET_TAP_OPEN, sizeof(struct net_tap) - 1, -1 },
	{ NET_TAP_OPEN, sizeof(struct net_tap), 2 }, /* + a file */
};
static const struct ill ill_launch[] = {
	{ BOOT_CONF, 200, -1 }, { SPAWN_KILL, sizeof(struct spawn_jail), -1 },
	{ LAUNCH_EVENT, sizeof(struct launch_event), -1 }, /* an answer */
	{ LAUNCH_START, sizeof(struct launch_start), 2 }, /* + a file */
	{ KEEP_GO2, 64, -1 }, /* the keeper's */
};
#define ILLS (nitems(ill_net) + nitems(ill_launch))

/* One a life, to one peer: it hangs up on us and has us replaced. */
static void
ill(int sock, bool net)
{
	static const uint8_t zero[256];
	const unsigned int life = takeover_life();
	const struct ill *row;

	if (net != (life < nitems(ill_net)))
		return;
	row = net ? &ill_net[life] : &ill_launch[life - nitems(ill_net)];
	(void)msg_send(sock, row->type, ID, zero, row->len, row->fd);
}

struct chan *
__wrap_chan_new(struct event_base *base, int sock, const char *peer,
    const struct chan_ops *ops, void *arg)
{
	const bool net = strcmp(peer, "netd") == 0;

	if (net || strcmp(peer, "launchd") == 0) {
		const struct orchd *o = arg;
		const struct vm *web = TAILQ_FIRST(&o->vms.list);

		if (takeover_life() < ILLS)
			ill(sock, net);
		else if (web != NULL && net)
			evil_net(sock, &web->row);
		else if (web != NULL)
			evil_launch(sock, &web->row);
	}
	return __real_chan_new(base, sock, peer, ops, arg);
}
