#include <bsd/unistd.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <nftables/libnftables.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/loop.h"
#include "netd/confine.h"
#include "netd/dispatch.h"
#include "netd/netd.h"
#include "proto/boot.h"

/* What needs root or files: the tun node, sockets, libnftables' context. */
static void
netd_start(struct netd *nd, const struct boot_common *bc)
{
	struct err e = { 0 };
	int fd;

	if (policy_conf(&nd->conf, &e) < 0)
		fatal("boot config: %s", e.msg);
	/* reads what there is of /etc/iproute2, so before the root goes */
	if ((nd->nft = nft_ctx_new(NFT_CTX_DEFAULT)) == NULL)
		fatal("nftables context");
	nft_ctx_set_dry_run(nd->nft, false);
	if (nft_ctx_buffer_error(nd->nft) != 0 ||
	    nft_ctx_buffer_output(nd->nft) != 0)
		fatal("nftables buffers");
	nd->rt = nl_socket_alloc();
	if (nd->rt == NULL || nl_connect(nd->rt, NETLINK_ROUTE) < 0)
		fatal("rtnetlink socket");
	tap_room(bc->uid, bc->gid);
	fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 ||
	    (fd != NETD_DEV_FD && dup3(fd, NETD_DEV_FD, O_CLOEXEC) < 0))
		fatal("private root: %m");
	if (fd != NETD_DEV_FD)
		fd_close(&fd);
	nd->devfd = NETD_DEV_FD;
}

int
main(int argc, char *argv[], char *envp[])
{
	static struct netd nd = { .devfd = -1 };
	struct boot_common bc;
	struct err e = { 0 };
	bool only_uplink;

	setproctitle_init(argc, argv, envp);
	log_init("netd", LOG_INFO);
	fds_expect(BOOT_NFDS);
	boot_recv(ROOM_NETD, &bc, &nd.conf, sizeof(nd.conf));
	log_init("netd", (enum log_level)bc.log_level);
	(void)signal(SIGPIPE, SIG_IGN); /* allowed: before any handler */

	tzset(); /* else the first log line would, by opening a file */
	netd_start(&nd, &bc);
	netd_confine(&bc);
	nd.base = loop_new();
	netd_filter();

	/* confined from here on, as in every later repair */
	if (netd_ensure(&nd, &only_uplink, &e) < 0)
		log_error("%s", e.msg);
	if (dispatch_start(&nd) < 0)
		fatal("out of memory");
	netd_title(&nd);
	boot_ready();
	if (event_base_dispatch(nd.base) < 0)
		fatal("event loop");
	dispatch_stop(&nd);
	return 0;
}
